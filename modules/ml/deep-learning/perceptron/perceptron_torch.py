"""PyTorch has no perceptron loss: its ReLU never leaves zero weights, an explicit rule does.

Shapes: x (N, D) with the constant first, y (N,) is +1 or -1, w (D,).
Sources: documentation of autograd (subgradients at kinks), torch.clamp and
MarginRankingLoss; pytorch/pytorch issue 184572 on clamp at its bound.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F


def train_by_rule(x: torch.Tensor, y: torch.Tensor, epochs: int) -> tuple[torch.Tensor, int]:
    """Apply the learning rule from zero weights; return w and the number of mistakes."""
    w, mistakes = torch.zeros(x.shape[1], dtype=x.dtype), 0
    for _ in range(epochs):
        for x_n, y_n in zip(x, y, strict=True):
            if y_n * (x_n @ w) <= 0:
                w += y_n * x_n
                mistakes += 1
    return w, mistakes


def train_by_autograd(
    x: torch.Tensor,
    y: torch.Tensor,
    epochs: int,
    loss: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Run SGD with learning rate 1 on a loss of t = y (x w), one example at a time."""
    w = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    for _ in range(epochs):
        for x_n, y_n in zip(x, y, strict=True):
            optimizer.zero_grad()
            loss(y_n * (x_n @ w)).backward()
            optimizer.step()
    return w.detach()


def rule_loss(t: torch.Tensor) -> torch.Tensor:
    """Return max(0, -t) with slope -1 at t = 0, as the learning rule wants."""
    return torch.where(t <= 0, -t, torch.zeros_like(t))


def train_in_numpy(x: np.ndarray, y: np.ndarray, epochs: int) -> np.ndarray:
    """Return w of the learning rule in NumPy."""
    w = np.zeros(x.shape[1])
    for _ in range(epochs):
        for x_n, y_n in zip(x, y, strict=True):
            w += y_n * x_n * (y_n * (x_n @ w) <= 0)
    return w


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    inputs = 2 * torch.rand(60, 2, dtype=torch.float64, generator=generator) - 1
    x = torch.cat([torch.ones(60, 1, dtype=torch.float64), inputs], dim=1)
    score = x @ torch.tensor([0.2, 1.0, -2.0], dtype=torch.float64)
    x, y = x[score.abs() > 0.2], torch.sign(score[score.abs() > 0.2])
    epochs = 30

    w, mistakes = train_by_rule(x, y, epochs)
    ours = train_in_numpy(x.numpy(), y.numpy(), epochs)
    largest_difference = float(np.max(np.abs(ours - w.numpy())))
    print(f"rule: w = {w.numpy().round(3)} after {mistakes} mistakes")
    print(f"largest difference to NumPy: {largest_difference:.1e}")

    losses = {
        "torch.where": rule_loss,
        "relu(-t)": lambda t: F.relu(-t),
        "clamp(-t, min=0)": lambda t: torch.clamp(-t, min=0),
    }
    found = {name: train_by_autograd(x, y, epochs, loss) for name, loss in losses.items()}
    slopes = {}
    for name, loss in losses.items():
        kink = torch.zeros((), requires_grad=True)
        loss(kink).backward()
        slopes[name] = kink.grad.item() + 0.0  # no minus zero
        print(f"{name:<17} slope at 0: {slopes[name]:4.1f}  w = {found[name].numpy().round(3)}")
    slope_where, slope_relu, slope_clamp = slopes.values()
    autograd_difference = float((found["torch.where"] - w).abs().max())
    moved_by_relu = float(found["relu(-t)"].abs().max())

    errors = int((torch.where(x @ w > 0, 1.0, -1.0) != y).sum())
    assert errors == 0 and largest_difference < 1e-12 and autograd_difference < 1e-12
    assert slope_where == -1.0 and abs(slope_relu) == 0.0 and moved_by_relu == 0.0
