"""PyTorch's sigmoid, tanh, hardsigmoid and hardtanh equal the formulas; DyT is four lines more.

Shapes: x is (M,) for the curves, (N, C) for DyT. float64 throughout.
Source: documentation of torch.nn.functional; Zhu et al. (2025) for DyT.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class DyT(nn.Module):
    """Dynamic tanh: a learned scale before tanh, and a learned scale and shift after it."""

    def __init__(self, channels: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([alpha], dtype=torch.float64))
        self.gamma = nn.Parameter(torch.ones(channels, dtype=torch.float64))
        self.beta = nn.Parameter(torch.zeros(channels, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return gamma * tanh(alpha * x) + beta, (N, C)."""
        return self.gamma * torch.tanh(self.alpha * x) + self.beta


def hard_sigmoid_fifth(x: torch.Tensor) -> torch.Tensor:
    """Return the hard sigmoid of Keras before version 3, which PyTorch does not have."""
    return (0.2 * x + 0.5).clamp(0.0, 1.0)


def value_and_derivative(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return f(x) and, by autograd, f'(x), both shaped like x, for an elementwise f."""
    x = x.clone().requires_grad_()
    y = f(x)
    y.backward(torch.ones_like(y))  # elementwise, so the sum's gradient holds each f'(x_i)
    return y.detach().numpy(), x.grad.numpy()


if __name__ == "__main__":
    functions = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "hard sigmoid, 1/6": F.hardsigmoid,
        "hard sigmoid, 0.2": hard_sigmoid_fifth,
        "hardtanh": F.hardtanh,
    }
    formulas = [  # value and derivative for an array
        (lambda v: 1 / (1 + np.exp(-v)), lambda v: 1 / (2 + np.exp(v) + np.exp(-v))),
        (np.tanh, lambda v: 1 / np.cosh(v) ** 2),
        (lambda v: np.clip(v / 6 + 0.5, 0, 1), lambda v: np.where(abs(v) < 3, 1 / 6, 0.0)),
        (lambda v: np.clip(v / 5 + 0.5, 0, 1), lambda v: np.where(abs(v) < 2.5, 0.2, 0.0)),
        (lambda v: np.clip(v, -1, 1), lambda v: np.where(abs(v) < 1, 1.0, 0.0)),
    ]
    grid = torch.linspace(-4.505, 4.505, 902, dtype=torch.float64)  # holds no kink
    x = torch.cat([grid, torch.tensor([-300.0, 300.0])])
    gaps = {}
    for (name, f), (value, derivative) in zip(functions.items(), formulas, strict=True):
        theirs, their_derivative = value_and_derivative(f, x)
        gaps[name] = float(np.abs(theirs - value(x.numpy())).max())
        gaps[name + "\u2032"] = float(np.abs(their_derivative - derivative(x.numpy())).max())
    single = gaps.pop("hard sigmoid, 1/6\u2032")  # PyTorch's 1/6 there is rounded to float32
    largest_difference = max(gaps.values())
    print(f"largest difference from the formulas: {largest_difference:.1e}", end="; ")
    print(f"slope of hardsigmoid {single:.1e}")

    kinks = {"hardsigmoid": (F.hardsigmoid, 3.0), "hardtanh": (F.hardtanh, 1.0)}
    at_kink = {
        name: value_and_derivative(f, torch.tensor([kink]))[1].item()
        for name, (f, kink) in kinks.items()
    }
    print("derivative at the right kink:", at_kink)
    hardsigmoid_at_kink, hardtanh_at_kink = at_kink.values()

    layer, norm = DyT(4), nn.LayerNorm(4, dtype=torch.float64)
    batch = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dyt_change = (layer(10 * batch) - layer(batch)).abs().max().item()
    norm_change = (norm(10 * batch) - norm(batch)).abs().max().item()
    print(f"input times 10: LayerNorm changes by {norm_change:.0e}, DyT by {dyt_change:.1f}")

    fig, (top, bottom) = plt.subplots(
        2, 1, num="family", figsize=(6.4, 6.2), sharex=True, height_ratios=[2.5, 1.4]
    )
    styles, widths = ["-", "-", "--", ":", "-."], [3.0, 3.0, 1.8, 2.2, 1.6]
    for index, (name, f) in enumerate(functions.items()):
        value, derivative = value_and_derivative(f, grid)
        style = {"color": f"C{index}", "linestyle": styles[index], "lw": widths[index]}
        top.plot(grid, value, label=name, **style)
        jumps = np.flatnonzero(np.abs(np.diff(derivative)) > 0.1) + 1
        for part in np.split(np.arange(len(grid)), jumps):  # no line across a jump
            bottom.plot(grid[part], derivative[part], **style)
    for axis in (top, bottom):
        axis.axvline(0.0, color="0.5", lw=0.8)
        axis.axhline(0.0, color="0.5", lw=0.8)
    top.legend(loc="lower right", frameon=False, handlelength=3.2)
    bottom.text(-0.6, 0.8, "tanh", color="C1", ha="right")
    bottom.text(1.15, 0.8, "hardtanh", color="C4")
    bottom.text(1.3, 0.3, "sigmoid, hard sigmoids", color="C0")
    top.set_ylabel("f(x)")
    bottom.set_ylabel("f′(x)")
    bottom.set_xlabel("x")
    top.set_ylim(-1.2, 1.3)
    bottom.set_ylim(-0.15, 1.25)
    plt.show()

    assert largest_difference < 1e-14 and single < 1e-8
    assert at_kink == {"hardsigmoid": 0.0, "hardtanh": 0.0}
    assert norm_change < 1e-3 and dyt_change > 0.1
