"""A centered ReLU unit is almost never born dead; bias, uncentered input and depth change that.

Unit: x is (N, D) with entries N(mean, 1), weights of variance v/D, bias b. For large D the N
pre-activations are b + sqrt(v) (mean * c + xi_n) with c and all xi_n standard normal; c, drawn
with the weights, is shared by all examples. Network: weights N(0, 2/fan_in), zero biases.
Sources: Lu et al. (2020) for whole networks; Cho and Saul (2009) for the correlation map.
"""

from math import erfc, sqrt

import matplotlib.pyplot as plt
import numpy as np


def normal_cdf(u: np.ndarray) -> np.ndarray:
    """Return Phi(u) for each entry."""
    return np.array([0.5 * erfc(-t / sqrt(2)) for t in np.ravel(u)]).reshape(np.shape(u))


def unit_born_dead(examples: int, bias: float, mean: float) -> float:
    """Return E_c[Phi(-bias - mean c)^N] = P(z_n <= 0 for all n); bias in units of sqrt(v)."""
    c = np.linspace(-9, 9, 1001)
    density = np.exp(-(c**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.sum(normal_cdf(-bias - mean * c) ** examples * density) * (c[1] - c[0]))


def network_born_dead(width: int, depth: int) -> float:
    """Return 1 - (1 - 2^-width)^depth: a network without biases is zero at ONE given input."""
    return float(-np.expm1(depth * np.log1p(-(2.0**-width))))


def next_correlation(rho: float) -> float:
    """Return the cosine of two examples after a wide ReLU layer, from their cosine before it."""
    return (sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))) / np.pi


def sampled_units(
    examples: int, bias: float, mean: float, units: int, rng: np.random.Generator, d: int = 64
) -> float:
    """Return the share of dead units in one random layer."""
    x = rng.normal(mean, 1, size=(examples, d))
    z = x @ (rng.normal(size=(d, units)) / np.sqrt(d)) + bias  # (N, D) @ (D, K) -> (N, K)
    return float((z <= 0).all(axis=0).mean())


def dead_by_layer(
    x: np.ndarray, width: int, depth: int, networks: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the dead units of every layer, (networks, depth, width), for x of shape (N, D)."""
    h = np.broadcast_to(x, (networks, *x.shape))
    dead = np.empty((networks, depth, width), dtype=bool)
    for layer in range(depth):
        w = rng.normal(size=(networks, h.shape[2], width)) * np.sqrt(2 / h.shape[2])
        h = np.maximum(h @ w, 0)  # (S, N, D) @ (S, D, K) -> (S, N, K)
        dead[:, layer] = (h == 0).all(axis=1)
        largest = h.max(axis=(1, 2), keepdims=True)
        h = h / np.where(largest > 0, largest, 1)  # the scale changes no sign
    return dead


def _draw(biases: np.ndarray, curves: dict, points: dict, shares: dict, births: dict) -> None:
    """Draw the probability of a unit, the share by layer, and the probability of a network."""
    marks = ["o", "s", "^"]
    _, axes = plt.subplots(2, 1, num="units", figsize=(6.4, 6.0))
    places = {0.0: (-2.9, 0.12, "right"), 1.0: (-1.6, 0.17, "left"), 5.0: (-1.8, 0.46, "left")}
    for i, (mean, (left, height, side)) in enumerate(places.items()):
        axes[0].plot(biases, curves[mean], color=f"C{i}")
        axes[0].plot(*zip(*points[mean], strict=True), marks[i], color=f"C{i}")
        axes[0].text(left, height, f"input mean {mean:.0f}", color=f"C{i}", ha=side)
    axes[0].set(xlabel="bias in units of the weights' scale", ylabel="P(unit is born dead)")
    for i, (width, share) in enumerate(shares.items()):
        axes[1].plot(np.arange(1, len(share) + 1), share, marks[i] + "-", color=f"C{i}", ms=4)
        axes[1].text(len(share) + 0.7, share[-1], f"width {width}", color=f"C{i}", va="center")
    axes[1].axhline(0.5, color="0.5", ls=":")
    axes[1].set(xlabel="layer", ylabel="share of dead units", xlim=(0, 49), ylim=(0, 1))
    _, ax = plt.subplots(num="network", figsize=(6.4, 3.8))
    for i, (width, (one, many)) in enumerate(births.items()):
        depth = range(1, len(one) + 1)
        ax.plot(depth, [network_born_dead(width, l) for l in depth], color=f"C{i}")
        ax.plot(depth[3::6], one[3::6], marks[i], color=f"C{i}")
        ax.plot(depth[3::6], many[3::6], marks[i] + ":", color=f"C{i}", markerfacecolor="none")
        ax.text(len(one) + 0.7, one[-1], f"width {width}", color=f"C{i}", va="center")
    ax.set(xlabel="depth", ylabel="P(network is dead)", xlim=(0, 49), ylim=(0, 1.02))
    plt.show()


if __name__ == "__main__":
    rng, n = np.random.default_rng(0), 500
    biases = np.linspace(0, -5, 41)
    curves = {m: [unit_born_dead(n, b, m) for b in biases] for m in (0.0, 1.0, 5.0)}
    at = (0.0, -1.0, -2.0, -3.0, -4.0)
    points = {m: [(b, sampled_units(n, b, m, 1500, rng)) for b in at] for m in curves}
    gaps = [abs(p - unit_born_dead(n, b, m)) for m, ps in points.items() for b, p in ps]
    largest_gap = max(gaps)
    bias_3, bias_4 = (unit_born_dead(n, b, 0.0) for b in (-3.0, -4.0))
    mean_1, mean_5, mean_100 = (unit_born_dead(n, 0.0, m) for m in (1.0, 5.0, 100.0))
    print(f"{n} centered examples, bias -3, -4: P(dead) {bias_3:.2f}, {bias_4:.2f}")
    print(f"zero bias, input mean 1, 5, 100: {mean_1:.4f}, {mean_5:.2f}, {mean_100:.3f}")
    print(f"largest gap between formula and sampled layers: {largest_gap:.3f}")

    x = rng.normal(size=(200, 16))
    shares = {k: dead_by_layer(x, k, 40, s, rng).mean(axis=(0, 2)) for k, s in ((8, 60), (128, 3))}
    narrow_end, wide_end = (float(s[-1]) for s in shares.values())
    narrow_start, wide_start = (float(s[0]) for s in shares.values())
    rho = 0.0
    for _ in range(40):
        rho = next_correlation(rho)
    both_off = 0.5 - float(np.arccos(rho)) / (2 * np.pi)
    print(f"dead in layer 1 and 40: width 8 {narrow_start:.0%}, {narrow_end:.0%}", end="; ")
    print(f"width 128 {wide_start:.0%}, {wide_end:.0%}")
    print(f"cosine of two orthogonal examples after 40 wide layers: {rho:.3f}", end="; ")
    print(f"both off: {both_off:.2f}")

    births = {}
    for width in (2, 4, 6):
        dead = [dead_by_layer(x[:m], width, 40, 1000, rng).all(axis=2) for m in (1, 20)]
        births[width] = [d.mean(axis=0) for d in dead]
    one_gap = max(
        abs(p - network_born_dead(k, l + 1))
        for k, (one, _) in births.items()
        for l, p in enumerate(one)
    )
    two_one, two_many = (float(b[9]) for b in births[2])
    four_one, four_many = (float(b[39]) for b in births[4])
    formula_2_10, formula_4_40 = network_born_dead(2, 10), network_born_dead(4, 40)
    formula_64 = network_born_dead(64, 1000)
    print(f"dead networks, width 2, depth 10: {two_many:.2f} (bound {formula_2_10:.2f})", end="; ")
    print(f"width 4, depth 40: {four_many:.2f} (bound {formula_4_40:.2f})")
    _draw(biases, curves, points, shares, births)

    assert largest_gap < 0.05 and one_gap < 0.06
    assert abs(mean_1 - 1 / (n + 1)) < 1e-6  # the shared c must beat n others
    assert 0.48 < mean_100 < 0.5
    first, other = rng.normal(size=(2, 200_000))
    off = (first <= 0) & (rho * first + sqrt(1 - rho**2) * other <= 0)
    assert abs(off.mean() - both_off) < 0.01
    assert wide_start < 0.05 < wide_end < 0.5 and narrow_end > wide_end
    for one, many in births.values():
        assert (many <= one + 0.06).all() and (np.diff(many) >= 0).all() and many[-1] > many[4]
