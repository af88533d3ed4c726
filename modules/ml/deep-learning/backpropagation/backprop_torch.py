"""torch.autograd agrees with the four equations; nn.Linear stores its weight transposed.

Shapes: rows are examples. x is (N, D), w1 (D, H), w2 (H, K), targets N class numbers.
nn.Linear(D, H) computes x @ weight.T + bias with weight (H, D).
Sources: documentation of torch.Tensor.backward, torch.nn.Linear, torch.autograd.gradcheck.
"""

import numpy as np
import torch
from torch import nn


def autograd_gradients(
    x: torch.Tensor, targets: torch.Tensor, params: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Return the gradients of the mean cross-entropy for params = [w1, b1, w2, b2]."""
    w1, b1, w2, b2 = leaves = [p.clone().requires_grad_() for p in params]
    logits = torch.tanh(x @ w1 + b1) @ w2 + b2
    loss = nn.functional.cross_entropy(logits, targets)
    loss.backward()  # fills .grad of every leaf
    return [leaf.grad for leaf in leaves]


def four_equations(
    x: np.ndarray, targets: np.ndarray, params: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the same gradients by hand."""
    w1, b1, w2, b2 = params
    h = np.tanh(x @ w1 + b1)  # (N, D) @ (D, H) -> (N, H)
    logits = h @ w2 + b2  # (N, H) @ (H, K) -> (N, K)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    delta2 = (exp / exp.sum(axis=1, keepdims=True) - np.eye(len(b2))[targets]) / len(x)
    delta1 = (delta2 @ w2.T) * (1 - h**2)  # (N, K) @ (K, H) -> (N, H)
    return [x.T @ delta1, delta1.sum(axis=0), h.T @ delta2, delta2.sum(axis=0)]


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    sizes = [(5, 4), (4,), (4, 3), (3,)]
    params = [torch.randn(s, dtype=torch.float64, generator=generator) for s in sizes]
    x = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])

    theirs = autograd_gradients(x, targets, params)
    ours = four_equations(x.numpy(), targets.numpy(), [p.numpy() for p in params])
    largest_difference = max(
        float(np.max(np.abs(a - b.numpy()))) for a, b in zip(ours, theirs, strict=True)
    )
    print(f"four equations against autograd: largest difference {largest_difference:.1e}")

    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        for own, given in zip(model.parameters(), params, strict=True):
            own.copy_(given.T if given.ndim == 2 else given)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), targets)
    loss.backward()  # computes gradients, changes no weight
    module_difference = float((model[0].weight.grad.T - theirs[0]).abs().max())
    optimizer.step()  # changes the weights, computes no gradient
    loss_before = loss.item()
    loss_after = nn.functional.cross_entropy(model(x), targets).item()
    shape = tuple(model[0].weight.shape)
    print(f"nn.Linear: weight {shape}, its gradient has the same shape")
    print(f"transposed, it differs from ours by {module_difference:.1e}")
    print(f"one step of gradient descent: loss {loss_before:.4f} -> {loss_after:.4f}")

    passed = torch.autograd.gradcheck(
        lambda *p: nn.functional.cross_entropy(torch.tanh(x @ p[0] + p[1]) @ p[2] + p[3], targets),
        [p.clone().requires_grad_() for p in params],
    )
    print(f"torch.autograd.gradcheck (central differences): {passed}")

    assert largest_difference < 1e-12 and module_difference < 1e-12
    assert passed and loss_after < loss_before
