"""Divided by sqrt(D), dot products keep softmax soft; undivided, its Jacobian fades with D.

Shapes: queries (N, D), keys (N, K, D), both standard normal; scores (N, K). Source of the factor:
Vaswani et al. (2017, Section 3.2.1).
"""

import numpy as np


def scores(dim: int, temperature: float, rows: int = 2000, keys: int = 16) -> np.ndarray:
    """Return (N, K) dot products of random queries and keys, divided by the temperature."""
    rng = np.random.default_rng(dim)
    query, key = rng.normal(size=(rows, dim)), rng.normal(size=(rows, keys, dim))
    return np.einsum("nd,nkd->nk", query, key) / temperature


def sharpness(z: np.ndarray) -> tuple[float, float]:
    """Return the mean largest probability, and the mean trace of J: 1 - sum(p ** 2)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return float(p.max(axis=1).mean()), float(1 - (p**2).sum(axis=1).mean())


if __name__ == "__main__":
    top, trace = {}, {}
    for dim in (4, 64, 128):
        for temperature in (1.0, dim**0.5):
            z = scores(dim, temperature)
            top[dim, temperature], trace[dim, temperature] = sharpness(z)
            print(f"D = {dim:3d}, T = {temperature:5.2f}: std of scores {z.std():5.2f}", end=", ")
            print(f"largest p {top[dim, temperature]:.3f}", end=", ")
            print(f"trace of J {trace[dim, temperature]:.3f}")
    raw_top, scaled_top = top[128, 1.0], top[128, 128**0.5]
    raw_trace, scaled_trace = trace[128, 1.0], trace[128, 128**0.5]

    assert raw_top > 0.85 and scaled_top < 0.4 and raw_trace < 0.2 < 0.7 < scaled_trace
    assert abs(scores(64, 8.0).std() - 1) < 0.05
