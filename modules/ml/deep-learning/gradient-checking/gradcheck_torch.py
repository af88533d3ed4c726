"""gradcheck finds a wrong factor, misses four planted bugs, and accuses four right gradients.

gradcheck(f, inputs) compares two Jacobians of every output for every input: one row per
backward pass, one column per central difference with step eps = 1e-6. It accepts them if
|backward - numeric| <= atol + rtol |numeric| in every entry, atol = 1e-5, rtol = 1e-3.
Shapes: x is (N,) unless stated. Source: torch.autograd.gradcheck, PyTorch 2.13.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


class Cube(torch.autograd.Function):
    """scale * x^3, whose backward pass may carry a wrong factor."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: float, factor: float) -> Tensor:
        """Return scale * x^3 and keep x for backward."""
        ctx.save_for_backward(x)
        ctx.scale, ctx.factor = scale, factor
        return scale * x**3

    @staticmethod
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient for x; right is factor 3."""
        (x,) = ctx.saved_tensors
        return grad_output * ctx.scale * ctx.factor * x**2, None, None


class Leaky(torch.autograd.Function):
    """Leaky ReLU with slope 0.1, whose backward pass has slope 0 on the left."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """Return x or 0.1 x and keep x for backward."""
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, 0.1 * x)

    @staticmethod
    def backward(ctx, grad_output: Tensor) -> Tensor:
        """Return the gradient for x, wrong for negative x."""
        (x,) = ctx.saved_tensors
        return grad_output * (x > 0)


class OneWrong(torch.autograd.Function):
    """The identity, whose backward pass doubles the first entry."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """Return a copy of x."""
        return x.clone()

    @staticmethod
    def backward(ctx, grad_output: Tensor) -> Tensor:
        """Return the gradient for x, wrong in its first entry."""
        grad = grad_output.clone()
        grad[0] *= 2.0
        return grad


def accepted(f: Callable[..., Tensor], x: Tensor, **options: object) -> bool:
    """Return whether gradcheck accepts the gradient of f at x."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float32 inputs are only warned about
        leaf = x.detach().clone().requires_grad_()
        return torch.autograd.gradcheck(f, leaf, raise_exception=False, **options)


def seeded_dropout(x: Tensor) -> Tensor:
    """Return dropout of x with the same mask at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.functional.dropout(x, 0.5)


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, dtype=torch.float64, generator=generator)
    few = x[:5]

    right = accepted(lambda t: Cube.apply(t, 1.0, 3.0), few)
    found = accepted(lambda t: Cube.apply(t, 1.0, 2.0), few)
    print(f"right: {right}. Wrong factor: {found}")

    small = accepted(lambda t: Cube.apply(t, 1e-6, 2.0), few)
    small_strict = accepted(lambda t: Cube.apply(t, 1e-6, 2.0), few, atol=1e-12)
    branch, both_sides = accepted(Leaky.apply, few.abs()), accepted(Leaky.apply, few)
    fast = accepted(OneWrong.apply, x, fast_mode=True)
    slow = accepted(OneWrong.apply, x)
    total = accepted(lambda t: (t**2).sum(), few)  # the mean was meant
    print(f"the same factor at scale 1e-6: {small}; with atol=1e-12: {small_strict}")
    print(f"wrong left branch, positive x: {branch}; x of both signs: {both_sides}")
    print(f"1 of {len(x)} entries doubled, fast_mode: {fast}; slow: {slow}")
    print(f"sum where the mean was meant: {total}")

    single = accepted(lambda t: Cube.apply(t, 1.0, 3.0), few.float())
    single_large = accepted(lambda t: Cube.apply(t, 1.0, 3.0), few.float(), eps=1e-2, rtol=1e-2)
    kink = accepted(torch.relu, torch.zeros(5, dtype=torch.float64))
    torch.manual_seed(0)
    dropout = accepted(lambda t: nn.functional.dropout(t, 0.5), few)
    dropout_seeded = accepted(seeded_dropout, few)
    ste = accepted(lambda t: t + (t.round() - t).detach(), few)
    print(f"float32: {single}; with eps=1e-2: {single_large}; relu at 0: {kink}")
    print(f"dropout: {dropout}; with a fixed seed: {dropout_seeded}; straight-through: {ste}")

    norm = nn.BatchNorm1d(3).double()
    batch = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    norm_accepted = accepted(norm, batch)
    updates = int(norm.num_batches_tracked)
    print(f"batch norm in training: {norm_accepted}, after {updates} updates of its statistics")

    grid, step = np.array([0.3, -1.2, 2.0]), 1e-5
    numeric = (np.tanh(grid + step) - np.tanh(grid - step)) / (2 * step)
    leaf = torch.tensor(grid, requires_grad=True)
    torch.tanh(leaf).sum().backward()
    largest_difference = float(np.abs(numeric - leaf.grad.numpy()).max())
    print(f"autograd against central differences: {largest_difference:.0e}")

    assert right and not found and largest_difference < 1e-9
    assert small and not small_strict and branch and not both_sides
    assert fast and not slow and total and norm_accepted and updates > 20
    assert not single and not kink and not dropout and dropout_seeded and not ste
