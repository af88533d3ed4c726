"""Keras takes probabilities unless told otherwise, and divides a weighted loss by a count.

Shapes: logits (N, K), targets (N,); classes are on the last axis. Keras computes losses in
float32 unless the loss gets a dtype. Source: documentation and source of keras.losses.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras.losses import BinaryCrossentropy, SparseCategoricalCrossentropy


def value_and_grad(
    loss: Callable[..., tf.Tensor],
    logits: np.ndarray,
    targets: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return the loss and its gradient for the logits."""
    z = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(targets, z, sample_weight=sample_weight)  # targets first
    return float(value), tape.gradient(value, z).numpy()


def weighted(y: tf.Tensor, z: tf.Tensor, sample_weight: None = None) -> tf.Tensor:
    """Return TensorFlow's summed binary loss; a positive example counts 3 times."""
    return tf.reduce_sum(tf.nn.weighted_cross_entropy_with_logits(y, z, pos_weight=3.0))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    logits, weight = 3.0 * rng.normal(size=(8, 5)), rng.uniform(0.5, 2.0, size=5)
    targets = np.array([0, 4, -100, 1, 1, 2, -100, 3])
    kept = targets != -100
    sample_weight = np.where(kept, weight[targets * kept], 0.0)  # one per example
    options = {"from_logits": True, "ignore_class": -100, "dtype": "float64"}
    options_mean = {**options, "reduction": "mean_with_sample_weight"}
    criterion = SparseCategoricalCrossentropy(**options_mean)
    value, grad = value_and_grad(criterion, logits, targets, sample_weight)

    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    scale = sample_weight / sample_weight.sum()
    expected = -np.sum(scale * log_p[np.arange(8), targets * kept])
    expected_grad = scale[:, None] * (np.exp(log_p) - np.eye(5)[targets * kept])
    grad_difference = np.abs(grad - expected_grad).max()
    largest_difference = float(max(abs(value - expected), grad_difference))
    print(f"weights, ignored targets: differs from NumPy by {largest_difference:.1e}")
    default = value_and_grad(
        SparseCategoricalCrossentropy(**options), logits, targets, sample_weight
    )[0]
    print(f"weighted mean {value:.4f}; Keras's default reduction gives {default:.4f}")
    all_ignored = value_and_grad(
        SparseCategoricalCrossentropy(**options), logits, np.full(8, -100)
    )[0]
    print(f"all targets ignored: loss {all_ignored}")

    wrong, zero = tf.constant([[0.0, 100.0]]), np.array([0])  # sure of 1; the truth is 0
    from_probabilities = SparseCategoricalCrossentropy()
    clipped = float(from_probabilities(zero, tf.nn.softmax(wrong)))
    recovered = float(from_probabilities(zero, keras.activations.softmax(wrong)))
    exact = float(SparseCategoricalCrossentropy(from_logits=True)(zero, wrong))
    print(f"logit gap 100: loss {exact:.1f} from logits, {clipped:.4f} from probabilities,")
    print(f"  {recovered:.1f} from Keras's own softmax, whose output remembers its logits")
    clip_gradient = value_and_grad(
        lambda y, z, sample_weight: from_probabilities(y, tf.nn.softmax(z)), wrong.numpy(), zero
    )[1]
    largest_clip_gradient = float(np.abs(clip_gradient).max())
    binary = BinaryCrossentropy(from_logits=True, dtype="float64")
    binary_loss = float(binary(np.array([[1.0], [0.0]]), np.array([[-200.0], [1e4]])))
    print(f"gradient from probabilities {largest_clip_gradient}")
    print(f"binary losses of 200 and 10,000: mean {binary_loss:.0f}")

    at_zero, beside_zero = (
        float(value_and_grad(weighted, np.array([z]), np.ones(1))[1][0]) for z in (0.0, 1e-9)
    )
    print(f"pos_weight 3, positive: gradient {at_zero} at z = 0, {beside_zero:.2f} beside")

    assert largest_difference < 1e-14
    assert at_zero == 0.0 and abs(beside_zero + 1.5) < 1e-8
    assert abs(default * kept.sum() / sample_weight.sum() - value) < 1e-14
    assert all_ignored == 0.0 and largest_clip_gradient == 0.0
    assert exact == recovered == 100.0
    assert abs(clipped + np.log(keras.backend.epsilon())) < 1e-3
    assert binary_loss == (200.0 + 1e4) / 2
