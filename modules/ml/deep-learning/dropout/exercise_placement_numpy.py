"""Dropout commutes with ReLU, in value and in gradient, but not with the sigmoid.

The mask m has entries 0 or 1 / (1 - p). ReLU is positively homogeneous: relu(m * z) = m * relu(z)
for every m >= 0. The sigmoid maps a dropped 0 to 1/2, so it passes a signal on.
"""

from collections.abc import Callable

import numpy as np


def relu(z: np.ndarray) -> np.ndarray:
    """Return max(z, 0)."""
    return np.maximum(z, 0.0)


def relu_gradient(z: np.ndarray) -> np.ndarray:
    """Return the derivative of relu, with relu'(0) = 0 as in PyTorch and TensorFlow."""
    return np.where(z > 0.0, 1.0, 0.0)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def order_gap(
    activation: Callable[[np.ndarray], np.ndarray], z: np.ndarray, m: np.ndarray
) -> float:
    """Return the largest difference between dropout before and dropout after the activation."""
    return float(np.abs(activation(m * z) - m * activation(z)).max())


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    p = 0.3
    z = rng.normal(size=(1000, 50))
    m = (rng.random(z.shape) >= p) / (1 - p)

    relu_gap, sigmoid_gap = order_gap(relu, z, m), order_gap(sigmoid, z, m)
    # Chain rule: before gives relu'(m z) m, after gives m relu'(z).
    relu_gradient_gap = float(np.abs(relu_gradient(m * z) * m - m * relu_gradient(z)).max())
    print(f"ReLU:    values differ by {relu_gap}, gradients by {relu_gradient_gap}")
    print(f"sigmoid: values differ by {sigmoid_gap:.2f}")
    dropped_output = float(sigmoid(np.zeros(1))[0])
    print(f"sigmoid of a dropped unit: {dropped_output}")

    assert relu_gap == 0.0 and relu_gradient_gap == 0.0
    assert sigmoid_gap >= 0.5
