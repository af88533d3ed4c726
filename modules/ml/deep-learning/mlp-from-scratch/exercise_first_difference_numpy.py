"""The first step at which two loss curves part says where to look for the bug."""

import numpy as np
from sklearn.datasets import load_digits

HIDDEN, BATCH, LR, EPOCHS = 32, 32, 0.2, 2
BUGS = {
    "gelu": "another activation function",
    "order": "another order of the batches",
    "bias": "the hidden bias is left out",
    "scale": "a factor of 2 is missing in the gradient",
    "axis": "the bias gradient is summed over units",
    "momentum": "momentum 0.9 in one of them",
    "ragged": "the smaller last batch is dropped",
    "schedule": "the learning rate is halved after an epoch",
}


def losses_with(bug: str, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the loss of every batch, with one of the BUGS or none ("")."""
    rng, losses, lr = np.random.default_rng(0), [], LR
    w1 = rng.normal(size=(64, HIDDEN)) * np.sqrt(2 / 64)
    w2 = rng.normal(size=(HIDDEN, 10)) * np.sqrt(1 / HIDDEN)
    params = np.concatenate([w1.ravel(), np.zeros(HIDDEN), w2.ravel(), np.zeros(10)])
    speed = np.zeros_like(params)
    ends = np.cumsum([w1.size, HIDDEN, w2.size])
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        order = order[::-1] if bug == "order" else order
        for rows in np.split(order, range(BATCH, len(x), BATCH)):
            if bug == "ragged" and len(rows) < BATCH:
                continue
            w1, b1, w2, b2 = np.split(params, ends)
            w1, w2 = w1.reshape(64, HIDDEN), w2.reshape(HIDDEN, 10)
            a, n = x[rows], np.arange(len(rows))
            z = a @ w1 + (0.0 if bug == "bias" else b1)
            cdf = 1 / (1 + np.exp(-1.702 * z))  # the sigmoid approximation of GELU
            slope = cdf + 1.702 * z * cdf * (1 - cdf) if bug == "gelu" else z > 0
            h = z * cdf if bug == "gelu" else np.maximum(z, 0.0)
            p = np.exp(h @ w2 + b2)
            p /= p.sum(axis=1, keepdims=True)
            losses.append(float(-np.log(p[n, y[rows]]).mean()))
            p[n, y[rows]] -= 1.0
            p /= 2 * len(rows) if bug == "scale" else len(rows)
            delta = (p @ w2.T) * slope
            grad_b2 = np.resize(p.sum(axis=1), 10) if bug == "axis" else p.sum(axis=0)
            grads = [a.T @ delta, delta.sum(axis=0), h.T @ p, grad_b2]
            speed = (0.9 if bug == "momentum" else 0.0) * speed + np.concatenate(
                [g.ravel() for g in grads]
            )
            params = params - lr * speed
        lr = lr / 2 if bug == "schedule" else lr
    return losses


def first_difference(a: list[float], b: list[float]) -> int:
    """Return the first step, counted from 1, at which the losses differ by more than 1e-9."""
    return 1 + int(np.argmax(np.abs(np.subtract(a, b)) > 1e-9))


if __name__ == "__main__":
    x, y = load_digits(return_X_y=True)
    x, y = x[:1150] / 16, y[:1150]
    right = losses_with("", x, y)
    steps = {}
    for bug, what in BUGS.items():
        wrong = losses_with(bug, x, y)
        steps[bug] = first_difference(right[: len(wrong)], wrong)
        print(f"{what:44s} step {steps[bug]}")
    per_epoch = len(right) // EPOCHS

    assert steps["gelu"] == steps["order"] == 1
    assert steps["bias"] == steps["scale"] == steps["axis"] == 2 and steps["momentum"] == 3
    assert steps["ragged"] == per_epoch and steps["schedule"] == per_epoch + 2
