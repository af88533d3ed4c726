"""A tf.Tensor never changes, a tf.Variable does; arguments replace placeholders.

Shapes: x (N, D), w (D, K), b (K,). The steps are those of the NumPy file.
Sources: TensorFlow API documentation of tf.Variable, tf.function and
tf.compat.v1.placeholder.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def layer(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return max(0, s w + b), where s is x with columns of mean 0 and variance 1."""
    centered = x - tf.reduce_mean(x, axis=0)  # (N, D) - (D,): one mean per column
    scaled = centered / tf.math.reduce_std(x, axis=0)
    return tf.nn.relu(scaled @ w + b)  # (N, D) @ (D, K) + (K,) -> (N, K)


def outcome(action: Callable[[], object]) -> str:
    """Return what an action gives, as text, or the name of the error that it raises."""
    try:
        result = action()
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        return type(error).__name__
    except tf.errors.InvalidArgumentError:
        return "InvalidArgumentError"
    return str(result.numpy().tolist() if tf.is_tensor(result) else result)


def squares_in_tensorflow_1(x: np.ndarray) -> float:
    """Return the sum of squares as in 2016: describe a graph, then feed and run it."""
    with tf.Graph().as_default():
        hole = tf.compat.v1.placeholder(tf.float64, shape=(None,))
        total = tf.reduce_sum(hole * hole)  # nothing is computed here
        with tf.compat.v1.Session() as session:
            return float(session.run(total, feed_dict={hole: x}))


TRACES = []


@tf.function(input_signature=[tf.TensorSpec((None,), tf.float64)])
def squares(x: tf.Tensor) -> tf.Tensor:
    """Return the sum of squares today: the graph is recorded from a function."""
    TRACES.append(x.shape)  # Python runs once per graph, not once per call
    return tf.reduce_sum(x * x)


def _overwrite() -> None:
    x = tf.constant([1, 2])
    x[0] = 9


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=s) for s in ((6, 4), (4, 3), (3,)))
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = np.maximum(scaled @ w + b, 0.0)
    ours = layer(tf.constant(x), tf.constant(w), tf.constant(b)).numpy()
    largest_difference = float(np.abs(ours - expected).max())
    print(f"layer: differs from NumPy by {largest_difference:.1e}")

    overwritten = outcome(_overwrite)
    variable = tf.Variable([1.0, 2.0])
    variable[0].assign(9.0)  # in place
    variable.assign_sub([1.0, 1.0])  # in place: how optimizers change weights
    changed = variable.numpy().tolist()
    other_shape = outcome(lambda: variable.assign([1.0, 2.0, 3.0]))
    print(f"x[0] = 9: {overwritten}; variable {changed}, new shape: {other_shape}")

    has_placeholder = hasattr(tf, "placeholder")
    eager_placeholder = outcome(lambda: tf.compat.v1.placeholder(tf.float64))
    print(f"tf.placeholder exists: {has_placeholder}; compat.v1: {eager_placeholder}")
    numbers = np.array([1.0, 2.0, 3.0])
    by_session = squares_in_tensorflow_1(numbers)
    by_function = float(squares(tf.constant(numbers)))
    squares(tf.constant(numbers[:2]))
    traces = len(TRACES)
    print(f"session {by_session:g}, tf.function {by_function:g}; 2 calls, {traces} trace")

    int_type, float_type = tf.constant([1, 2]).dtype.name, tf.constant([1.0]).dtype.name
    mixed = outcome(lambda: tf.constant([1]) + tf.constant([1.5]))
    wrapped = int(tf.constant(100, tf.int8) + tf.constant(100, tf.int8))
    small_plus_300 = outcome(lambda: tf.constant([1], tf.int8) + 300)
    small_sum = int(tf.reduce_sum(tf.constant([100, 100], tf.int8)))
    int_mean = outcome(lambda: tf.reduce_mean(tf.constant([1, 2])))
    variance = float(tf.math.reduce_variance(tf.constant([1.0, 2.0])))
    reverse = outcome(lambda: tf.range(4)[::-1])
    listed = outcome(lambda: tf.constant([5, 6, 7])[[0, 2]])
    gathered = outcome(lambda: tf.gather(tf.constant([5, 6, 7]), [0, 2]))
    print(f"x[[0, 2]]: {listed}; tf.gather(x, [0, 2]): {gathered}")
    column, targets = tf.constant([[1.0], [2.0], [3.0]]), tf.constant([1.0, 2.0, 3.0])
    loss_by_hand = float(tf.reduce_mean((column - targets) ** 2))  # (N, 1) - (N,) -> (N, N)
    loss_by_keras = float(keras.losses.MeanSquaredError()(targets, column))
    print(f"perfect predictions: loss {loss_by_hand:.2f}, Keras {loss_by_keras:.2f}")
    tenths = tf.fill((2**21, 2), 0.1)
    truth = 2**21 * float(np.float32(0.1))
    down_error = abs(float(tf.reduce_sum(tenths, axis=0)[0]) / truth - 1)
    print(f"mixed types: {mixed}; int8 sum {small_sum}; mean of [1, 2]: {int_mean}")

    assert largest_difference < 1e-14 and changed == [8.0, 1.0]
    assert overwritten == "TypeError" and other_shape == "ValueError"
    assert not has_placeholder and eager_placeholder == "RuntimeError"
    assert by_session == by_function == 14.0 and traces == 1
    assert mixed == "InvalidArgumentError" and small_sum == -56 and int_mean == "1"
    assert loss_by_keras == 0.0 and abs(loss_by_hand - 4 / 3) < 1e-6  # twice the variance
    assert gathered == "[5, 7]" and (listed, small_plus_300) == ("InvalidArgumentError", "[45]")
    assert (int_type, float_type, wrapped, variance) == ("int32", "float32", -56, 0.25)
    assert reverse == "[3, 2, 1, 0]" and down_error <= 2**21 * 2**-24  # n u, for any order
