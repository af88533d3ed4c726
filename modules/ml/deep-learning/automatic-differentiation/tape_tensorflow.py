"""TensorFlow records only inside a tape, and only what depends on a watched value.

Shapes: numbers, and x (3,). Source: documentation of tf.GradientTape and of
tf.autodiff.ForwardAccumulator.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def slope(f: Callable[[tf.Tensor], tf.Tensor], at: float) -> float:
    """Return df/dx at a number, by a tape."""
    x = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return float(tape.gradient(y, x))


if __name__ == "__main__":
    constant, variable = tf.constant(3.0), tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as tape:
        from_constant, from_variable = constant**2, variable**2
        with tape.stop_recording():
            hidden = variable**2
    outside = variable**2
    unwatched = tape.gradient(from_constant, constant)
    watched = float(tape.gradient(from_variable, variable))
    not_recorded = [tape.gradient(y, variable) for y in (hidden, outside)]
    print(f"variable: {watched:g}; constant, not watched: {unwatched}")
    print(f"recording stopped, or after the tape: {not_recorded}")

    # H v, forward over reverse, for f(x) = sum of x_i^3: H = diag(6 x)
    x, v = tf.constant([1.0, 2.0, 3.0]), tf.constant([1.0, 0.0, -1.0])
    with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(x**3)
        gradient = inner.gradient(y, x)
    hessian_v = accumulator.jvp(gradient).numpy()
    hvp_error = float(np.abs(hessian_v - 6 * x.numpy() * v.numpy()).max())
    print(f"H v = {hessian_v}")

    at = 0.25
    formula = np.cos(at) / (2 + at**2) - np.sin(at) * 2 * at / (2 + at**2) ** 2
    slope_error = abs(slope(lambda x: tf.sin(x) / (2.0 + x * x), at) - float(formula))

    kinks = {
        "relu": slope(tf.nn.relu, 0.0),
        "abs": slope(tf.abs, 0.0),
        "sqrt": slope(tf.sqrt, 0.0),
        "maximum": slope(lambda x: tf.maximum(x, 0.0), 0.0),
        "norm": slope(lambda x: tf.norm(tf.stack([x, x])), 0.0),
        "relu(x) - relu(-x)": slope(lambda x: tf.nn.relu(x) - tf.nn.relu(-x), 0.0),
    }
    print("at 0:", ", ".join(f"{name} {value:g}" for name, value in kinks.items()))
    one = tf.constant(1.0)
    where_naive = slope(lambda x: tf.where(x > 0, tf.math.log(x), 0.0), 0.0)
    where_sqrt = slope(lambda x: tf.where(x > 0, tf.sqrt(x), 0.0), 0.0)
    where_safe = slope(lambda x: tf.where(x > 0, tf.math.log(tf.where(x > 0, x, one)), 0.0), 0.0)
    print(f"where(x > 0, log(x), 0): slope at 0 {where_naive}; with two where: {where_safe:g}")
    print(f"where(x > 0, sqrt(x), 0): {where_sqrt:g}")
    relu, absolute, root, maximum, norm, line = kinks.values()

    assert watched == 6.0 and unwatched is None and not_recorded == [None, None]
    assert hvp_error < 1e-5 and slope_error < 1e-6
    assert relu == absolute == line == where_safe == 0.0 and root == float("inf")
    assert np.isnan([where_naive, norm]).all() and where_sqrt == 0.0 and maximum == 1.0
