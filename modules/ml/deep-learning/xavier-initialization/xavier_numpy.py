"""Variance 2 / (fan_in + fan_out), uniform, normal or truncated, is the fair compromise.

Rows are examples: z = a @ w, a (N, fan_in), w (fan_in, fan_out); kernels of convolutions are
(height, width, C_in, C_out). Forward, z has the mean square fan_in * v * mean(a**2) over draws
of w; backward, dL/da has fan_out * v * mean(dL/dz**2). Source: Glorot and Bengio (2010), eq. 10
to 12 and 16; the truncated form is that of Keras.
"""

from math import erf, exp, pi, prod, sqrt

import matplotlib.pyplot as plt
import numpy as np


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return fan-in and fan-out of weights (D_in, D_out) or kernels (..., C_in, C_out)."""
    area = prod(shape[:-2])  # positions of the kernel; 1 for a dense layer
    return area * shape[-2], area * shape[-1]


def variance(fan_in: int, fan_out: int, gain: float = 1.0) -> float:
    """Return the variance of Xavier weights, which is not their standard deviation."""
    return gain**2 * 2.0 / (fan_in + fan_out)


def factors(fan_in: int, fan_out: int, v: float) -> tuple[float, float]:
    """Return by how much a linear layer multiplies mean squares, forward and backward."""
    return fan_in * v, fan_out * v


def xavier_uniform(
    shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0
) -> np.ndarray:
    """Draw from U(-r, r); its variance is r**2 / 3."""
    r = sqrt(3.0 * variance(*fans(shape), gain))
    return rng.uniform(-r, r, size=shape)


def xavier_normal(
    shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0
) -> np.ndarray:
    """Draw from a normal distribution; rng.normal takes the standard deviation."""
    return rng.normal(0.0, sqrt(variance(*fans(shape), gain)), size=shape)


def truncated_std(cut: float) -> float:
    """Return the standard deviation of a standard normal that is cut off at +-cut."""
    density = exp(-(cut**2) / 2) / sqrt(2 * pi)
    return sqrt(1.0 - 2.0 * cut * density / erf(cut / sqrt(2)))


def xavier_truncated(
    shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0, cut: float = 2.0
) -> np.ndarray:
    """Draw normal numbers, redraw those beyond +-cut, then correct the lost variance."""
    u = rng.normal(size=shape)
    while (beyond := np.abs(u) > cut).any():
        u[beyond] = rng.normal(size=beyond.sum())
    return u * sqrt(variance(*fans(shape), gain)) / truncated_std(cut)


def activations(start: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the activations (N, 300) of five tanh layers on standard normal inputs."""
    a, layers = rng.normal(size=(200, 300)), []
    for _ in range(5):
        r = 1 / sqrt(300)  # the standard of 2010: variance 1 / (3 n)
        w = (
            rng.uniform(-r, r, (300, 300))
            if start == "standard"
            else xavier_uniform((300, 300), rng)
        )
        a = np.tanh(a @ w)  # (N, 300) @ (300, 300)
        layers.append(a)
    return layers


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    fan_in, fan_out = 512, 256
    v = variance(fan_in, fan_out)
    std, bound = sqrt(v), sqrt(3 * v)
    print(f"{fan_in} -> {fan_out}: variance {v:.5f}, std {std:.4f}, bound {bound:.4f}")
    choices = {"in": 1 / fan_in, "out": 1 / fan_out, "xavier": v}
    forward, backward = {}, {}
    for name, value in choices.items():
        forward[name], backward[name] = factors(fan_in, fan_out, value)
        print(
            f"{name:7s}{value:.5f}: forward x {forward[name]:.2f}, backward x {backward[name]:.2f}"
        )
    v_in, v_out = choices["in"], choices["out"]
    in_backward, out_forward = backward["in"], forward["out"]
    both_forward, both_backward = forward["xavier"], backward["xavier"]

    # inputs with a mean of 3 that are all correlated: nothing is assumed about them
    a = 3.0 + rng.normal(size=(1, 1)) + 0.1 * rng.normal(size=(1, fan_in))
    delta = np.abs(rng.normal(size=(1, fan_out)))
    squares = []
    for draw in (xavier_uniform, xavier_normal, xavier_truncated):
        w = draw((fan_in, fan_out), rng)
        squares.append((np.mean((a @ w) ** 2), np.mean((delta @ w.T) ** 2), w.var(), w.max() / std))
    expected = np.array([both_forward * np.mean(a**2), both_backward * np.mean(delta**2), v])
    largest_error = float(np.abs(np.array(squares)[:, :3] / expected - 1).max())
    correction = truncated_std(2.0)
    print(f"three draws against the formulas: largest relative error {largest_error:.2f}")
    print(
        f"normal cut off at 2: std {correction:.4f} of the original, so cut at {2 / correction:.2f}"
    )

    fig, axes = plt.subplots(
        2, num="histograms", figsize=(5.4, 5.0), sharex=True, layout="constrained"
    )
    spread = {}
    for ax, start in zip(axes, ("standard", "xavier"), strict=True):
        layers = activations(start, rng)
        spread[start] = [float(layer.std()) for layer in layers]
        print(start, "standard deviation by layer:", " ".join(f"{s:.2f}" for s in spread[start]))
        for i, style in ((0, "-"), (2, "--"), (4, ":")):
            height, edges = np.histogram(layers[i], bins=81, range=(-1, 1), density=True)
            middle = (edges[1:] + edges[:-1]) / 2
            ax.plot(middle, height, style, color=f"C{i}", label=f"layer {i + 1}")
        ax.set_ylabel("density")
        ax.legend(frameon=False)
    axes[0].annotate("standard: variance 1/(3n)", (0.02, 0.9), xycoords="axes fraction")
    axes[1].annotate("Xavier: variance 1/n", (0.02, 0.9), xycoords="axes fraction")
    axes[1].set_xlabel("activation")
    plt.show()

    assert both_forward + both_backward == 2.0 and abs(bound - sqrt(6 / (fan_in + fan_out))) < 1e-12
    assert largest_error < 0.5  # a chi-square of 256 terms; its relative std is 0.09
    assert abs(correction - 0.8796) < 1e-4
    assert spread["standard"][-1] < 0.06 and spread["xavier"][-1] > 0.25
