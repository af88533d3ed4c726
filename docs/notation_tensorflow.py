"""keras.layers.Dense uses the row layout: kernel (D_in, D_out), z = x @ kernel + bias.

Shapes: x (N, D_in), y and z (N, D_out), b (D_out,). Loss: the mean over N examples of
half the squared error. In float64, which has to be asked for.
"""

import keras
import numpy as np
import tensorflow as tf

Array = np.ndarray


def dense_gradients(x: Array, y: Array, w: Array, b: Array) -> dict[str, Array]:
    """Return the gradients for X, for the kernel and for the bias of a Dense layer."""
    layer = keras.layers.Dense(w.shape[1], dtype="float64")
    layer.build(x.shape)
    layer.set_weights([w, b])
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(tf.square(layer(inputs) - y)) / (2 * len(x))
    sources = {"X": inputs, "W": layer.kernel.value, "b": layer.bias.value}
    return {name: grad.numpy() for name, grad in tape.gradient(loss, sources).items()}


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n, d_in, d_out = 5, 4, 3
    x, y = rng.normal(size=(n, d_in)), rng.normal(size=(n, d_out))
    w, b = rng.normal(size=(d_in, d_out)), rng.normal(size=d_out)

    theirs = dense_gradients(x, y, w, b)
    delta = (x @ w + b - y) / n  # (N, D_out)
    ours = {"X": delta @ w.T, "W": x.T @ delta, "b": delta.sum(axis=0)}
    largest_difference = 0.0
    for name, grad in theirs.items():
        difference = float(np.abs(grad - ours[name]).max())
        largest_difference = max(largest_difference, difference)
        print(f"{name} {grad.shape!s:6}  Dense against the formulas: {difference:.1g}")

    assert largest_difference < 1e-14
    assert all(theirs[name].shape == ours[name].shape for name in "XWb")
