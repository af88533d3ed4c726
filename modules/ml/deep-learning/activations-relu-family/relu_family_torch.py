"""PyTorch has all five rectifiers; their values and autograd derivatives equal the formulas.

Shapes: x is (M,) for the curves and (N, C, L) for PReLU, which keeps channels on axis 1.
Convention at x = 0: PyTorch returns the derivative of the left branch, for all five.
Source: documentation of torch.nn.functional and torch.nn.PReLU.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def value_and_derivative(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return f(x) and, by autograd, f'(x), both shaped like x, for an elementwise f."""
    x = x.clone().requires_grad_()
    y = f(x)
    y.backward(torch.ones_like(y))  # elementwise, so the sum's gradient holds each f'(x_i)
    return y.detach().numpy(), x.grad.numpy()


if __name__ == "__main__":
    slope, a = 0.1, torch.tensor([0.4], dtype=torch.float64)
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    functions = {
        "ReLU": F.relu,
        f"Leaky ReLU, slope {slope}": lambda x: F.leaky_relu(x, slope),
        f"PReLU, learned a = {a.item():.1f}": lambda x: F.prelu(x, a),
        "ELU, α = 1": F.elu,
        "SELU": F.selu,
    }
    formulas = [  # slope for x > 0, and (value, derivative) of the left branch for t = min(x, 0)
        (1.0, lambda t: (0.0 * t, 0.0 * t)),
        (1.0, lambda t: (slope * t, slope + 0.0 * t)),
        (1.0, lambda t: (a.item() * t, a.item() + 0.0 * t)),
        (1.0, lambda t: (np.expm1(t), np.exp(t))),
        (scale, lambda t: (scale * alpha * np.expm1(t), scale * alpha * np.exp(t))),
    ]
    grid = torch.linspace(-3.6, 3.6, 145, dtype=torch.float64)  # holds 0 exactly
    extremes = torch.tensor([-1e300, -1e4, 1e4, 1e300], dtype=torch.float64)
    x, largest_difference = torch.cat([grid, extremes]), 0.0
    for f, (right_slope, left) in zip(functions.values(), formulas, strict=True):
        value, derivative = value_and_derivative(f, x)
        left_value, left_derivative = left(np.minimum(x.numpy(), 0.0))
        expected = np.where(x > 0, right_slope * x, left_value)
        expected_derivative = np.where(x > 0, right_slope, left_derivative)
        gap = np.abs(value - expected) / np.maximum(1.0, np.abs(expected))
        largest_difference = max(
            largest_difference, gap.max(), np.abs(derivative - expected_derivative).max()
        )
    largest_difference = float(largest_difference)
    print(f"largest (relative) difference from the formulas: {largest_difference:.1e}")

    zero = torch.zeros(1, dtype=torch.float64)
    at_zero = {k: value_and_derivative(f, zero)[1].item() for k, f in functions.items()}
    print("derivative at 0:", ", ".join(f"{k.split(',')[0]} {v:.3f}" for k, v in at_zero.items()))
    selu_derivative_at_zero = float(at_zero["SELU"])
    elu2_derivative_at_zero = value_and_derivative(lambda x: F.elu(x, 2.0), zero)[1].item()

    layer = nn.PReLU(num_parameters=3).double()  # one slope per channel; the default is one for all
    initial_slope, default_parameters = layer.weight[0].item(), nn.PReLU().weight.numel()
    inputs, grad_output = torch.randn(
        2, 64, 3, 5, generator=torch.Generator().manual_seed(0)
    ).double()
    layer(inputs).backward(grad_output)
    grad_a = (grad_output * inputs.clamp(max=0.0)).sum(dim=(0, 2))  # (N, C, L) -> (C,)
    slope_difference = float((layer.weight.grad - grad_a).abs().max())
    print(
        f"PReLU: slopes start at {initial_slope}, their gradients differ by {slope_difference:.1e}"
    )

    fig, (top, bottom) = plt.subplots(
        2, 1, num="family", figsize=(6.4, 7.2), sharex=True, height_ratios=[6.0, 2.3]
    )
    styles, widths = ["-", "--", "-.", ":", "-"], [3.2, 2.0, 2.0, 2.2, 1.2]
    for index, (name, f) in enumerate(functions.items()):
        value, derivative = value_and_derivative(f, grid)
        style = {"color": f"C{index}", "linestyle": styles[index], "lw": widths[index]}
        top.plot(
            grid, value, marker="x" if name == "SELU" else "", markevery=12, label=name, **style
        )
        for branch in (grid <= 0, grid > 0):  # two pieces, so that no line crosses the jump
            bottom.plot(grid[branch], derivative[branch], **style)
        bottom.plot(0.0, at_zero[name], "o", color=f"C{index}")
    top.legend(loc="lower right", frameon=False, handlelength=3.2)
    for axis in (top, bottom):
        axis.axvline(0.0, color="0.5", lw=0.8)
        axis.axhline(0.0, color="0.5", lw=0.8)
        axis.set_aspect("equal")
    top.set_ylabel("f(x)")
    bottom.set_ylabel("f′(x)")
    bottom.set_xlabel("x")
    bottom.set_ylim(-0.2, 2.1)
    top.set_ylim(-2.1, 3.9)
    plt.show()

    assert largest_difference < 1e-12
    assert slope_difference < 1e-12
    assert at_zero["ReLU"] == 0.0 and abs(at_zero["SELU"] - scale * alpha) < 1e-6
    assert elu2_derivative_at_zero == 2.0
