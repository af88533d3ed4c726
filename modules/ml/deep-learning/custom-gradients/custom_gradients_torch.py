"""torch.autograd.Function: forward, setup_context, backward; gradcheck finds a wrong one.

Shapes: Log1pExp and Step act on each entry; Linear maps x (N, D) and w (D, K) to (N, K).
Sources: PyTorch's notes "Extending PyTorch" and "Extending torch.func with
autograd.Function"; documentation of torch.autograd.gradcheck and gradgradcheck.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd import Function, gradcheck, gradgradcheck
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import FlopCounterMode

Tensor = torch.Tensor


class Log1pExp(Function):
    """log(1 + e^x) with the sigmoid as its rule; differentiable any number of times."""

    generate_vmap_rule = True  # allowed, since all methods use PyTorch operations only

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)  # for jvp

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * torch.sigmoid(x)  # a recorded operation: double backward works

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangent * torch.sigmoid(x)


class PlantedSlip(Log1pExp):
    """The same with a sign slip in the rule."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * torch.sigmoid(-x)


class Outside(Log1pExp):
    """The same, computed outside PyTorch, so that it can be differentiated once only."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.from_numpy(np.logaddexp(x.detach().numpy(), 0.0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * torch.from_numpy(0.5 + 0.5 * np.tanh(0.5 * x.numpy()))


class Step(Function):
    """1 where z > 0, else 0; backward as if it were the identity: straight-through."""

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return (z > 0).to(z.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass  # the identity needs nothing

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class Linear(Function):
    """x @ w; computes only the gradients that somebody asked for."""

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return x @ w  # (N, D) @ (D, K) -> (N, K)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        grad_x = grad_output @ w.T if ctx.needs_input_grad[0] else None
        grad_w = x.T @ grad_output if ctx.needs_input_grad[1] else None
        return grad_x, grad_w  # one per input of forward, in its order


def passes(check: Callable[..., bool], function: type[Function], *inputs: Tensor) -> bool:
    """Return whether gradcheck or gradgradcheck accepts the function at these inputs."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    return check(function.apply, leaves, raise_exception=False)


def backward_flops(x: Tensor, w: Tensor) -> int:
    """Return the operations of the backward pass of Linear, counted by PyTorch."""
    y = Linear.apply(x, w)
    with FlopCounterMode(display=False) as counter:
        y.backward(torch.ones_like(y))
    return counter.get_total_flops()


def refused(run: Callable[[], None]) -> str:
    """Return the message with which PyTorch refuses run(), or nothing."""
    try:
        run()
    except RuntimeError as problem:
        return str(problem)
    return ""


if __name__ == "__main__":
    x = torch.linspace(-300, 300, 601, dtype=torch.float64, requires_grad=True)
    y = Log1pExp.apply(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    points, e = x.detach().numpy(), np.exp(-np.abs(x.detach().numpy()))
    slope = np.where(points >= 0, 1.0, e) / (1 + e)
    pairs = [(y, np.maximum(points, 0) + np.log1p(e)), (grad, slope)]
    largest_difference = max(float(np.abs(a.detach().numpy() - b).max()) for a, b in pairs)
    print(f"value and gradient differ from NumPy by at most {largest_difference:.1e}")

    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, dtype=torch.float64, generator=generator)
    x2, w2 = (torch.randn(s, dtype=torch.float64, generator=generator) for s in ((4, 3), (3, 2)))
    results = {}
    for function, inputs in (
        *((f, (z,)) for f in (Log1pExp, PlantedSlip, Step)),
        (Linear, (x2, w2)),
    ):
        name, first = function.__name__, passes(gradcheck, function, *inputs)
        results[name] = first, passes(gradgradcheck, function, *inputs)
        print(f"{name:11s} gradcheck {results[name][0]!s:5} gradgradcheck {results[name][1]}")

    leaf = z.clone().requires_grad_()
    (first,) = torch.autograd.grad(Outside.apply(leaf).square().sum(), leaf, create_graph=True)
    twice = refused(lambda: first.sum().backward())
    print(f"once_differentiable: {twice[:40]} ...")
    with warnings.catch_warnings():  # its first call compiles with a deprecated function
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_mode = torch.func.jvp(Log1pExp.apply, (z,), (torch.ones_like(z),))[1]
    per_entry = torch.func.vmap(torch.func.grad(Log1pExp.apply))(z)
    spread = float((forward_mode - per_entry).abs().max())
    print(f"jvp and vmap(grad) agree to {spread:.1e}")
    w2.requires_grad_()
    one_flops, both_flops = backward_flops(x2, w2), backward_flops(x2.requires_grad_(), w2)
    print(f"backward of Linear: {both_flops} operations, {one_flops} if x needs no gradient")

    assert largest_difference < 1e-13 and spread < 1e-15
    assert results["Log1pExp"] == results["Linear"] == (True, True)
    assert not results["PlantedSlip"][0] and not results["Step"][0]
    assert "differentiate twice" in twice and both_flops == 2 * one_flops
    with torch.no_grad():
        assert torch.equal(Step.apply(z), (z > 0).double())
