"""Six ways to write a wrong rule: which raise, which a check finds, and which stay silent.

Shapes: every function acts on each entry of x (D,). All rules are for e^x or log(1 + e^x).
Sources: documentation of FunctionCtx.save_for_backward (leaks, in-place changes, tensors
that are neither inputs nor outputs) and of torch.autograd.gradcheck.
"""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import Function, gradcheck, gradgradcheck

Tensor = torch.Tensor


class Exp(Function):
    """e^x; the output is kept by save_for_backward, as it should be."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * ctx.saved_tensors[0]


class AttributeExp(Exp):
    """The output is kept as an attribute of ctx."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.y = torch.exp(x)
        return ctx.y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * ctx.y


class NoUpstream(Exp):
    """The rule forgets the gradient that arrives."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return ctx.saved_tensors[0].clone()


class TooFew(Exp):
    """Two inputs, one gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        y = torch.exp(scale * x)
        ctx.save_for_backward(y)
        return y


class Intermediate(Function):
    """log(1 + e^x); saves the sigmoid, which is neither an input nor an output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(torch.sigmoid(x))
        return torch.logaddexp(x, torch.zeros_like(x))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output * ctx.saved_tensors[0]


def refused(run: Callable[[], object]) -> str:
    """Return the message with which PyTorch refuses run(), or nothing."""
    try:
        run()
    except RuntimeError as problem:
        return str(problem)
    return ""


def second(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the second derivatives of sum f(x)^2, through double backward."""
    (first,) = torch.autograd.grad(f(x).square().sum(), x, create_graph=True)
    return torch.autograd.grad(first.sum(), x)[0]


def outlives(function: type[Function]) -> bool:
    """Return whether the output survives its last reference until garbage collection."""
    y = function.apply(torch.ones(3, requires_grad=True))
    alive = weakref.ref(y)
    del y
    return alive() is not None


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, dtype=torch.float64, generator=generator).requires_grad_()
    count = refused(lambda: TooFew.apply(x, 1.0).sum().backward())
    print(count)

    right = x.detach().exp()
    by_sum = torch.autograd.grad(NoUpstream.apply(x).sum(), x)[0] / right
    by_mean = torch.autograd.grad(NoUpstream.apply(x).mean(), x)[0] / (right / len(x))
    upstream_sum, upstream_mean = float(by_sum.mean()), float(by_mean.mean())
    print(f"no upstream: off by {upstream_sum:.0f} under sum, {upstream_mean:.0f} under mean")
    forgotten = gradcheck(NoUpstream.apply, x, raise_exception=False)

    y = Exp.apply(x)
    y.mul_(2.0)
    in_place = refused(lambda: y.sum().backward())
    y = AttributeExp.apply(x)
    y.mul_(2.0)
    silent_factor = float((torch.autograd.grad(y.sum(), x)[0] / (2 * right)).mean())
    print(f"in place, saved: {in_place[:50]} ...")
    print(f"in place, attribute: no error, gradient {silent_factor:.0f} times too large")

    gc.disable()  # only reference counts, as between two runs of the collector
    leaks, saved_leaks = outlives(AttributeExp), outlives(Exp)
    gc.enable()
    gc.collect()
    print(f"output outlives its last reference: attribute {leaks}, saved {saved_leaks}")

    once = gradcheck(Intermediate.apply, x, raise_exception=False)
    twice = gradgradcheck(Intermediate.apply, x, raise_exception=False)
    true_second = second(lambda x: torch.logaddexp(x, torch.zeros_like(x)), x)
    lost = float(1 - second(Intermediate.apply, x).norm() / true_second.norm())
    print(f"saved sigmoid: gradcheck {once}, gradgradcheck {twice}, {lost:.0%} lost silently")

    assert "expected 2, got 1" in count and not forgotten
    assert abs(upstream_sum - 1) < 1e-12 and abs(upstream_mean - 8) < 1e-12
    assert "modified by an inplace" in in_place and abs(silent_factor - 2) < 1e-12
    assert leaks and not saved_leaks
    assert once and not twice and lost > 0.1
