"""GELU is the mean of a random gate; the mean of a ReLU with noise is another function.

Shapes: x (M, 1), samples (1, S); means run over the samples.
"""

import math

import numpy as np


def gelu(x: np.ndarray) -> np.ndarray:
    """Return x * P(X <= x) for X ~ N(0, 1)."""
    return x * 0.5 * np.vectorize(math.erfc, otypes=[float])(-x / math.sqrt(2))


def smoothed_relu(x: np.ndarray) -> np.ndarray:
    """Return E[max(x + X, 0)] = x * P(X <= x) + density(x), for X ~ N(0, 1)."""
    return gelu(x) + np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


if __name__ == "__main__":
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None]
    noise = np.random.default_rng(0).normal(size=(1, 100_000))
    gated = (x * (noise <= x)).mean(axis=1)  # keep x if it exceeds a random threshold
    noisy = np.maximum(x + noise, 0.0).mean(axis=1)
    print("x                 ", x[:, 0])
    print("mean of the gate  ", gated.round(3))
    print("GELU              ", gelu(x)[:, 0].round(3))
    print("mean of noisy ReLU", noisy.round(3))
    print("GELU + density    ", smoothed_relu(x)[:, 0].round(3))
    at_minus_1, smoothed_at_minus_1 = gelu(x)[1, 0], smoothed_relu(x)[1, 0]
    spread_at_1 = (x * (noise <= x)).std(axis=1)[3]

    assert np.abs(gated - gelu(x)[:, 0]).max() < 0.02
    assert np.abs(noisy - smoothed_relu(x)[:, 0]).max() < 0.02
    p = gelu(x)[3, 0]  # P(X <= 1), since x = 1
    assert abs(spread_at_1 - math.sqrt(p * (1 - p))) < 0.01
