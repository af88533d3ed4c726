"""One logit with a sigmoid has the loss of two logits [0, z] with a softmax.

Shapes: logits and targets are alike, any shape; targets in [0, 1]; pos_weight broadcasts.
Convention: that of torch.nn.functional.binary_cross_entropy_with_logits. Its mean divides
by the number of entries, whatever pos_weight is. Natural logarithm.
"""

import numpy as np


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x)), which is -log sigmoid(-x)."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))  # exp of a number <= 0


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def binary_cross_entropy_with_logits(
    logits: np.ndarray,
    targets: np.ndarray,
    pos_weight: np.ndarray | float | None = None,
    reduction: str = "mean",
) -> np.ndarray | np.floating:
    """Return the loss: a number for "mean" and "sum", shaped like logits for "none"."""
    pos_weight = 1.0 if pos_weight is None else pos_weight
    losses = pos_weight * targets * softplus(-logits)
    losses = losses + (1.0 - targets) * softplus(logits)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def binary_cross_entropy_with_logits_grad(
    logits: np.ndarray,
    targets: np.ndarray,
    pos_weight: np.ndarray | float | None = None,
    reduction: str = "mean",
) -> np.ndarray:
    """Return d loss / d logits, shaped like logits; for "none", of each loss for its logit."""
    pos_weight = 1.0 if pos_weight is None else pos_weight
    grad = (1.0 - targets) * sigmoid(logits) - pos_weight * targets * sigmoid(-logits)
    return grad / logits.size if reduction == "mean" else grad


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    z, y = 3.0 * rng.normal(size=200), rng.integers(0, 2, size=200)
    two_logits = np.stack([np.zeros_like(z), z], axis=1)  # (N, 2)
    total = np.exp(two_logits).sum(axis=1)  # (N,); these logits are small
    pair_losses = np.log(total) - two_logits[np.arange(200), y]
    losses = binary_cross_entropy_with_logits(z, y, reduction="none")
    pair_difference = float(np.max(np.abs(losses - pair_losses)))
    print(f"one logit against two, [0, z]: losses differ by {pair_difference:.1e}")

    step, gradient_error = 1e-5, 0.0
    soft = rng.uniform(size=200)  # targets between 0 and 1 are probabilities
    for targets, pos_weight in ((y, None), (y, 5.0), (soft, 5.0)):
        up, down = (
            binary_cross_entropy_with_logits(z + s, targets, pos_weight, "none")
            for s in (step, -step)
        )
        grad = binary_cross_entropy_with_logits_grad(z, targets, pos_weight, "none")
        error = np.max(np.abs((up - down) / (2 * step) - grad))
        gradient_error = max(gradient_error, float(error))
    print(f"gradient: largest error against central differences {gradient_error:.1e}")

    sure, y = np.array([-200.0, 1e4]), np.array([1.0, 0.0])  # sure, and wrong both times
    sure_losses = binary_cross_entropy_with_logits(sure, y, reduction="none")
    sure_gradients = binary_cross_entropy_with_logits_grad(sure, y, reduction="none")
    print(f"logits {sure}, targets {y}: losses {sure_losses}, gradients {sure_gradients}")

    assert pair_difference < 1e-12
    assert gradient_error < 1e-8
    assert np.array_equal(sure_losses, [200.0, 1e4])
    assert np.allclose(sure_gradients, [-1.0, 1.0], rtol=0, atol=1e-15)
