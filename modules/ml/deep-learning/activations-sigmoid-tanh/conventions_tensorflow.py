"""Keras 3 and PyTorch share a hard sigmoid of slope 1/6; the Keras inside TensorFlow has 0.2.

Shapes: the probe is (M,), float64 against the formulas, float32 for slopes and kinks. The module
tensorflow.python.keras is the last Keras 2 that TensorFlow carries; nothing should be built on it,
but it still runs, so it can be asked.
Source: documentation of keras.activations.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.keras import activations as keras_2


def value_and_derivative(
    f: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return f(x) and, by GradientTape, f'(x), both shaped like x, for an elementwise f."""
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = f(variable)
    return y.numpy(), tape.gradient(y, variable).numpy()


if __name__ == "__main__":
    x = np.linspace(-4.505, 4.505, 902)  # holds no kink
    cases = {
        "sigmoid": (keras.activations.sigmoid, 1 / (1 + np.exp(-x)), 1 / (2 + 2 * np.cosh(x))),
        "tanh": (keras.activations.tanh, np.tanh(x), 1 / np.cosh(x) ** 2),
        "hard_sigmoid": (
            keras.activations.hard_sigmoid,
            np.clip(x / 6 + 0.5, 0, 1),
            np.where(abs(x) < 3, 1 / 6, 0.0),
        ),
        "hard_tanh": (keras.activations.hard_tanh, np.clip(x, -1, 1), 1.0 * (abs(x) < 1)),
    }
    largest_difference = 0.0
    for f, value, derivative in cases.values():
        gaps = np.abs(np.stack(value_and_derivative(f, x)) - np.stack([value, derivative]))
        largest_difference = float(max(largest_difference, gaps.max()))
    print(f"Keras 3: largest difference from the formulas {largest_difference:.1e}")

    two = np.array([2.0], dtype=np.float32)
    definitions = {
        "Keras 3 hard_sigmoid": keras.activations.hard_sigmoid,
        "Keras 2 hard_sigmoid": keras_2.hard_sigmoid,
        "Keras 3 sparse_sigmoid": keras.activations.sparse_sigmoid,
    }
    slopes = []
    for name, f in definitions.items():
        value = value_and_derivative(f, two)[0].item()
        slopes.append(value_and_derivative(f, 0.0 * two)[1].item())
        print(f"{name:23s} at 2: {value:.4f}, slope at 0: {slopes[-1]:.4f}")
    slope_new, slope_old, slope_sparse = slopes

    at_kink = [
        value_and_derivative(f, np.array([kink], dtype=np.float32))[1].item()
        for f, kink in ((keras.activations.hard_sigmoid, 3.0), (keras.activations.hard_tanh, 1.0))
    ]
    hard_sigmoid_at_kink, hard_tanh_at_kink = at_kink
    print("derivative at the right kink: hard_sigmoid", at_kink[0], "hard_tanh", at_kink[1])

    assert largest_difference < 1e-14
    assert abs(slope_new - 1 / 6) < 1e-6 and abs(slope_old - 0.2) < 1e-6
    assert abs(slope_sparse - 0.5) < 1e-6 and at_kink == [0.0, 1.0]
