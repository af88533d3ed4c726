"""The perceptron stops at the first separating line; hinge and logistic loss go on pushing.

A loss of the product t = y (x w): perceptron max(0, -t), hinge max(0, 1 - t), logistic
log(1 + exp(-t)). Its slope for t times y x is the gradient for w.
Shapes: x (N, D), y (N,) is +1 or -1, w (D,), t (N,).
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np


def perceptron_loss(t: np.ndarray) -> np.ndarray:
    """Return max(0, -t)."""
    return np.maximum(0.0, -t)


def perceptron_slope(t: np.ndarray) -> np.ndarray:
    """Return -1 where t <= 0, else 0; at the kink, the subgradient of the learning rule."""
    return -(t <= 0).astype(float)


def hinge_loss(t: np.ndarray) -> np.ndarray:
    """Return max(0, 1 - t)."""
    return np.maximum(0.0, 1.0 - t)


def hinge_slope(t: np.ndarray) -> np.ndarray:
    """Return -1 where t < 1, else 0."""
    return -(t < 1).astype(float)


def logistic_loss(t: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(-t)) without overflow."""
    return np.logaddexp(0.0, -t)


def logistic_slope(t: np.ndarray) -> np.ndarray:
    """Return -sigmoid(-t) without overflow."""
    return -0.5 * (1.0 - np.tanh(0.5 * t))


def sgd(
    x: np.ndarray, y: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], epochs: int
) -> np.ndarray:
    """Return w after gradient steps on one example at a time, learning rate 1, from zero."""
    w = np.zeros(x.shape[1])
    for _ in range(epochs):
        for x_n, y_n in zip(x, y, strict=True):
            w -= slope(y_n * (x_n @ w)) * y_n * x_n
    return w


def _draw(t: np.ndarray) -> None:
    """Draw the losses, and below them the strength of the push."""
    fig, axes = plt.subplots(
        2, 1, num="losses", figsize=(5.4, 5.2), layout="constrained", sharex=True
    )
    curves = (
        ("perceptron", perceptron_loss, perceptron_slope, "C0-"),
        ("hinge", hinge_loss, hinge_slope, "C1--"),
        ("logistic", logistic_loss, logistic_slope, "C2-."),
    )
    for _, loss, slope, style in curves:
        axes[0].plot(t, loss(t), style)
        axes[1].plot(t, -slope(t), style)
    for ax in axes:
        ax.axvline(0, color="0.5", lw=0.8)
    for name, x, y, color in (
        ("perceptron", -2.7, 1.0, "C0"),
        ("hinge", -1.5, 2.9, "C1"),
        ("logistic", 1.3, 0.45, "C2"),
    ):
        axes[0].text(x, y, name, color=color)
    for name, x, y, color in (
        ("perceptron", -1.6, 0.45, "C0"),
        ("hinge", 1.1, 0.75, "C1"),
        ("logistic", 1.3, 0.27, "C2"),
    ):
        axes[1].text(x, y, name, color=color)
    axes[0].set_ylabel("loss")
    axes[1].set(ylabel="push on w", xlabel="t = y z  (left: wrong, right: right)")
    plt.show()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    best, n, d, epochs = 0.1, 40, 3, 500
    v = rng.normal(size=(n // 2, d - 1))
    v *= np.sqrt(1 - best**2) / np.linalg.norm(v, axis=1, keepdims=True)
    a = np.insert(np.concatenate([v, -v]), 0, best, axis=1)  # largest margin: exactly best
    y = rng.choice([-1.0, 1.0], size=n)
    order = rng.permutation(n)
    x, y = (y[:, None] * a)[order], y[order]  # y x = a

    shares, norms = {}, {}
    slopes = (perceptron_slope, hinge_slope, logistic_slope)
    for name, slope in zip(("perceptron", "hinge", "logistic"), slopes, strict=True):
        w = sgd(x, y, slope, epochs)
        norms[name] = float(np.linalg.norm(w))
        shares[name] = float(np.min(y * (x @ w)) / norms[name] / best)
        print(f"{name:<10} margin {shares[name]:5.1%} of the best, |w| = {norms[name]:.2f}")
    share_perceptron, share_hinge, share_logistic = shares.values()
    twice = sgd(x, y, perceptron_slope, 2 * epochs)
    moved = float(np.linalg.norm(twice - sgd(x, y, perceptron_slope, epochs)))
    moved_logistic = float(
        np.linalg.norm(sgd(x, y, logistic_slope, 2 * epochs)) - norms["logistic"]
    )
    print(f"twice the epochs: perceptron moves {moved:g}, logistic grows {moved_logistic:.2f}")
    _draw(np.linspace(-3, 3, 601))

    h, t = 1e-6, rng.normal(size=50) * 3
    for loss, slope in (
        (perceptron_loss, perceptron_slope),
        (hinge_loss, hinge_slope),
        (logistic_loss, logistic_slope),
    ):
        assert np.allclose((loss(t + h) - loss(t - h)) / (2 * h), slope(t), atol=1e-8)
    assert moved == 0.0 and moved_logistic > 0.1
    assert 0 < share_perceptron < share_hinge and share_perceptron < share_logistic < 1
