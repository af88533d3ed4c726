"""Each kind of target has its output layer; all give the gradient "mean minus target".

z (N, K) is the last pre-activation, y (N, K) the target, A the log-normalizer of the
distribution: -log p(y | z) = A(z) - sum_k y_k z_k + a term without z, and dA/dz = mean.
multi-class: y one-hot. regression: normal, variance 1. counts: Poisson, rate e^z.
"""

import math

import numpy as np

TASKS = ("regression", "binary", "multi-class", "multi-label", "counts")


def mean(task: str, z: np.ndarray) -> np.ndarray:
    """Return the predicted mean of the target, (N, K)."""
    if task == "regression":
        return z
    if task in ("binary", "multi-label"):
        return 0.5 * (1.0 + np.tanh(0.5 * z))  # sigmoid without overflow
    if task == "counts":
        return np.exp(z)
    e = np.exp(z - z.max(axis=1, keepdims=True))  # softmax acts on the row
    return e / e.sum(axis=1, keepdims=True)


def log_normalizer(task: str, z: np.ndarray) -> np.ndarray:
    """Return A(z) of each example, (N,)."""
    if task == "regression":
        return 0.5 * (z**2).sum(axis=1)
    if task in ("binary", "multi-label"):
        return np.logaddexp(0.0, z).sum(axis=1)
    if task == "counts":
        return np.exp(z).sum(axis=1)
    return np.logaddexp.reduce(z, axis=1)  # log-sum-exp


def negative_log_likelihood(task: str, z: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of -log p(y | z) over the examples, in nats."""
    without_z = np.zeros(len(y))
    if task == "regression":
        without_z = 0.5 * (y**2 + math.log(2 * math.pi)).sum(axis=1)
    if task == "counts":
        without_z = np.vectorize(math.lgamma)(y + 1.0).sum(axis=1)  # log y!
    return float(np.mean(log_normalizer(task, z) - (y * z).sum(axis=1) + without_z))


def gradient(task: str, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean loss for z, (N, K)."""
    return (mean(task, z) - y) / len(y)


def draw_targets(task: str, n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return targets (n, k) of the kind that the task has."""
    if task == "regression":
        return rng.normal(size=(n, k))
    if task == "counts":
        return rng.poisson(3.0, size=(n, k)).astype(float)
    if task == "multi-class":
        return np.eye(k)[rng.integers(k, size=n)]
    return rng.integers(2, size=(n, k)).astype(float)


if __name__ == "__main__":
    rng, step = np.random.default_rng(0), 1e-5
    largest_error = 0.0
    for task in TASKS:
        k = 1 if task == "binary" else 3
        z, y = rng.normal(size=(4, k)), draw_targets(task, 4, k, rng)
        exact, numeric = gradient(task, z, y), np.empty_like(z)
        for i in np.ndindex(z.shape):
            change = np.zeros_like(z)
            change[i] = step
            up, down = (negative_log_likelihood(task, z + s * change, y) for s in (1, -1))
            numeric[i] = (up - down) / (2 * step)
        error = float(np.abs(exact - numeric).max())
        largest_error = max(largest_error, error)
        loss = negative_log_likelihood(task, z, y)
        print(f"{task:12s} loss {loss:.4f} nats, gradient against differences {error:.0e}")
        assert np.allclose(mean(task, z).sum(axis=1), 1) == (task == "multi-class")

    far = np.array([[-800.0, 0.0, 800.0]])  # no overflow where a finite answer exists
    for task in ("regression", "binary", "multi-class", "multi-label"):
        assert np.isfinite(negative_log_likelihood(task, far, np.eye(3)[:1]))
        assert np.isfinite(mean(task, far)).all()
    assert largest_error < 1e-8
