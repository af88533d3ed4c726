"""The 2014 form and the inverted form of dropout train alike if weights and learning rate scale.

One linear output z = h_dropped @ w, squared loss, plain gradient descent, the same 0/1 masks.
Shapes: h is (N, D), y is (N,), w is (D,). p is the probability of dropping.
The 2014 form multiplies by 0 or 1 in training and by 1 - p in evaluation; the inverted form
multiplies by 0 or 1 / (1 - p) in training and by 1 in evaluation.
"""

import numpy as np


def descent_step(
    w: np.ndarray, h: np.ndarray, y: np.ndarray, scaled_mask: np.ndarray, learning_rate: float
) -> np.ndarray:
    """Return w (D,) after one step on the mean of (z - y)^2 / 2 over the N examples."""
    dropped = h * scaled_mask
    residual = dropped @ w - y  # (N, D) @ (D,) -> (N,)
    return w - learning_rate * dropped.T @ residual / len(y)  # (D, N) @ (N,) -> (D,)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n, d, p, learning_rate = 40, 10, 0.3, 0.05
    h, y = rng.normal(size=(n, d)), rng.normal(size=n)

    original = rng.normal(size=d)
    inverted = (1 - p) * original  # equal functions: h @ inverted = (1 - p) * (h @ original)
    wrong_rate = inverted.copy()
    for _ in range(500):
        keep = (rng.random((n, d)) >= p).astype(float)
        original = descent_step(original, h, y, keep, learning_rate)
        inverted = descent_step(inverted, h, y, keep / (1 - p), learning_rate * (1 - p) ** 2)
        wrong_rate = descent_step(wrong_rate, h, y, keep / (1 - p), learning_rate)

    evaluation_2014 = (1 - p) * (h @ original)
    largest_difference = float(np.abs(evaluation_2014 - h @ inverted).max())
    same_rate_difference = float(np.abs(evaluation_2014 - h @ wrong_rate).max())
    print(f"outputs in evaluation after 500 steps differ by {largest_difference:.1e}")
    print(f"with the learning rate left as it was, by       {same_rate_difference:.2f}")

    assert largest_difference < 1e-12
    assert same_rate_difference > 1e-3
