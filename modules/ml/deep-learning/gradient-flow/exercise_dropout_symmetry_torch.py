"""Dropout's noise separates equal units, but zero weights stay without a gradient.

Shapes: x (N, 2), one hidden layer of H units; a unit is a row of weight (H, 2).
"""

import torch
from torch import nn


def spread_after(value: float, drop: float, steps: int = 50) -> float:
    """Return the largest difference between two hidden units' weights after training."""
    torch.manual_seed(0)  # dropout draws from the global generator
    x = torch.randn(64, 2, dtype=torch.float64)
    y = (x[:, 0] * x[:, 1] > 0).long()
    hidden, output = nn.Linear(2, 8).double(), nn.Linear(8, 2).double()
    for p in (hidden.weight, output.weight):
        nn.init.constant_(p, value)
    for layer in (hidden, output):
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(hidden, nn.Tanh(), nn.Dropout(drop), output)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    w = hidden.weight.detach()
    return (w.amax(dim=0) - w.amin(dim=0)).max().item()


if __name__ == "__main__":
    plain, noisy, zero = spread_after(0.5, 0.0), spread_after(0.5, 0.5), spread_after(0.0, 0.5)
    print(f"all 0.5: units differ by {plain:.0e}; with dropout by {noisy:.2f}")
    print(f"all zero, with dropout: {zero:g}")

    assert plain < 1e-9 and noisy > 1e-3 and zero == 0.0
