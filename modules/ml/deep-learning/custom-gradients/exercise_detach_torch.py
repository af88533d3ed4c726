"""Straight-through in one line, z + (step(z) - z).detach(), and what rounding does to it.

Shapes: everything acts on each entry of z (D,).
"""

import torch

Tensor = torch.Tensor


def subtract_first(z: Tensor) -> Tensor:
    """Return the step with the gradient of the identity; rounding can spoil the value."""
    return z + ((z > 0).to(z.dtype) - z).detach()


def add_zero(z: Tensor) -> Tensor:
    """Return the same gradient with an exact value, for every finite z."""
    return (z > 0).to(z.dtype) + (z - z.detach())


if __name__ == "__main__":
    z = torch.tensor([-1e9, -0.3, 0.1, 0.7, 1e9], requires_grad=True)
    step = (z > 0).float()
    rough, exact = subtract_first(z), add_zero(z)
    grads = [torch.autograd.grad(h.sum(), z)[0] for h in (rough, exact)]
    print(f"z:                    {z.tolist()}")
    print(f"z + (h - z).detach(): {rough.tolist()}")
    print(f"h + (z - z.detach()): {exact.tolist()}")
    spoiled = float((rough - step).detach().abs().max())
    print(f"largest error of the value: {spoiled}; both gradients are 1")

    assert torch.equal(exact, step) and spoiled == 1.0
    assert all(torch.equal(g, torch.ones_like(z)) for g in grads)
