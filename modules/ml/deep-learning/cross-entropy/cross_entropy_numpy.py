"""Cross-entropy is finite at logits of 10,000; its gradient is softmax minus target.

Shapes: logits (N, K), targets (N,) of class indices, weight (K,), of the logits' dtype.
Convention: that of torch.nn.functional.cross_entropy. With reduction="mean" the sum of
the losses is divided by the sum of the weights of the targets that count. Unit: nats.
Sources: Bridle (1990) for this loss on a softmax; Szegedy et al. (2016), Section 7, for
smoothing.
"""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis, shaped like logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)  # <= 0: exp cannot overflow
    total = np.exp(shifted).sum(axis=-1, keepdims=True)  # >= 1: its log is finite
    return shifted - np.log(total)


def _check(
    logits: np.ndarray, targets: np.ndarray, weight: np.ndarray | None, ignore_index: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.floating]:
    """Return which targets count (N,), a class for all (N,), weights (K,), their total."""
    counts = targets != ignore_index
    index = np.where(counts, targets, 0)
    k = logits.shape[1]
    if np.any((index < 0) | (index >= k)):  # NumPy would take -1 as the last class
        raise IndexError(f"a target is neither a class 0..{k - 1} nor {ignore_index}")
    w = np.ones(k, logits.dtype) if weight is None else weight
    return counts, index, w, np.sum(w[index], where=counts)


def cross_entropy(
    logits: np.ndarray,
    targets: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> np.ndarray | np.floating:
    """Return the loss: a number for "mean" and "sum", shape (N,) for "none".

    The mean is nan when no target counts. A target that is no class raises IndexError.
    """
    counts, index, w, total = _check(logits, targets, weight, ignore_index)
    log_p = log_softmax(logits)  # (N, K)
    losses = -w[index] * log_p[np.arange(len(index)), index]  # (N,)
    if label_smoothing > 0.0:
        smooth = -log_p @ w / len(w)  # (N, K) @ (K,) -> (N,)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * smooth
    losses = np.where(counts, losses, 0.0)
    if reduction == "none":
        return losses
    with np.errstate(invalid="ignore"):  # 0 / 0 = nan if nothing counts, as in PyTorch
        return losses.sum() if reduction == "sum" else losses.sum() / total


def cross_entropy_grad(
    logits: np.ndarray,
    targets: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> np.ndarray:
    """Return d loss / d logits, (N, K); for "none", row n is the gradient of loss n."""
    counts, index, w, total = _check(logits, targets, weight, ignore_index)
    q = np.full_like(logits, label_smoothing / len(w))
    q[np.arange(len(index)), index] += 1.0 - label_smoothing
    a = w * q  # (N, K): the loss of row n is -sum_k a[n, k] log p[n, k]
    grad = a.sum(axis=1, keepdims=True) * np.exp(log_softmax(logits)) - a
    with np.errstate(divide="ignore", invalid="ignore"):
        grad = grad / total if reduction == "mean" else grad
    return np.where(counts[:, None], grad, 0.0)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(6, 4)), np.array([0, 3, -100, 1, 1, 2])
    weight, step = np.array([1.0, 4.0, 2.0, 0.5]), 1e-5
    gradient_error = 0.0
    for options in ({}, {"weight": weight}, {"weight": weight, "label_smoothing": 0.1}):
        for entry in np.ndindex(*logits.shape):
            shift = np.zeros_like(logits)
            shift[entry] = step
            up = cross_entropy(logits + shift, targets, **options)
            down = cross_entropy(logits - shift, targets, **options)
            grad = cross_entropy_grad(logits, targets, **options)[entry]
            error = float(abs((up - down) / (2 * step) - grad))
            gradient_error = max(gradient_error, error)
    print(f"gradient: largest error against central differences {gradient_error:.1e}")

    losses = cross_entropy(logits, targets, weight, reduction="none")
    mean = float(cross_entropy(logits, targets, weight))
    divided_by_n = float(losses.mean())
    print(f"weighted mean {mean:.4f}; the same sum divided by N: {divided_by_n:.4f}")
    first_loss_10 = float(-log_softmax(np.zeros(10))[0])
    first_loss_1000 = float(-log_softmax(np.zeros(1000))[0])
    print(f"equal logits: {first_loss_10:.3f} for K = 10, {first_loss_1000:.3f} for 1000")

    extreme = np.array([[1e4, -1e4, 0.0, 0.0]])
    extreme_loss = float(cross_entropy(extreme, np.array([1])))
    print(f"logits {extreme[0]}, class 1: loss {extreme_loss:.0f}", end=", gradient ")
    print(cross_entropy_grad(extreme, np.array([1]))[0])
    nothing = np.full(6, -100)
    mean_of_nothing = float(cross_entropy(logits, nothing))
    gradient_of_nothing = float(np.abs(cross_entropy_grad(logits, nothing)).max())
    print(f"all ignored: mean {mean_of_nothing}, gradient up to {gradient_of_nothing}")
    overflow_64 = float(np.log(np.finfo(np.float64).max))
    overflow_32 = float(np.log(np.finfo(np.float32).max))
    print(f"exp(z) overflows above {overflow_64:.1f}, in float32 above {overflow_32:.1f}")

    assert gradient_error < 1e-9
    assert abs(mean - losses.sum() / weight[[0, 3, 1, 1, 2]].sum()) < 1e-14
    assert abs(divided_by_n - losses.sum() / 6) < 1e-14 and mean != divided_by_n
    assert abs(first_loss_10 - np.log(10)) < 1e-14
    assert extreme_loss == 2e4
    assert np.isnan(mean_of_nothing) and gradient_of_nothing == 0.0
