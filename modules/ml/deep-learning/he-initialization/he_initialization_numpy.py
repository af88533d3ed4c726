"""Weights of variance 2 / fan-in keep a ReLU signal; 1 / fan-in halves it in every layer.

Kernels are (D_in, D_out) or (*window, C_in, C_out), the layout of Keras. A gain is a factor
on the standard deviation, its square one on the variance. No training.
Source: He et al. (2015), Section 2.2, Equations 7 to 15.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

DEPTH, WIDTH, EXAMPLES = 20, 256, 32


def gain(slope: float = 0.0) -> float:
    """Return the gain for leaky ReLU with this slope; 0 is ReLU, 1 no activation."""
    return math.sqrt(2 / (1 + slope**2))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return fan-in and fan-out of a kernel (*window, C_in, C_out)."""
    window = math.prod(shape[:-2])  # 1 for a dense layer
    return window * shape[-2], window * shape[-1]


def he_std(shape: tuple[int, ...], slope: float = 0.0, mode: str = "fan_in") -> float:
    """Return the standard deviation: the ROOT of 2 / ((1 + slope^2) fan)."""
    fan = fans(shape)[("fan_in", "fan_out").index(mode)]
    return gain(slope) / math.sqrt(fan)


def he_normal(
    shape: tuple[int, ...], rng: np.random.Generator, slope: float = 0.0, mode: str = "fan_in"
) -> np.ndarray:
    """Return normal weights of mean 0."""
    return rng.normal(0.0, he_std(shape, slope, mode), size=shape)


def he_uniform(
    shape: tuple[int, ...], rng: np.random.Generator, slope: float = 0.0, mode: str = "fan_in"
) -> np.ndarray:
    """Return uniform weights; U(-b, b) has variance b^2 / 3."""
    bound = math.sqrt(3) * he_std(shape, slope, mode)
    return rng.uniform(-bound, bound, size=shape)


def rectified_moments(slope: float = 0.0) -> tuple[float, float]:
    """Return E[f(z)^2] and Var[f(z)] of leaky ReLU for z ~ N(0, 1)."""
    second_moment = (1 + slope**2) / 2  # true for every symmetric z of variance 1
    mean = (1 - slope) / math.sqrt(2 * math.pi)
    return second_moment, second_moment - mean**2


def mean_squares(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Return the mean of h^2 for the input x (N, D) and after every ReLU layer."""
    found = [np.mean(x**2)]
    for w in weights:
        x = np.maximum(x @ w, 0)  # (N, D_in) @ (D_in, D_out) -> (N, D_out)
        found.append(np.mean(x**2))
    return np.array(found)


def _draw(curves: dict[str, np.ndarray]) -> None:
    _, ax = plt.subplots(num="signal", figsize=(6.4, 4.2), layout="constrained")
    styles = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "v"))
    places = ((14, 8), (10.5, 3e-3), (12.2, 3e-9), (0.6, 1e-13))
    drawn = zip(curves.items(), styles, places, strict=True)
    for i, ((name, values), (line, marker), place) in enumerate(drawn):
        seen = np.flatnonzero(values > 1e-17)
        ax.semilogy(seen, values[seen], line, marker=marker, markersize=4, color=f"C{i}")
        ax.text(*place, name, color=f"C{i}")
    ax.set(xlabel="layer", ylabel="mean of the squared activations", ylim=(1e-17, 1e3))
    ax.set_xticks(range(0, DEPTH + 1, 5))


if __name__ == "__main__":
    second_moment, variance = rectified_moments()
    sample = np.maximum(np.random.default_rng(0).normal(size=400_000), 0)
    print(f"E[relu(z)^2] = {second_moment:.3f}, sampled {np.mean(sample**2):.3f}")
    print(f"Var[relu(z)] = {variance:.3f}, sampled {np.var(sample):.3f}")
    wrong_gain_squared = 1 / variance  # from the variance in place of the second moment
    wrong_growth = (wrong_gain_squared / 2) ** DEPTH

    shape, n = (WIDTH, WIDTH), WIDTH
    spreads = {"He, variance 2/n": he_std(shape), "Xavier, 1/n": n**-0.5}
    spreads |= {"PyTorch's default, 1/(3n)": (3 * n) ** -0.5, "2/n taken\nfor the std": 2 / n}
    curves = {}
    for name, std in spreads.items():
        rng = np.random.default_rng(1)
        x = rng.normal(size=(EXAMPLES, n))
        weights = [rng.normal(0.0, std, size=shape) for _ in range(DEPTH)]
        curves[name] = mean_squares(x, weights)
    he, xavier, default, bug = (float(curve[-1]) for curve in curves.values())
    rng = np.random.default_rng(1)
    x = rng.normal(size=(EXAMPLES, n))
    uniform = float(mean_squares(x, [he_uniform(shape, rng) for _ in range(DEPTH)])[-1])
    print(f"mean of h^2 after {DEPTH} ReLU layers of {n} units, from 1:")
    print(f"  He {he:.2f} (uniform {uniform:.2f}), Xavier {xavier:.1e}", end="")
    print(f", PyTorch's default {default:.1e}, 2/n as std {bug:.0e}")
    print(f"  gain^2 = 1 / Var = {wrong_gain_squared:.2f} would give {wrong_growth:,.0f}")
    right_std, wrong_std = he_std((512, 256)), 2 / 512
    dense_bound = math.sqrt(3) * right_std
    print(f"512 -> 256: std {right_std:.4f}, uniform bound {dense_bound:.4f}", end="")
    print(f"; 2/n is {wrong_std:.4f}, too small by {right_std / wrong_std:.0f}")
    conv_in, conv_out = fans((3, 3, 16, 32))
    print(f"3x3 kernel, 16 -> 32 channels: fan-in {conv_in}, fan-out {conv_out}")

    density, inside = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    cut_std = math.sqrt(1 - 4 * density / inside)  # N(0, 1) cut at -2 and 2
    print(f"a normal cut at two standard deviations keeps {cut_std:.4f} of its std")

    _draw(curves)
    plt.show()

    assert abs(np.mean(sample**2) - second_moment) < 0.01
    assert abs(np.var(sample) - variance) < 0.01 and abs(variance - 0.3408) < 1e-3
    assert 0.2 < he < 5 and 0.2 < uniform < 5
    assert 0.1 < xavier * 2**DEPTH < 10 and 0.1 < default * 6**DEPTH < 10
    assert 0.1 < bug / (2 / n) ** DEPTH < 10 and 2000 < wrong_growth < 2300
    assert right_std == 1 / 16 and wrong_std == right_std / 16
    assert (conv_in, conv_out) == (144, 288) and abs(cut_std - 0.8796) < 1e-4
