"""Keras agrees with PyTorch on the formulas; its defaults and its slopes at 0 differ.

Shapes: the probes are (1, M) of float64. PReLU is built for images (N, 4, 4, 3), channels last.
Source: documentation of keras.layers.LeakyReLU, keras.layers.PReLU and keras.activations.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def value_and_derivative(
    f: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return f(x) and, by GradientTape, f'(x), both shaped like x, for an elementwise f."""
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = f(variable)
    return y.numpy(), tape.gradient(y, variable).numpy()


if __name__ == "__main__":
    x = np.concatenate([np.linspace(-3.6, 3.6, 145), [-1e300, -1e4, 1e4, 1e300]])[None]
    x = x[x != 0.0][None]  # the kink is looked at separately
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    left = np.minimum(x, 0.0)
    cases = {
        "relu": (keras.activations.relu, 1.0, 0.0 * left, 0.0 * left),
        "elu": (keras.activations.elu, 1.0, np.expm1(left), np.exp(left)),
        "selu": (
            keras.activations.selu,
            scale,
            scale * alpha * np.expm1(left),
            scale * alpha * np.exp(left),
        ),
    }
    largest_difference = 0.0
    for f, right_slope, left_value, left_derivative in cases.values():
        value, derivative = value_and_derivative(f, x)
        expected = np.where(x > 0, right_slope * x, left_value)
        gap = np.abs(value - expected) / np.maximum(1.0, np.abs(expected))
        slope_gap = np.abs(derivative - np.where(x > 0, right_slope, left_derivative))
        largest_difference = float(max(largest_difference, gap.max(), slope_gap.max()))
    print(
        f"ReLU, ELU, SELU: largest (relative) difference from the formulas {largest_difference:.1e}"
    )

    minus_one = np.array([[-1.0]], dtype=np.float32)
    layer_slope = -keras.layers.LeakyReLU()(minus_one).numpy().item()
    function_slope = -keras.activations.leaky_relu(minus_one).numpy().item()
    print(f"default leaky slope: layer {layer_slope:.1f}, function {function_slope:.1f}")

    prelu = keras.layers.PReLU()
    prelu.build((None, 4, 4, 3))
    shared = keras.layers.PReLU(shared_axes=[1, 2])
    shared.build((None, 4, 4, 3))
    prelu_start, prelu_slopes = float(prelu.alpha.numpy().max()), int(np.prod(prelu.alpha.shape))
    shared_slopes = int(np.prod(shared.alpha.shape))
    print(f"PReLU: {prelu_slopes} slopes from {prelu_start:.0f}; with shared_axes {shared_slopes}")

    quarter = keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25))
    at_zero = {
        "relu": keras.activations.relu,
        "leaky": keras.activations.leaky_relu,
        "prelu": quarter,
        "elu2": lambda v: keras.activations.elu(v, alpha=2.0),
        "selu": keras.activations.selu,
    }
    zero = np.zeros((1, 1), dtype=np.float32)
    slopes = [value_and_derivative(f, zero)[1].item() for f in at_zero.values()]
    relu_at_zero, leaky_at_zero, prelu_at_zero, elu2_at_zero, selu_at_zero = slopes
    print("slope at 0:", ", ".join(f"{k} {v:.3f}" for k, v in zip(at_zero, slopes, strict=True)))

    assert largest_difference < 1e-12
    assert abs(layer_slope - 0.3) < 1e-6 and abs(function_slope - 0.2) < 1e-6
    assert (prelu_start, prelu_slopes, shared_slopes) == (0.0, 48, 3)
    assert relu_at_zero == 0.0 and abs(selu_at_zero - scale) < 1e-6 and prelu_at_zero == 0.0
    assert leaky_at_zero == function_slope and elu2_at_zero == 2.0
