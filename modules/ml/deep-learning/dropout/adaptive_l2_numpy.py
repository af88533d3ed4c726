"""Averaged over masks, dropout on a linear model is least squares with an adaptive L2 penalty.

Shapes: x is (N, D), w is (D,), y is (N,). Losses are sums over examples, without a factor 1/2.
The expectation is exact: each example's 2^D masks are enumerated, so D must be small.
Sources: Srivastava et al. (2014), Section 9.1 (their p keeps); Wager, Wang and Liang (2013).
"""

from collections.abc import Callable
from itertools import product

import matplotlib.pyplot as plt
import numpy as np


def squared_losses(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (y - score)^2 for each example, elementwise."""
    return (y - scores) ** 2


def logistic_losses(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(score)) - y * score, for labels y in {0, 1}, elementwise."""
    return np.logaddexp(0.0, scores) - y * scores


def expected_loss(
    losses: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    p: float,
) -> float:
    """Return the loss summed over examples, averaged over all masks on x, for 0 <= p < 1."""
    keep = np.array(list(product([0.0, 1.0], repeat=w.size)))  # (2^D, D)
    chance = np.prod(np.where(keep == 1.0, 1.0 - p, p), axis=1)
    scores = (keep / (1.0 - p) * w) @ x.T  # (2^D, D) @ (D, N) -> (2^D, N)
    return float(chance @ losses(scores, y).sum(axis=1))


def linear_penalty(x: np.ndarray, w: np.ndarray, p: float) -> float:
    """Return p / (1 - p) * sum_j w_j^2 sum_i x_ij^2: exact for the squared loss."""
    return float(p / (1.0 - p) * np.sum(w**2 * np.sum(x**2, axis=0)))


def logistic_penalty(x: np.ndarray, w: np.ndarray, p: float) -> float:
    """Return p / (2 (1 - p)) * sum_j w_j^2 sum_i q_i (1 - q_i) x_ij^2: second order in w."""
    q = 0.5 * (1.0 + np.tanh(0.5 * (x @ w)))  # sigmoid without overflow, (N, D) @ (D,) -> (N,)
    return float(0.5 * p / (1.0 - p) * np.sum(w**2 * ((q * (1.0 - q)) @ x**2)))


def dropout_least_squares(x: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    """Return the w (D,) that minimizes the expected squared loss: ridge, a weight per feature."""
    gram = x.T @ x  # (D, N) @ (N, D) -> (D, D)
    return np.linalg.solve(gram + p / (1.0 - p) * np.diag(np.diag(gram)), x.T @ y)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n, d, p = 30, 8, 0.3
    x = rng.normal(size=(n, d)) * np.linspace(0.3, 2.0, d)  # features of different size
    w = rng.normal(size=d)
    y = x @ w + 0.5 * rng.normal(size=n)

    exact = expected_loss(squared_losses, x, y, w, p)
    closed = float(squared_losses(x @ w, y).sum()) + linear_penalty(x, w, p)
    relative_difference = abs(exact - closed) / closed
    mask = (rng.random((20_000, n, d)) >= p) / (1 - p)
    sampled_losses = squared_losses((mask * x) @ w, y).sum(axis=1)
    sampled = float(sampled_losses.mean())
    print(f"expected squared loss, {2**d} masks per example  {exact:.6f}")
    print(f"least squares + penalty                      {closed:.6f}")
    print(f"mean of 20000 random mask matrices           {sampled:.2f}")

    best = dropout_least_squares(x, y, p)
    nearby = [expected_loss(squared_losses, x, y, best + 1e-3 * e, p) for e in np.eye(d)]
    lowest = expected_loss(squared_losses, x, y, best, p)
    shrinkage = float(np.linalg.norm(best) / np.linalg.norm(dropout_least_squares(x, y, 0.0)))
    print(f"norm of the minimizer, relative to least squares: {shrinkage:.2f}")

    labels = (y > 0.0).astype(float)
    direction = w / np.linalg.norm(w)
    norms = np.linspace(0.02, 6.0, 30)
    true_penalty = np.array(
        [
            expected_loss(logistic_losses, x, labels, c * direction, p)
            - logistic_losses(x @ (c * direction), labels).sum()
            for c in norms
        ]
    )
    quadratic = np.array([logistic_penalty(x, c * direction, p) for c in norms])
    l2 = true_penalty[0] * (norms / norms[0]) ** 2  # agrees with dropout for small weights
    ratio_small, ratio_large = (float(quadratic[i] / true_penalty[i]) for i in (0, -1))
    largest_norm = float(norms[-1])
    print(f"logistic: second order / exact = {ratio_small:.4f} at norm {norms[0]}", end=", ")
    print(f"{ratio_large:.2f} at norm {largest_norm}")

    fig, ax = plt.subplots(num="penalty", layout="constrained", figsize=(6.4, 3.6))
    ax.plot(norms, true_penalty, label="logistic, exact")
    ax.plot(norms, quadratic, "--", label="logistic, second order")
    ax.plot(norms, l2, ":", color="0.5", label="plain L2")
    ax.set_ylim(0, 1.5 * true_penalty.max())
    ax.set_xlabel("norm of the weight vector")
    ax.set_ylabel("dropout penalty (nats)")
    ax.legend(frameon=False)
    plt.show()

    assert relative_difference < 1e-12
    assert abs(sampled - exact) < 5 * sampled_losses.std() / np.sqrt(sampled_losses.size)
    assert lowest < min(nearby) and shrinkage < 1.0
    assert abs(ratio_small - 1.0) < 0.01 and ratio_large < 0.5
    assert quadratic[-1] < true_penalty[-1] < l2[-1]
