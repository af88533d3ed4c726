"""Fan-in fixes the signal and fan-out the gradient; the other one is off by D_M / D_1 only.

One example per network, so that rows are networks: h is (R, 1, D), weights (R, D_in, D_out).
The network ends in a random linear readout; then both expectations are exact at any width,
except that a hidden layer of D units is off as a whole, without gradient, with chance 2^-D.
Source: He et al. (2015), Section 2.2, Equations 9, 10, 13 and 14, and the text after them.
"""

from itertools import pairwise

import numpy as np

WIDTHS = [24, 48, 12, 96, 24, 6]  # D_0, ..., D_M
NETWORKS = 2000


def network(
    widths: list[int], mode: str, networks: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return normal weights (networks, D_in, D_out) of variance 2 / fan for every layer."""
    index = ("fan_in", "fan_out").index(mode)
    pairs = list(pairwise(widths))
    return [rng.normal(0.0, (2 / p[index]) ** 0.5, size=(networks, *p)) for p in pairs]


def propagate(
    x: np.ndarray, readout: np.ndarray, weights: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return h and the gradient of h @ readout for h, (R, 1, D_l), of layers 0 to M."""
    h = [x]
    for w in weights:
        h.append(np.maximum(h[-1] @ w, 0))  # (R, 1, D_in) @ (R, D_in, D_out)
    grads = [readout]
    for w, a in zip(weights[::-1], h[:0:-1], strict=True):
        grads.append((grads[-1] * (a > 0)) @ w.swapaxes(1, 2))
    return h, grads[::-1]


def predicted(widths: list[int], mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return E[h^2] over layers, from 1, and E[gradient^2], to 1 at the last layer."""
    ratios = np.array([k / d for d, k in pairwise(widths)])  # fan-out over fan-in
    forward = np.ones(len(ratios)) if mode == "fan_in" else 1 / ratios
    backward = ratios if mode == "fan_in" else np.ones(len(ratios))
    signal = np.cumprod([1.0, *forward])
    return signal, np.cumprod([1.0, *backward[::-1]])[::-1]


if __name__ == "__main__":
    found = {}
    for mode in ("fan_in", "fan_out"):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(NETWORKS, 1, WIDTHS[0]))
        readout = rng.normal(size=(NETWORKS, 1, WIDTHS[-1]))
        h, grads = propagate(x, readout, network(WIDTHS, mode, NETWORKS, rng))
        signal = np.array([np.mean(a**2) for a in h])
        gradient = np.array([np.mean(g**2) for g in grads])
        found[mode] = (signal, gradient)
        expected = predicted(WIDTHS, mode)
        print(f"{mode}: widths {WIDTHS}")
        for name, values, theory in zip(("h^2", "grad^2"), found[mode], expected, strict=True):
            print(f"  {name:6s}", "  ".join(f"{v:5.2f}" for v in values))
            print("  theory", "  ".join(f"{v:5.2f}" for v in theory))
            assert np.all(np.abs(values / theory - 1) < 0.2)
    signal_in, gradient_in = (float(found["fan_in"][0][-1]), float(found["fan_in"][1][1]))
    signal_out, gradient_out = (float(found["fan_out"][0][-1]), float(found["fan_out"][1][1]))
    ratio = WIDTHS[-1] / WIDTHS[1]  # D_M / D_1: what is left of the product
    signal_ratio = WIDTHS[0] / WIDTHS[-1]  # D_0 / D_M

    assert abs(predicted(WIDTHS, "fan_in")[1][1] - ratio) < 1e-12
    assert abs(predicted(WIDTHS, "fan_out")[0][-1] - signal_ratio) < 1e-12
