"""Minima, slopes and approximation errors of GELU, SiLU and Mish, from PyTorch's own functions.

Shapes: x is (M,); functions are elementwise. Extremes are roots of a derivative by autograd, found
by bisection. PyTorch's default GELU is exact (approximate="none").
Source: documentation of torch.nn.GELU, SiLU and Mish.
"""

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

Function = Callable[[torch.Tensor], torch.Tensor]


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's GELU in the tanh form."""
    return F.gelu(x, approximate="tanh")


def gelu_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Return x * sigmoid(1.702 x), which is Swish with beta = 1.702."""
    return x * torch.sigmoid(1.702 * x)


def derivative(f: Function, x: torch.Tensor, order: int = 1) -> torch.Tensor:
    """Return the derivative of an elementwise f at x, by autograd; order 1 or 2."""
    x = x.clone().requires_grad_()
    y = f(x)
    for _ in range(order):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return y.detach()


def root(f: Function, low: float, high: float) -> float:
    """Return a zero of f between low and high, where f has different signs."""
    at = torch.tensor([low, high], dtype=torch.float64)
    sign = torch.sign(f(at[:1]))
    for _ in range(50):
        middle = at.mean(dim=0, keepdim=True)
        at = torch.cat([middle, at[1:]] if torch.sign(f(middle)) == sign else [at[:1], middle])
    return at.mean().item()


def value(f: Function, x: float) -> float:
    """Return f(x) for a number x, in 64 bits."""
    return f(torch.tensor(x, dtype=torch.float64)).item()


def largest_error(f: Function, g: Function) -> tuple[float, float]:
    """Return where on [0, 6] |f - g| is largest, and how large it is there."""
    x = torch.linspace(0.0, 6.0, 601, dtype=torch.float64)
    near = x[(f(x) - g(x)).abs().argmax()].item()
    at = root(lambda v: derivative(lambda u: f(u) - g(u), v), near - 0.1, near + 0.1)
    return at, abs(value(f, at) - value(g, at))


def _draw_family(x: torch.Tensor, family: dict[str, Function], marks: dict) -> None:
    fig, (top, bottom) = plt.subplots(
        2,
        1,
        num="family",
        figsize=(6.4, 4.5),
        sharex=True,
        layout="constrained",
        height_ratios=[3.8, 1.5],
    )
    top.plot(x, F.relu(x), color="0.5", lw=1.0, label="ReLU")
    bottom.plot(x, (x > 0).double(), color="0.5", lw=1.0)
    for i, (name, f) in enumerate(family.items()):
        style = {"color": f"C{i}", "linestyle": ("-", "--", "-.")[i]}
        top.plot(x, f(x), label=name, **style)
        bottom.plot(x, derivative(f, x), **style)
        low, minimum, flat, least, steep, most = marks[name]
        top.plot(low, minimum, "osD"[i], color=f"C{i}")
        bottom.plot([flat, steep], [least, most], "osD"[i], color=f"C{i}")
    for axis, label in ((top, "f(x)"), (bottom, "f′(x)")):
        axis.axhline(0.0, color="0.5", lw=0.6)
        axis.set_aspect("equal")
        axis.set_ylabel(label)
    bottom.axhline(1.0, color="0.5", lw=0.6)
    top.legend(frameon=False, loc="upper left")
    bottom.set_xlabel("x")
    plt.show()


def _draw_errors(x: torch.Tensor, forms: dict[str, Function]) -> None:
    fig, ax = plt.subplots(num="errors", figsize=(6.4, 3.4), layout="constrained")
    for i, (name, f) in enumerate(forms.items()):
        ax.semilogy(x, (f(x) - F.gelu(x)).abs(), ("-", "--")[i], color=f"C{i}", label=name)
    ax.set_ylim(1e-6, 0.1)
    ax.set_xlabel("x")
    ax.set_ylabel("distance from exact GELU")
    ax.legend(frameon=False, loc="upper left", ncols=2)
    plt.show()


if __name__ == "__main__":
    family = {"GELU": F.gelu, "SiLU": F.silu, "Mish": F.mish}
    forms = {"tanh form": gelu_tanh, "sigmoid form": gelu_sigmoid}
    x = torch.linspace(-8.0, 8.0, 801, dtype=torch.float64)
    cdf = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()])
    v = x.numpy()
    formulas = {
        "GELU": (v * cdf, cdf + v * np.exp(-v * v / 2) / math.sqrt(2 * math.pi)),
        "SiLU": (v / (1 + np.exp(-v)), (1 + np.exp(-v) * (1 + v)) / (1 + np.exp(-v)) ** 2),
        "Mish": (v * (w := np.tanh(np.log1p(np.exp(v)))), w + v * (1 - w * w) / (1 + np.exp(-v))),
    }
    marks, moments, largest_difference = {}, {}, 0.0
    weight = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    print("        minimum     at   least slope     at   largest     at   E[f(z)²]")
    for name, f in family.items():
        slope = lambda t, f=f: derivative(f, t)  # noqa: E731
        bend = lambda t, f=f: derivative(f, t, order=2)  # noqa: E731
        low, flat, steep = root(slope, -2.0, 0.0), root(bend, -4.0, -1.0), root(bend, 1.0, 4.0)
        least, most = value(slope, flat), value(slope, steep)
        marks[name] = low, value(f, low), flat, least, steep, most
        moments[name] = (weight * f(x) ** 2).sum().item()  # for z ~ N(0, 1)
        print(f"{name}{marks[name][1]:11.3f}{low:7.3f}{least:14.3f}{flat:7.3f}", end="")
        print(f"{most:10.3f}{steep:7.3f}{moments[name]:11.3f}")
        gap = max(
            np.abs(f(x).numpy() - formulas[name][0]).max(),
            np.abs(derivative(f, x).numpy() - formulas[name][1]).max(),
        )
        largest_difference = max(largest_difference, float(gap))
    print(f"largest difference from the formulas, and their slopes: {largest_difference:.1e}")
    gelu_at, gelu_min, gelu_flat, gelu_least, gelu_steep, gelu_most = marks["GELU"]
    silu_at, silu_min, silu_flat, silu_least, silu_steep, silu_most = marks["SiLU"]
    mish_at, mish_min, mish_flat, mish_least, mish_steep, mish_most = marks["Mish"]
    gelu_moment, silu_moment, mish_moment = moments.values()

    tanh_at, tanh_error = largest_error(gelu_tanh, F.gelu)
    sigmoid_at, sigmoid_error = largest_error(gelu_sigmoid, F.gelu)
    error_ratio = sigmoid_error / tanh_error
    print(f"GELU, tanh form: off by {tanh_error:.2e} at most, at |x| = {tanh_at:.3f}")
    print(f"GELU, sigmoid form: off by {sigmoid_error:.2e}, at |x| = {sigmoid_at:.3f}")
    _draw_family(x[(x > -4.3) & (x < 3.1)], family, marks)
    _draw_errors(x, forms)

    assert largest_difference < 1e-12
    assert abs(gelu_steep - math.sqrt(2)) < 1e-6 and abs(gelu_most + gelu_least - 1) < 1e-9
    assert abs(silu_steep * math.tanh(silu_steep / 2) - 2) < 1e-6
    assert abs(silu_min - (1 + silu_at)) < 1e-9 and abs(silu_min + math.exp(silu_at)) < 1e-9
    assert abs(gelu_moment - (1 / 3 + 1 / (2 * math.pi * math.sqrt(3)))) < 1e-6  # closed form
    assert max(gelu_min, silu_min, mish_min) < -0.1
    assert min(gelu_most, silu_most, mish_most) > 1.05
    assert 4e-4 < tanh_error < 5e-4 and 0.019 < sigmoid_error < 0.021
