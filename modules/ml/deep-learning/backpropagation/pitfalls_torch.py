"""Four ways to spoil a gradient in PyTorch: two raise an error, two do not.

Shapes: x is (N, D), w (D, K), v (K, 1).
Sources: documentation of torch.Tensor.backward, which accumulates into .grad, and PyTorch's
notes on autograd mechanics: the version counter of saved tensors, and why .data evades it.
"""

from collections.abc import Callable

import torch


def refused(run: Callable[[], None]) -> str:
    """Return the start of the message with which PyTorch refuses run(), or nothing."""
    try:
        run()
    except RuntimeError as problem:
        return str(problem).split(".")[0][:86]
    return ""


def relative_error(wrong: torch.Tensor, right: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of the right gradient."""
    return float((wrong - right).norm() / right.norm())


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, generator=generator)
    w = torch.randn(3, 2, generator=generator).requires_grad_()
    v = torch.randn(2, 1, generator=generator).requires_grad_()

    loss = (torch.tanh(x @ w) @ v).square().mean()
    loss.backward()
    right = w.grad.clone()
    second_backward = refused(loss.backward)  # what it needs was freed by the first
    print(f"second backward() of one loss:\n  {second_backward} ...")

    for _ in range(2):  # two more steps, zero_grad() forgotten
        (torch.tanh(x @ w) @ v).square().mean().backward()
    accumulated = float((w.grad / right).mean())
    print(f"third step without zero_grad(): .grad is {accumulated:.2f} times the gradient")

    a = torch.tanh(x @ w)
    loss = (a @ v).square().mean()
    a.mul_(2.0)  # in place; the backward pass of tanh needs the old a
    in_place = refused(loss.backward)
    print(f"in-place change:\n  {in_place} ...")

    w.grad = None
    a = torch.tanh(x @ w)
    loss = (a @ v).square().mean()
    a.data.mul_(2.0)  # the same change, hidden from autograd
    in_place_data = refused(loss.backward)
    silent_error = relative_error(w.grad, right)
    print(f"the same through .data: no error, gradient off by {silent_error:.2f}")

    assert "second time" in second_backward and "modified by" in in_place
    assert abs(accumulated - 3.0) < 1e-5
    assert in_place_data == "" and silent_error > 0.1
