"""Averaging the means of micro-batches weights tokens unequally; sums over one count do not.

Shapes: features x (N, D), weights w (D, K), logits x @ w (N, K), targets (N,).
"""

import numpy as np

IGNORED = -100


def summed_grad(x: np.ndarray, w: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the summed loss's gradient for w, (D, K), and how many targets count."""
    counts = targets != IGNORED
    x, y = x[counts], targets[counts]
    logits = x @ w  # (N, D) @ (D, K) -> (N, K)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    grad_logits = e / e.sum(axis=1, keepdims=True)
    grad_logits[np.arange(len(y)), y] -= 1.0  # softmax minus one-hot
    return x.T @ grad_logits, len(y)  # (D, N) @ (N, K) -> (D, K)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(24, 8)), rng.normal(size=(8, 5))
    targets = rng.integers(0, 5, size=24)
    targets[14:] = IGNORED  # the second half is mostly padding: 12 and 2 targets count
    whole, count = summed_grad(x, w, targets)
    whole /= count

    halves = (slice(0, 12), slice(12, 24))
    parts = [summed_grad(x[rows], w, targets[rows]) for rows in halves]
    mean_of_means = sum(g / n for g, n in parts) / len(parts)
    sum_over_count = sum(g for g, _ in parts) / sum(n for _, n in parts)

    def relative_error(g: np.ndarray) -> float:
        return float(np.linalg.norm(g - whole) / np.linalg.norm(whole))

    wrong_error = relative_error(mean_of_means)
    right_error = relative_error(sum_over_count)
    wrong_percent = 100 * wrong_error
    counted = [n for _, n in parts]
    second_share = 0.5 / counted[1] * count  # a token's weight in part 2, over its due 1 / count
    print(f"targets that count: {counted}")
    print(f"mean of means: the gradient is off by {wrong_percent:.0f} %")
    print(f"  (a token of part 2 weighs {second_share:.1f} times what it should)")
    print(f"sum of sums over the total count: off by {right_error:.1e}")

    assert np.allclose(whole.sum(axis=1), 0.0, atol=1e-12)  # softmax minus one-hot adds to 0
    assert counted == [12, 2] and abs(second_share - 14 / (2 * 2)) < 1e-12
    assert wrong_error > 0.2 and right_error < 1e-14
