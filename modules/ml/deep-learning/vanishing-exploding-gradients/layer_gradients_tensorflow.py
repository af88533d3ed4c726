"""GradientTape gives the same layer gradients; Keras starts recurrent weights orthogonal.

Shapes: x (N, D), kernels (D_in, D_out). In Keras clipnorm limits each variable by itself,
global_clipnorm all together. Source: documentation of keras.optimizers.Optimizer.
"""

import keras
import numpy as np
import tensorflow as tf


def layer_gradients(weights: list[np.ndarray], x: np.ndarray, name: str) -> list[np.ndarray]:
    """Return dL/dz of every layer for L = sum of the outputs, by tf.GradientTape."""
    activation, pre_activations = keras.activations.get(name), []
    with tf.GradientTape() as tape:
        a = tf.constant(x)
        tape.watch(a)
        for w in weights:
            z = a @ tf.constant(w)
            pre_activations.append(z)
            a = activation(z)
        loss = tf.reduce_sum(z)  # the last layer is linear
    return [g.numpy() for g in tape.gradient(loss, pre_activations)]


def clipped_steps(gradients: list[np.ndarray], **options: float) -> list[np.ndarray]:
    """Return the steps that keras's SGD with learning rate 1 takes against the gradients."""
    variables = [keras.Variable(np.zeros_like(g)) for g in gradients]
    optimizer = keras.optimizers.SGD(1.0, **options)
    optimizer.apply([tf.constant(g) for g in gradients], variables)
    return [-v.value.numpy() for v in variables]


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    depth, width = 20, 64
    weights = [rng.normal(size=(width, width)) / np.sqrt(width) for _ in range(depth)]
    x = rng.normal(size=(16, width))
    theirs = layer_gradients(weights, x, "tanh")
    inputs = [x]
    for w in weights[:-1]:
        inputs.append(np.tanh(inputs[-1] @ w))
    delta, largest_difference = np.ones((16, width)), 0.0
    for w, a, expected in zip(weights[:0:-1], inputs[:0:-1], theirs[-2::-1], strict=True):
        delta = (delta @ w.T) * (1 - a**2)
        error = np.abs(delta - expected).max() / np.abs(delta).max()
        largest_difference = max(largest_difference, float(error))
    print(f"against the NumPy recursion: largest relative difference {largest_difference:.0e}")

    keras.utils.set_random_seed(0)
    cell = keras.layers.SimpleRNN(128)
    cell.build((None, 5, 128))
    recurrent = cell.cell.recurrent_kernel.value.numpy()
    singular = np.linalg.svd(recurrent, compute_uv=False)
    smallest, largest = float(singular[-1]), float(singular[0])
    print(f"SimpleRNN: singular values of the recurrent kernel {smallest:.3f} to {largest:.3f}")

    gradients = [np.array([3.0, 0.0], np.float32), np.array([0.0, 40.0], np.float32)]
    per_variable = clipped_steps(gradients, clipnorm=1.0)
    together = clipped_steps(gradients, global_clipnorm=1.0)
    per_first, per_second = (float(np.linalg.norm(s)) for s in per_variable)
    global_first, global_second = (float(np.linalg.norm(s)) for s in together)
    print(f"norms 3 and 40 under clipnorm=1: {per_first:.3f}, {per_second:.3f}")
    print(f"  under global_clipnorm=1: {global_first:.3f}, {global_second:.3f}")

    assert largest_difference < 1e-12
    assert abs(smallest - 1) < 1e-4 and abs(largest - 1) < 1e-4
    assert abs(per_first - 1) < 1e-5 and abs(per_second - 1) < 1e-5
    assert abs(np.hypot(global_first, global_second) - 1) < 1e-5
    assert abs(global_second / global_first - 40 / 3) < 1e-4
