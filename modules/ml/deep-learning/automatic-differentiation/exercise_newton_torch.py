"""Exercise 4: a Newton step for logistic regression from products H v alone.

Shapes: data x (N, D), labels y (N,), weights w (D,). H (D, D) is formed only to compare.
"""

from collections.abc import Callable

import torch
from torch.autograd import grad


def conjugate_gradients(
    product: Callable[[torch.Tensor], torch.Tensor], b: torch.Tensor, tolerance: float
) -> tuple[torch.Tensor, int]:
    """Return s with H s = b, and how many products H v it took."""
    s, residual, products = torch.zeros_like(b), b.clone(), 0
    direction, size = b.clone(), b @ b
    while size.sqrt() > tolerance * b.norm():
        h_d = product(direction)
        products += 1
        step = size / (direction @ h_d)
        s, residual = s + step * direction, residual - step * h_d
        size, old = residual @ residual, size
        direction = residual + (size / old) * direction
    return s, products


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    n, d = 400, 200
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = (torch.rand(n, generator=generator) < torch.sigmoid(x[:, 0])).double()
    w = torch.zeros(d, dtype=torch.float64, requires_grad=True)

    def loss(w: torch.Tensor) -> torch.Tensor:
        logits = x @ w  # (N, D) @ (D,) -> (N,)
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
        return fit + 0.05 * (w @ w)

    gradient = grad(loss(w), w, create_graph=True)[0]

    def product(v: torch.Tensor) -> torch.Tensor:
        return grad(gradient @ v, w, retain_graph=True)[0]  # reverse over reverse

    step, products = conjugate_gradients(product, gradient.detach(), 1e-8)
    hessian = torch.autograd.functional.hessian(loss, w.detach())
    exact = torch.linalg.solve(hessian, gradient.detach())
    step_error = float((step - exact).norm() / exact.norm())
    before, after = float(loss(w).detach()), float(loss(w - step).detach())
    print(f"{d} weights: {products} products H v give the Newton step up to {step_error:.0e}")
    print(f"loss {before:.4f} -> {after:.4f} in one step")

    assert step_error < 1e-6 and products < d / 4 and after < before
