"""Cross-entropy with soft targets q is lowest at p = q; its lowest value is H(q), not 0.

Shapes: logits (N, K); targets q (N, K), rows are distributions. The mean is over N.
"""

import numpy as np


def soft_cross_entropy(logits: np.ndarray, q: np.ndarray) -> np.floating:
    """Return the mean of -sum_k q_k log p_k over the rows."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.sum(q * log_p) / len(logits)


def soft_cross_entropy_grad(logits: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the gradient for the logits, (N, K)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return (q.sum(axis=1, keepdims=True) * p - q) / len(logits)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    logits, q, step = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), size=3), 1e-5
    grad, gradient_error = soft_cross_entropy_grad(logits, q), 0.0
    for entry in np.ndindex(*logits.shape):
        shift = np.zeros_like(logits)
        shift[entry] = step
        up, down = (soft_cross_entropy(logits + s, q) for s in (shift, -shift))
        error = float(abs((up - down) / (2 * step) - grad[entry]))
        gradient_error = max(gradient_error, error)
    print(f"largest error against central differences: {gradient_error:.1e}")

    num_classes, smoothing = 10, 0.1
    smoothed = np.full((1, num_classes), smoothing / num_classes)
    smoothed[0, 0] += 1 - smoothing
    z = np.zeros((1, num_classes))
    for _ in range(4000):
        z -= 2.0 * soft_cross_entropy_grad(z, smoothed)
    gap = float(z[0, 0] - z[0, 1])
    predicted_gap = float(np.log(num_classes * (1 - smoothing) / smoothing + 1))
    lowest = float(soft_cross_entropy(z, smoothed))
    smoothed_entropy = float(-np.sum(smoothed * np.log(smoothed)))
    print(f"smoothed target: best logit gap {gap:.4f}, predicted {predicted_gap:.4f}")
    print(f"lowest loss {lowest:.4f}, entropy of the target {smoothed_entropy:.4f}")

    assert gradient_error < 1e-9
    assert abs(gap - predicted_gap) < 1e-6 and abs(lowest - smoothed_entropy) < 1e-9
