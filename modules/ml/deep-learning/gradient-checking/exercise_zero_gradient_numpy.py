"""The gradient of a bias before batch centering is zero, and its relative error is about 1.

Shapes: rows are examples, x (N, D), b (D,). The loss is half the summed square of
tanh(x + b - mean over examples): the mean removes b, so the derivative for b is zero.
"""

import numpy as np


def loss(b: np.ndarray, x: np.ndarray) -> float:
    """Return the loss, which does not depend on b (D,) up to rounding."""
    z = x + b
    return float(0.5 * np.sum(np.tanh(z - z.mean(axis=0)) ** 2))


def gradient(b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the gradient (N, D) for x by backpropagation; summed over examples it is b's."""
    z = x + b
    a = np.tanh(z - z.mean(axis=0))
    delta = a * (1 - a**2)  # (N, D), for the centered pre-activations
    return delta - delta.mean(axis=0)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, b, h = rng.normal(size=(50, 6)), rng.normal(size=6), 1e-5
    moves = h * np.eye(6)
    numeric = np.array([(loss(b + m, x) - loss(b - m, x)) / (2 * h) for m in moves])
    exact = gradient(b, x).sum(axis=0)
    size, noise = float(np.abs(exact).max()), float(np.abs(numeric).max())
    scale = np.maximum(np.abs(exact), np.abs(numeric))
    entry = float(np.max(np.abs(exact - numeric) / np.where(scale > 0, scale, 1)))
    floor = float(np.finfo(float).eps / 2 * loss(b, x) / h)
    print(f"backpropagation {size:.0e}, differences {noise:.0e}, relative error {entry:.1f}")
    print(f"round-off to expect, u L / h: {floor:.0e}")

    assert entry > 0.5 and size < 1e-13 and noise < 10 * floor
