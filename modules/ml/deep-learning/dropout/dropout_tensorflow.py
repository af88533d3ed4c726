"""keras.layers.Dropout multiplies by a mask of 0 and 1 / (1 - rate), forward and backward.

Shapes: x and grad_output are (N, D). rate is the probability of dropping an entry.
The layer acts only when it is called with training=True: model.fit passes that, your own loop must.
Source: documentation of keras.layers.Dropout; the rate has no default.
"""

import keras
import numpy as np
import tensorflow as tf


def recover_mask(rate: float, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return the first mask that a new layer with this seed draws: its output on ones."""
    drop = keras.layers.Dropout(rate, seed=seed, dtype="float64")
    return drop(np.ones(shape), training=True).numpy()


def forward_backward(
    rate: float, x: np.ndarray, grad_output: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first output of a new layer with this seed, and the gradient for x."""
    drop = keras.layers.Dropout(rate, seed=seed, dtype="float64")
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        out = drop(inputs, training=True)
    return out.numpy(), tape.gradient(out, inputs, output_gradients=grad_output).numpy()


if __name__ == "__main__":
    rate = 0.3
    rng = np.random.default_rng(0)
    x, grad_output = rng.normal(size=(2, 200, 500))

    mask = recover_mask(rate, x.shape, seed=1)
    out, grad_x = forward_backward(rate, x, grad_output, seed=1)
    output_difference = float(np.max(np.abs(out - x * mask)))
    gradient_difference = float(np.max(np.abs(grad_x - grad_output * mask)))
    keep_rate = float(np.mean(mask > 0))
    scale = float(mask.max())
    largest_difference = max(output_difference, gradient_difference)
    print(f"same mask: outputs differ by {output_difference:.1e}", end=", ")
    print(f"gradients by {gradient_difference:.1e}")
    print(f"scale of the survivors {scale:.6f}, share kept {keep_rate:.4f}")

    drop = keras.layers.Dropout(rate, seed=1, dtype="float64")
    changed_by_default = bool(np.any(drop(x).numpy() != x))
    changed_in_training = bool(np.any(drop(x, training=True).numpy() != x))
    print(f"drop(x) changes x: {changed_by_default};", end=" ")
    print(f"drop(x, training=True) changes x: {changed_in_training}")

    zeros = keras.layers.Dropout(1.0, dtype="float64")(x, training=True).numpy()
    print("rate = 1 gives zeros:", not zeros.any())

    assert largest_difference < 1e-14
    assert np.unique(mask).size == 2 and mask.min() == 0.0
    assert abs(scale - 1 / (1 - rate)) < 1e-15
    assert abs(keep_rate - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / mask.size)
    assert not changed_by_default and changed_in_training
    assert np.array_equal(zeros, np.zeros_like(x))
