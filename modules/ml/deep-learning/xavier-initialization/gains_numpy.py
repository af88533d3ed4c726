"""No gain keeps both signal and gradient of a tanh network; sigmoid needs 4 and a bias.

In a wide layer of weights with variance gain**2 / n the pre-activations are nearly normal with
a variance s that moves as s -> gain**2 * E[f(sqrt(s) u)**2], u standard normal; the squared
gradient is multiplied by gain**2 * E[f'(sqrt(s) u)**2]. Rows are examples: a (N, n), w (n, n).
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
U = np.linspace(-10.0, 10.0, 2001)
DENSITY = np.exp(-(U**2) / 2) / np.sqrt(2 * np.pi)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def tanh_slope(x: np.ndarray) -> np.ndarray:
    """Return the derivative of tanh."""
    return 1.0 - np.tanh(x) ** 2


def next_variance(s: float, gain: float, f: Function) -> float:
    """Return gain**2 * E[f(sqrt(s) u)**2]."""
    return float(gain**2 * np.trapezoid(f(np.sqrt(s) * U) ** 2 * DENSITY, U))


def gradient_factor(s: float, gain: float, slope: Function) -> float:
    """Return gain**2 * E[f'(sqrt(s) u)**2]; the same integral with f' in place of f."""
    return next_variance(s, gain, slope)


def fixed_point(gain: float, f: Function, s: float = 1.0) -> float:
    """Return the variance that a layer reproduces, by 200 iterations from s."""
    for _ in range(200):
        s = next_variance(s, gain, f)
    return s


def predicted(gain: float, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return by layer E[tanh(z)**2] and the squared gradient relative to the last layer."""
    s, squares, slopes = gain**2, [], []  # inputs have the mean square 1
    for _ in range(layers):
        squares.append(next_variance(s, 1.0, np.tanh))
        slopes.append(gradient_factor(s, gain, tanh_slope))
        s = next_variance(s, gain, np.tanh)
    back = np.cumprod(slopes[-2::-1])[::-1]  # layer l: all factors after it
    return np.array(squares), np.append(back, 1.0)


def spreads(
    f: Function, gains: tuple[float, float], shift: float, layers: int, rng: np.random.Generator
) -> np.ndarray:
    """Return by layer how pre-activations spread over examples, relative to layer 1.

    The first of the gains is that of layer 1. Later biases are -shift * (sum of the weights).
    """
    a, result = rng.normal(size=(30, 300)), []
    for layer in range(layers):
        w = rng.normal(size=(300, 300)) * gains[layer > 0] / np.sqrt(300)
        z = a @ w - (shift * w.sum(axis=0) if layer else 0.0)  # (N, n) @ (n, n)
        result.append(z.std(axis=0).mean())
        a = f(z)
    return np.array(result) / result[0]


def run(
    gain: float, layers: int, rng: np.random.Generator, n: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    """Return what predicted() predicts, measured in one tanh network of width n."""
    a, weights, slopes, squares = rng.normal(size=(30, n)), [], [], []
    for _ in range(layers):
        weights.append(rng.normal(size=(n, n)) * gain / np.sqrt(n))
        a = np.tanh(a @ weights[-1])  # (N, n) @ (n, n)
        slopes.append(1.0 - a**2)
        squares.append(np.mean(a**2))
    delta = rng.normal(size=a.shape) * slopes[-1]
    norms = [np.mean(delta**2)]
    for w, slope in zip(weights[:0:-1], slopes[-2::-1], strict=True):
        delta = (delta @ w.T) * slope  # (N, n) @ (n, n)
        norms.append(np.mean(delta**2))
    return np.array(squares), np.array(norms[::-1]) / norms[0]


if __name__ == "__main__":
    layers, rms, gradient, worst = 30, {}, {}, 1.0
    curves = {}
    for name, gain in {"small": 3**-0.5, "one": 1.0, "torch": 5 / 3}.items():
        curves[name] = predicted(gain, layers), run(gain, layers, np.random.default_rng(1))
        (squares, norms), measured = curves[name]
        rms[name], gradient[name] = float(squares[-1] ** 0.5), float(norms[0] ** 0.5)
        for theory, ours in zip((squares, norms), measured, strict=True):
            worst = max(worst, float(np.exp(np.abs(np.log(ours / theory)).max() / 2)))
        print(f"gain {gain:.3f}: activations {rms[name]:.1e}", end=", ")
        print(f"gradient {gradient[name]:.1e} after {layers} layers")
    small_rms, one_rms, torch_rms = rms.values()
    small_gradient, one_gradient, torch_gradient = gradient.values()
    print(f"one network of width 300 against theory: at most a factor {worst:.2f}")

    unit_gain = next_variance(1.0, 1.0, np.tanh) ** -0.5
    torch_variance = fixed_point(5 / 3, np.tanh)
    torch_factor = gradient_factor(torch_variance, 5 / 3, tanh_slope)
    unit_factor = gradient_factor(1.0, unit_gain, tanh_slope)
    law = float(curves["one"][0][0][-1] * 2 * (layers + 1))  # s of the next layer: 1 / (2 l)
    print(f"gain {unit_gain:.3f} keeps variance 1, 5/3 keeps {torch_variance:.2f};", end=" ")
    print(f"gradient**2 grows by {unit_factor:.2f} and {torch_factor:.2f} per layer")

    starts: dict[str, tuple[Function, tuple[float, float], float]] = {
        "tanh": (np.tanh, (1.0, 1.0), 0.0),
        "sigmoid_1": (sigmoid, (1.0, 1.0), 0.0),
        "sigmoid_4": (sigmoid, (2.0, 4.0), 0.0),
        "sigmoid_4b": (sigmoid, (2.0, 4.0), 0.5),
    }
    spread = {k: spreads(*start, 6, np.random.default_rng(2)) for k, start in starts.items()}
    for name, values in spread.items():
        print(f"{name:11s} spread over examples:", " ".join(f"{v:.4f}" for v in values))
    tanh_spread, sigmoid_1, sigmoid_4, sigmoid_4b = (float(v[-1]) for v in spread.values())
    sigmoid_factor = float(sigmoid_1 ** (1 / 5))
    identity_error = float(np.abs(spread["sigmoid_4b"] / spread["tanh"] - 1).max())

    fig, axes = plt.subplots(2, num="gains", figsize=(5.4, 5.4), sharex=True, layout="constrained")
    looks = {"small": ("C2", "^", "1/√3"), "one": ("C0", "o", "1"), "torch": ("C1", "s", "5/3")}
    depth = np.arange(1, layers + 1)
    for name, (color, marker, label) in looks.items():
        for ax, theory, ours in zip(axes, *curves[name], strict=True):
            ax.semilogy(depth, theory**0.5, color=color)
            ax.semilogy(depth[::3], ours[::3] ** 0.5, marker, color=color, markerfacecolor="none")
            at = 22 if ax is axes[0] else 8
            at = at if name != "small" else 30 - at  # where this line is inside the panel
            offset = (0, 7) if name != "small" else (8, 2) if ax is axes[0] else (-62, 2)
            ax.annotate(
                f"gain {label}", (at, theory[at - 1] ** 0.5), offset, textcoords="offset points"
            )
    axes[0].set(ylim=(1e-4, 5), ylabel="activations, rms")
    axes[1].set(ylim=(1e-4, 50), ylabel="gradient, over layer 30", xlabel="layer")
    plt.show()

    h, s = 1e-5, 0.7  # the map's derivative by differences equals its closed form for tanh
    slope = (next_variance(s + h, 1.0, np.tanh) - next_variance(s - h, 1.0, np.tanh)) / (2 * h)
    inner = tanh_slope(U * s**0.5) ** 2 - 2 * np.tanh(U * s**0.5) ** 2 * tanh_slope(U * s**0.5)
    assert abs(slope - np.trapezoid(inner * DENSITY, U)) < 1e-6
    assert abs(next_variance(1.0, 1.0, np.tanh) * unit_gain**2 - 1) < 1e-12 and worst < 1.6
    assert abs(next_variance(torch_variance, 5 / 3, np.tanh) / torch_variance - 1) < 1e-9
    assert torch_factor > 1.15 and unit_factor > 1.1 and 0.8 < law < 1.3
    assert torch_gradient > 5 and 0.05 < one_gradient < 0.5 and small_gradient < 1e-6
    assert identity_error < 1e-9 and sigmoid_1 < 0.002 and sigmoid_4 < 0.5 * sigmoid_4b
