"""Eight bugs in a hand-written backward pass, none of which raises an exception.

Shapes: rows are examples, x (N, D), w1 (D, H), w2 (H, K), with N = D = H = K = 4: in a square
network every wrong product and every wrong axis fits. Loss: mean softmax cross-entropy.
Errors are relative: the norm of the difference over the norm of the right gradient.
"""

import numpy as np


def loss(x: np.ndarray, targets: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray) -> float:
    """Return the mean cross-entropy of softmax(tanh(x @ w1 + b1) @ w2)."""
    z = np.tanh(x @ w1 + b1) @ w2
    z = z - z.max(axis=1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-log_probs[np.arange(len(x)), targets].mean())


def error(wrong: np.ndarray, right: np.ndarray) -> float:
    """Return the relative error."""
    return float(np.linalg.norm(wrong - right) / np.linalg.norm(right))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n = 4
    x, w1, w2 = (rng.normal(size=(n, n)) for _ in range(3))
    b1, targets = np.zeros(n), np.array([0, 1, 2, 1])
    onehot = np.eye(n)[targets]

    h = np.tanh(x @ w1 + b1)
    z = h @ w2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    delta2 = (p - onehot) / n
    delta1 = (delta2 @ w2.T) * (1 - h**2)
    grad_w1, grad_b1, grad_w2 = x.T @ delta1, delta1.sum(axis=0), h.T @ delta2  # right
