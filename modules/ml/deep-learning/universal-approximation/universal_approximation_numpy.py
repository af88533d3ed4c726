"""One hidden layer of H ReLU units draws any polygon with H pieces, so its error -> 0.

The network is ReLU(x W + b) v + c. Shapes: x (N, D), w (D, H), b (H,), v (H,), c a number,
outputs (N,). The construction has D = 1: weights that interpolate a target g at H + 1
knots. Errors are in the sup norm on [0, 1], the largest difference at any point; here the
largest on a grid that refines the knots.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

Network = tuple[np.ndarray, np.ndarray, np.ndarray, float]
Function = Callable[[np.ndarray], np.ndarray]
WIDTHS = [4, 8, 16, 32, 64, 128, 256]


def forward(x: np.ndarray, network: Network) -> np.ndarray:
    """Return the outputs (N,) for x (N, D)."""
    w, b, v, c = network
    return np.maximum(x @ w + b, 0.0) @ v + c  # (N, D) @ (D, H) -> (N, H); @ (H,) -> (N,)


def interpolate(knots: np.ndarray, values: np.ndarray) -> Network:
    """Return the network with H units through H + 1 points; knots (H + 1,) increase."""
    slopes = np.diff(values) / np.diff(knots)  # (H,): one per interval
    v = np.diff(slopes, prepend=0.0)  # unit j changes the slope at knot j
    return np.ones((1, len(v))), -knots[:-1], v, float(values[0])


def build(g: Function, width: int) -> Network:
    """Return the network that interpolates g at width + 1 equidistant knots of [0, 1]."""
    knots = np.linspace(0.0, 1.0, width + 1)
    return interpolate(knots, g(knots))


def sup_error(g: Function, network: Network, points: int = 64 * 256 + 1) -> float:
    """Return the largest error on a grid of [0, 1]."""
    x = np.linspace(0.0, 1.0, points)
    return float(np.max(np.abs(g(x) - forward(x[:, None], network))))


def smooth_bound(curvature: float, width: int) -> float:
    """Return h^2 / 8 max |g''| with h = 1 / width, the bound for two derivatives."""
    return curvature / (8.0 * width**2)


def continuous_bound(modulus: Callable[[float], float], width: int) -> float:
    """Return omega(h), the bound for a continuous g: its largest change within h."""
    return modulus(1.0 / width)


def sine(x: np.ndarray) -> np.ndarray:
    """Return sin(2 pi x): |g''| is at most 4 pi^2."""
    return np.sin(2.0 * np.pi * x)


def step(x: np.ndarray) -> np.ndarray:
    """Return a jump from 0 to 1 at 0.3: not continuous."""
    return (x >= 0.3).astype(float)


def _draw_idea() -> None:
    """Draw the hidden units of a network, and their sum."""
    fig, axes = plt.subplots(
        2, 1, num="idea", figsize=(5.6, 5.2), sharex=True, layout="constrained"
    )
    x, network = np.linspace(0.0, 1.0, 601), build(sine, 5)
    w, b, v, c = network
    parts = np.maximum(x[:, None] @ w + b, 0.0) * v  # (601, H)
    for j, side in enumerate(("center", "center", "center", "bottom", "top")):
        axes[0].plot(x, parts[:, j], color=f"C{j}")
        axes[0].text(1.01, parts[-1, j], f"{j + 1}", color=f"C{j}", va=side)
    axes[0].set(ylabel="each unit times its weight", xlim=(0, 1.06))
    axes[1].plot(x, sine(x), "--", color="0.5", lw=2.5)
    axes[1].plot(x, forward(x[:, None], network), color="C0")
    axes[1].plot(-b, sine(-b), "o", color="C0")
    axes[1].text(0.31, 1.02, "target", color="0.5")
    axes[1].text(0.54, -0.05, "network", color="C0")
    axes[1].set(xlabel="x", ylabel="their sum", ylim=(-1.2, 1.3))
    plt.show()


def _draw_rates(errors: dict[str, list[float]], bounds: dict[str, list[float]]) -> None:
    """Draw the errors over the width, with the bounds."""
    fig, ax = plt.subplots(num="rates", figsize=(5.6, 4.2), layout="constrained")
    for (name, values), style in zip(errors.items(), ("C0o", "C1s", "C2^"), strict=True):
        ax.loglog(WIDTHS, values, style)
        if name in bounds:
            ax.loglog(WIDTHS, bounds[name], "--", color=style[:2])
        ax.text(WIDTHS[-1] * 1.15, values[-1], name, color=style[:2], va="center")
    ax.set(xlabel="hidden units H", ylabel="sup error on [0, 1]", xlim=(3, 1100))
    plt.show()


if __name__ == "__main__":
    curvature = 4.0 * np.pi**2
    errors = {
        "sin(2πx)": [sup_error(sine, build(sine, h)) for h in WIDTHS],
        "√x": [sup_error(np.sqrt, build(np.sqrt, h)) for h in WIDTHS],
        "jump": [sup_error(step, build(step, h)) for h in WIDTHS],
    }
    bounds = {
        "sin(2πx)": [smooth_bound(curvature, h) for h in WIDTHS],
        "√x": [continuous_bound(np.sqrt, h) for h in WIDTHS],
    }
    print("   H  sin(2πx)  bound     √x        bound     jump")
    for i, h in enumerate(WIDTHS):
        smooth, root = (f"{errors[n][i]:.6f}  {bounds[n][i]:.6f}" for n in bounds)
        print(f"{h:4d}  {smooth}  {root}  {errors['jump'][i]:.3f}")
    ratio_smooth = errors["sin(2πx)"][-2] / errors["sin(2πx)"][-1]
    ratio_root = errors["√x"][-2] / errors["√x"][-1]
    tightest = max(e / b for e, b in zip(errors["sin(2πx)"], bounds["sin(2πx)"], strict=True))
    print(f"doubling H divides the error by {ratio_smooth:.3f} (sin), {ratio_root:.3f} (root)")

    target = 0.01
    width_bound = int(np.ceil(np.sqrt(curvature / (8.0 * target))))
    width_needed = next(h for h in range(1, 999) if sup_error(sine, build(sine, h)) <= target)
    jump_error = min(errors["jump"])
    print(f"error {target}: the bound asks for {width_bound} units, {width_needed} are enough")
    grid_10 = 33**10
    print(f"knots of a grid with 32 intervals per axis, 10 axes: {grid_10:.1e}")
    _draw_idea()
    _draw_rates(errors, bounds)

    for name, bound in bounds.items():
        assert all(e <= b * (1 + 1e-9) for e, b in zip(errors[name], bound, strict=True))
    assert abs(np.log(grid_10) - 10 * np.log(32 + 1)) < 1e-9
    assert 0.95 < tightest <= 1.0 + 1e-9 and abs(ratio_smooth - 4) < 0.01
    assert abs(ratio_root - np.sqrt(2)) < 0.01 and jump_error >= 0.5
    assert width_needed <= width_bound <= width_needed + 1
