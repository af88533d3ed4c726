"""The straight-through gradient of one random unit has a bias in closed form.

Unit: h is 1 with probability p = sigmoid(a), else 0. Loss: l(h) = (h - y)^2 / 2 with a
target y between 0 and 1. All expectations are exact sums over h = 0 and h = 1.
Shapes: every argument is a number or an array of one common shape.
Source of the estimator: Bengio, Leonard and Courville (2013), abstract.
"""

import matplotlib.pyplot as plt
import numpy as np


def probability(a: np.ndarray) -> np.ndarray:
    """Return p = sigmoid(a) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * a))


def expected_loss(a: np.ndarray, y: float) -> np.ndarray:
    """Return E[l(h)], what training should make small."""
    p = probability(a)
    return p * (1 - y) ** 2 / 2 + (1 - p) * y**2 / 2


def true_gradient(a: np.ndarray, y: float) -> np.ndarray:
    """Return d E[l(h)] / da = p (1 - p) (l(1) - l(0))."""
    p = probability(a)
    return p * (1 - p) * ((1 - y) ** 2 - y**2) / 2


def straight_through(a: np.ndarray, y: float) -> np.ndarray:
    """Return E[l'(h)]: the gradient for h is copied to a."""
    p = probability(a)
    return p * (1 - y) + (1 - p) * (0 - y)


def straight_through_slope(a: np.ndarray, y: float) -> np.ndarray:
    """Return the variant that multiplies by the slope of the sigmoid."""
    p = probability(a)
    return p * (1 - p) * straight_through(a, y)


def score_function(a: np.ndarray, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of l(h) (h - p), which is unbiased."""
    p = probability(a)
    on, off = (1 - y) ** 2 / 2 * (1 - p), y**2 / 2 * (0 - p)
    mean = p * on + (1 - p) * off
    return mean, np.sqrt(p * (on - mean) ** 2 + (1 - p) * (off - mean) ** 2)


def _draw(a: np.ndarray, y: float, wrong: np.ndarray) -> None:
    """Draw the three gradients and shade where the signs differ."""
    fig, ax = plt.subplots(num="bias", figsize=(5.4, 3.4), layout="constrained")
    ax.axhline(0.0, color="0.5", lw=0.8)
    ax.fill_between(a, -0.13, 0.13, where=wrong, color="0.5", alpha=0.2, lw=0)
    ax.plot(a, true_gradient(a, y), color="C0")
    ax.plot(a, straight_through(a, y) / 4, "-.", color="C1")
    ax.plot(a, straight_through_slope(a, y), "--", color="C2")
    ax.text(1.6, -0.006, "true gradient", color="C0", va="top")
    ax.text(0.15, 0.108, "straight-through, divided by 4", color="C1", ha="right")
    ax.text(2.1, 0.062, "with slope", color="C2")
    ax.text(-2.6, -0.118, "wrong sign", ha="center")
    ax.set(xlabel="a", ylabel="gradient for a", xlim=(a[0], a[-1]), ylim=(-0.13, 0.13))
    plt.show()


if __name__ == "__main__":
    a, y = np.linspace(-5.0, 5.0, 1001), 0.4
    p, h = probability(a), 1e-5
    truth, copied = true_gradient(a, y), straight_through(a, y)
    sloped = straight_through_slope(a, y)
    numeric = (expected_loss(a + h, y) - expected_loss(a - h, y)) / (2 * h)
    numeric_error = float(np.max(np.abs(numeric - truth)))
    print(f"true gradient against central differences: {numeric_error:.1e}")
    formula_error = float(np.max(np.abs(sloped - truth - p * (1 - p) * (p - 0.5))))
    largest_bias = float(np.max(np.abs(sloped - truth)))
    largest_truth = float(np.max(np.abs(truth)))
    print(f"with slope: bias up to {largest_bias:.3f}, gradient up to {largest_truth:.3f}")
    wrong = truth * copied < 0
    wrong_below = float(p[wrong].max())
    print(f"y = {y}: the sign is wrong for p below {wrong_below:.2f}")
    rest = np.array(np.log(y / (1 - y)))  # where straight-through comes to rest: p = y
    loss_rest, loss_best = float(expected_loss(rest, y)), float(expected_loss(np.array(-50.0), y))
    print(f"expected loss at p = y: {loss_rest:.3f}; at p = 0: {loss_best:.3f}")
    mean, deviation = score_function(a, y)
    center = len(a) // 2
    noise = float(deviation[center] / abs(mean[center]))
    print(f"score function: unbiased, deviation / mean at a = 0: {noise:.1f}")
    _draw(a, y, wrong)

    assert numeric_error < 1e-10 and formula_error < 1e-15
    assert abs(straight_through(rest, y)) < 1e-15 and abs(wrong_below - y) < 0.01
    assert np.allclose(mean, truth, atol=1e-15) and loss_rest > 1.4 * loss_best
    assert np.all(copied[p > 0.41] > 0) and np.all(copied[p < 0.39] < 0)
