"""The lowest cross-entropy is the entropy of the labels, reached at their frequencies.

Shapes: p and q are (K,) distributions, logits (K,). The model here is one logit per class and no
input, so that its best answer is known: the label frequencies. Class weights tilt this answer.
Source: Elkan (2001), Section 3, for correcting probabilities after a change of base rates.
"""

import numpy as np


def entropy(q: np.ndarray) -> float:
    """Return H(q) = -sum_k q_k log q_k in nats, with 0 log 0 = 0."""
    return float(-np.sum(q[q > 0] * np.log(q[q > 0])))


def kl_divergence(q: np.ndarray, p: np.ndarray) -> float:
    """Return KL(q, p) = sum_k q_k log(q_k / p_k); inf where p_k = 0 < q_k."""
    with np.errstate(divide="ignore"):
        return float(np.sum(q[q > 0] * (np.log(q[q > 0]) - np.log(p[q > 0]))))


def expected_cross_entropy(q: np.ndarray, p: np.ndarray) -> float:
    """Return H(q, p) = -sum_k q_k log p_k; inf where p_k = 0 < q_k."""
    with np.errstate(divide="ignore"):
        return float(-np.sum(q[q > 0] * np.log(p[q > 0])))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits (K,)."""
    e = np.exp(logits - logits.max())
    return e / e.sum()


def fit_logits(counts: np.ndarray, weight: np.ndarray, steps: int = 2000) -> np.ndarray:
    """Return the logits (K,) that gradient descent finds for the weighted cross-entropy."""
    logits, share = np.zeros(len(counts)), weight * counts / np.sum(weight * counts)
    for _ in range(steps):
        logits -= 1.0 * (softmax(logits) - share)  # the gradient of the weighted mean loss
    return logits


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=500, p=[0.7, 0.2, 0.1])
    counts = np.bincount(labels, minlength=3).astype(float)
    q, equal = counts / counts.sum(), np.ones(3)
    p = softmax(fit_logits(counts, equal))
    frequency_difference = float(np.max(np.abs(p - q)))
    loss_at_optimum, label_entropy = expected_cross_entropy(q, p), entropy(q)
    print(f"label frequencies {q}, fitted probabilities differ by {frequency_difference:.1e}")
    print(f"lowest loss {loss_at_optimum:.6f}, entropy of the labels {label_entropy:.6f}")

    guess = equal / 3
    gap = expected_cross_entropy(q, guess) - (entropy(q) + kl_divergence(q, guess))
    decomposition_error = abs(gap)
    print(f"H(q, p) - (H(q) + KL(q, p)) for a uniform p: {decomposition_error:.1e}")
    log_likelihood = float(np.log(p[labels]).sum())
    likelihood_difference = abs(-log_likelihood / len(labels) - expected_cross_entropy(q, p))
    print(f"mean negative log-likelihood minus H(q, p): {likelihood_difference:.1e}")

    weight = np.array([1.0, 2.0, 8.0])  # favors the rare classes
    weighted_logits = fit_logits(counts, weight)
    tilted = softmax(weighted_logits)
    corrected = softmax(weighted_logits - np.log(weight))
    correction_error = float(np.max(np.abs(corrected - q)))
    tilted_probability, true_frequency = float(tilted[2]), float(q[2])
    print(f"weights {weight}: probabilities {np.round(tilted, 4)}; after subtracting log w from")
    print(f"  the logits they differ from the frequencies by {correction_error:.1e}")

    assert frequency_difference < 1e-9 and correction_error < 1e-9
    assert abs(loss_at_optimum - label_entropy) < 1e-12
    assert decomposition_error < 1e-12 and likelihood_difference < 1e-12
    assert np.allclose(tilted, weight * q / np.sum(weight * q), rtol=0, atol=1e-9)
