"""tf.custom_gradient: a function returns its value and a rule that gets the upstream gradient.

Shapes: log1pexp acts on each entry; the layer maps x (N, D) to x @ w, (N, K).
Sources: documentation of tf.custom_gradient; issue 65839 of tensorflow/tensorflow, on
keyword arguments.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

Rule = Callable[[tf.Tensor], tf.Tensor]


@tf.custom_gradient
def log1pexp(x: tf.Tensor) -> tuple[tf.Tensor, Rule]:
    """Return log(1 + e^x); the rule is the sigmoid."""

    def grad(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0) + tf.math.log1p(tf.exp(-tf.abs(x))), grad


def layer(w: tf.Variable, accepts_variables: bool = True) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return x -> x @ w with a rule that also covers the captured variable."""

    def function(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def grad(upstream: tf.Tensor, variables: list[tf.Variable]) -> tuple:
            grad_x = upstream @ tf.transpose(w)  # (N, K) @ (K, D) -> (N, D)
            return grad_x, [tf.transpose(x) @ upstream for _ in variables]  # (D, K)

        def grad_x_only(upstream: tf.Tensor) -> tf.Tensor:
            return upstream @ tf.transpose(w)

        return x @ w, grad if accepts_variables else grad_x_only

    return tf.custom_gradient(function)


def derivatives(f: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray) -> list[np.ndarray]:
    """Return value, first and second derivative of an entrywise function."""
    z = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            y = f(z)
        first = inner.gradient(y, z)
    return [y.numpy(), first.numpy(), outer.gradient(first, z).numpy()]


def refused(run: Callable[[], object]) -> str:
    """Return the message with which TensorFlow refuses run(), or nothing."""
    try:
        run()
    except (TypeError, ValueError) as problem:
        return str(problem)
    return ""


if __name__ == "__main__":
    x = np.linspace(-300, 300, 601)
    ours = derivatives(log1pexp, x)
    e = np.exp(-np.abs(x))
    slope = np.where(x >= 0, 1.0, e) / (1 + e)
    exact = [np.maximum(x, 0) + np.log1p(e), slope, e / (1 + e) ** 2]
    largest_difference = max(float(np.abs(a - b).max()) for a, b in zip(ours, exact, strict=True))
    print(f"value, gradient, second derivative: differ by at most {largest_difference:.1e}")
    recorded = derivatives(lambda z: tf.math.log(1 + tf.exp(z)), np.array([800.0]))[1]
    print(f"recorded rules at x = 800: gradient {recorded[0]}")

    w, rows = tf.Variable(np.arange(6.0).reshape(3, 2)), tf.constant(np.ones((4, 3)))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        loss = tf.reduce_sum(layer(w)(rows) ** 2)
    grad_x, grad_w = (g.numpy() for g in tape.gradient(loss, [rows, w]))
    upstream = 2 * rows.numpy() @ w.numpy()  # (4, 3) @ (3, 2) -> (4, 2)
    error_x = np.abs(grad_x - upstream @ w.numpy().T).max()
    layer_error = max(error_x, np.abs(grad_w - rows.numpy().T @ upstream).max())
    print(f"layer with a variable: gradients off by {layer_error:.1e}")
    without_variables = refused(lambda: layer(w, accepts_variables=False)(rows))
    print(f"a rule without 'variables': {without_variables[:62]}")

    by_position = float(derivatives(log1pexp, np.array([0.0]))[1][0])
    by_keyword = float(derivatives(lambda z: log1pexp(x=z), np.array([0.0]))[1][0])
    print(f"gradient at 0: log1pexp(x) {by_position}, log1pexp(x=x) {by_keyword}")
    zero = tf.zeros(3)
    with tf.GradientTape() as tape:
        tape.watch(zero)
        length = tf.norm(zero)
    norm_at_zero = float(tape.gradient(length, zero)[0])
    print(f"gradient of tf.norm at zero: {norm_at_zero}")

    assert largest_difference < 1e-13 and layer_error == 0.0 and np.isnan(recorded[0])
    assert "must accept keyword argument 'variables'" in without_variables
    assert by_position == 0.5 and by_keyword != 0.5 and np.isnan(norm_at_zero)
