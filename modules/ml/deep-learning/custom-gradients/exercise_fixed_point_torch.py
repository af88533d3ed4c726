"""The gradient through a fixed point needs the fixed point only, not the way to it.

Layer: z = tanh(z W + x). Backward: solve u = grad_z + (u * (1 - z^2)) W^T; then the
gradients are u * (1 - z^2) for x and z^T (u * (1 - z^2)) for W, with * entry by entry.
Shapes: x, z, u (N, D), W (D, D) with spectral norm below 1, so that both loops converge.
Source: implicit differentiation, used for networks by Bai, Kolter and Koltun (2019).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import Function, gradcheck
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor
STEPS = 100


class FixedPoint(Function):
    """The solution z of z = tanh(z W + x)."""

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        z = torch.zeros_like(x)
        for _ in range(STEPS):
            z = torch.tanh(z @ w + x)  # (N, D) @ (D, D) -> (N, D)
        return z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Tensor, Tensor]:
        w, z = ctx.saved_tensors
        slope, u = 1 - z**2, grad_z
        for _ in range(STEPS):
            u = grad_z + (u * slope) @ w.T  # (N, D) @ (D, D) -> (N, D)
        delta = u * slope
        return delta, z.T @ delta  # (D, N) @ (N, D) -> (D, D)


def unrolled(x: Tensor, w: Tensor) -> Tensor:
    """Return the same z from recorded operations."""
    z = torch.zeros_like(x)
    for _ in range(STEPS):
        z = torch.tanh(z @ w + x)
    return z


def stored(f: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor) -> int:
    """Return how many numbers the forward pass keeps, each array counted once."""
    kept: dict[int, Tensor] = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.detach()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        f(x, w)
    return sum(t.numel() for t in kept.values())


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(s, dtype=torch.float64, generator=generator) for s in ((4, 5), (5, 5)))
    w *= 0.8 / torch.linalg.matrix_norm(w, 2)
    x.requires_grad_()
    w.requires_grad_()
    z = FixedPoint.apply(x, w)
    residual = float((z - torch.tanh(z @ w + x)).detach().abs().max())
    implicit = torch.autograd.grad(z.square().sum(), [x, w])
    recorded = torch.autograd.grad(unrolled(x, w).square().sum(), [x, w])
    difference = max(float((a - b).abs().max()) for a, b in zip(implicit, recorded, strict=True))
    print(f"residual {residual:.1e}, gradients differ from the unrolled loop by {difference:.1e}")
    passed = gradcheck(FixedPoint.apply, [x, w])
    stored_implicit, stored_unrolled = stored(FixedPoint.apply, x, w), stored(unrolled, x, w)
    print(f"gradcheck {passed}; numbers kept: {stored_implicit}, unrolled {stored_unrolled}")

    assert residual < 1e-12 and difference < 1e-12 and passed
    assert stored_implicit == 4 * 5 + 5 * 5 and stored_unrolled > 40 * stored_implicit
