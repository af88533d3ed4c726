"""A functional and a subclassed Keras model repeat NumPy's losses to rounding.

Shapes: x is (N, 64), logits (N, 10). Dense stores its kernel as (in, out), as NumPy does here.
Keras computes in float32 unless every part is told otherwise: layers, loss and metrics.
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HIDDEN, BATCH, LR, EPOCHS, SHARED = 32, 32, 0.2, 3, 100
Params = list[np.ndarray]  # w1 (64, 32), b1 (32,), w2 (32, 10), b2 (10,)


def functional_model() -> keras.Model:
    """Return a graph of layers, from a symbolic input to the logits."""
    inputs = keras.Input((64,))
    h = keras.layers.Dense(HIDDEN, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(10)(h))  # built: the weights exist


class SubclassedModel(keras.Model):
    """The same layers; call is Python that runs on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(HIDDEN, activation="relu")
        self.logits = keras.layers.Dense(10)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the logits (N, 10) of the images x (N, 64)."""
        return self.logits(self.hidden(x))


def losses_by_keras(model: keras.Model, x: np.ndarray, y: np.ndarray, rows: Params) -> list[float]:
    """Train with Keras's own step; return the loss of every batch."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(LR), loss)
    losses = []
    for batch in rows:
        losses.append(float(model.train_on_batch(x[batch], y[batch])))
    return losses


def losses_by_tape(model: keras.Model, x: np.ndarray, y: np.ndarray, rows: Params) -> list[float]:
    """Train with a step written out; return the loss of every batch."""
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(LR)

    @tf.function(reduce_retracing=True)  # one graph for full and smaller batches
    def train_step(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = criterion(targets, model(images))  # mean over the batch
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        return loss

    return [float(train_step(tf.constant(x[b]), tf.constant(y[b]))) for b in rows]


def numpy_losses(x: np.ndarray, y: np.ndarray, params: Params, rows: Params) -> list[float]:
    """Return the batch losses of the same training by hand, without autograd."""
    (w1, b1, w2, b2), losses = (p.copy() for p in params), []
    for batch in rows:
        a, n = x[batch], np.arange(len(batch))
        h = np.maximum(a @ w1 + b1, 0.0)
        p = np.exp(h @ w2 + b2)  # small logits here: no shift needed
        p /= p.sum(axis=1, keepdims=True)
        losses.append(float(-np.log(p[n, y[batch]]).mean()))
        p[n, y[batch]] -= 1.0
        delta_2 = p / len(batch)
        delta_1 = (delta_2 @ w2.T) * (h > 0)
        w1, b1 = w1 - LR * a.T @ delta_1, b1 - LR * delta_1.sum(axis=0)
        w2, b2 = w2 - LR * h.T @ delta_2, b2 - LR * delta_2.sum(axis=0)
    return losses


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    x, y = load_digits(return_X_y=True)
    x = x / 16.0
    x, test_x, y, test_y = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    x, valid_x, y, valid_y = train_test_split(x, y, test_size=287, stratify=y, random_state=0)

    rng = np.random.default_rng(0)  # the draws of the NumPy script, in the same order
    w1 = rng.normal(size=(64, HIDDEN)) * np.sqrt(2 / 64)
    w2 = rng.normal(size=(HIDDEN, 10)) * np.sqrt(1 / HIDDEN)
    params = [w1, np.zeros(HIDDEN), w2, np.zeros(10)]
    orders = [rng.permutation(len(x)) for _ in range(EPOCHS)]
    rows = [o[i : i + BATCH] for o in orders for i in range(0, len(x), BATCH)]
    rows, rows_0 = rows[:SHARED], rows[: len(rows) // EPOCHS]

    by_hand = numpy_losses(x, y, params, rows)
    functional, subclassed = functional_model(), SubclassedModel()
    subclassed(x[:1])  # its weights come into being with the first call
    for model in (functional, subclassed):
        model.set_weights(params)
    by_functional = losses_by_keras(functional, x, y, rows)
    by_subclassed = losses_by_tape(subclassed, x, y, rows)
    difference_functional, difference_subclassed = (
        float(np.abs(np.subtract(a, by_hand)).max()) for a in (by_functional, by_subclassed)
    )
    largest_difference = max(difference_functional, difference_subclassed)
    loss_1, loss_10, loss_100 = (by_subclassed[i - 1] for i in (1, 10, 100))
    print(f"functional, losses 1 to {SHARED}: within {difference_functional:.1e} of NumPy")
    print(f"subclassed, losses 1 to {SHARED}: within {difference_subclassed:.1e} of NumPy")
    print(f"loss of batch 1: {loss_1:.12f}, 10: {loss_10:.12f}, 100: {loss_100:.12f}")

    functional.set_weights(params)  # one epoch again, with fit: what does it report?
    log = functional.fit(x[orders[0]], y[orders[0]], BATCH, verbose=0, shuffle=False)
    reported = float(log.history["loss"][0])
    after = float(functional.evaluate(x, y, BATCH, verbose=0))
    epoch = by_hand[: len(rows_0)]
    mean_of_batches = float(np.average(epoch, weights=[len(b) for b in rows_0]))
    print(f"epoch 1: fit reports {reported:.4f}; the loss after it is {after:.4f}")

    assert largest_difference < 1e-6  # measured: near 1e-15
    assert abs(reported - mean_of_batches) < 1e-12 and after < 0.9 * reported
