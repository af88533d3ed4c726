"""F.cross_entropy takes logits and equals the NumPy formula in value and gradient.

Shapes: logits (N, K), targets (N,) int64. Dense prediction: logits (N, K, L), targets
(N, L), for PyTorch keeps the classes on axis 1.
Source: documentation of torch.nn.CrossEntropyLoss.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def value_and_grad(
    loss: nn.Module, logits: np.ndarray, targets: torch.Tensor
) -> tuple[float, np.ndarray]:
    """Return the loss and its gradient for the logits, by autograd."""
    z = torch.tensor(logits, requires_grad=True)
    value = loss(z, targets)
    value.backward()
    return value.item(), z.grad.numpy()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    logits, weight = 3.0 * rng.normal(size=(8, 5)), rng.uniform(0.5, 2.0, size=5)
    targets = torch.tensor([0, 4, -100, 1, 1, 2, -100, 3])
    criterion = nn.CrossEntropyLoss(torch.tensor(weight), label_smoothing=0.1)
    value, grad = value_and_grad(criterion, logits, targets)

    kept = targets.numpy() != -100
    z, y = logits[kept], targets.numpy()[kept]
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))  # small: no shift needed
    a = weight * (0.9 * np.eye(5)[y] + 0.1 / 5)  # (N, K)
    expected = -(a * log_p).sum() / weight[y].sum()
    expected_grad = np.zeros_like(logits)
    expected_grad[kept] = a.sum(axis=1, keepdims=True) * np.exp(log_p) - a
    expected_grad /= weight[y].sum()
    grad_difference = np.abs(grad - expected_grad).max()
    largest_difference = float(max(abs(value - expected), grad_difference))
    print(f"weights, ignored, smoothing: differs from NumPy by {largest_difference:.1e}")

    indices, weights = torch.tensor(y), torch.tensor(weight)
    one_hot = F.one_hot(indices, 5).double()  # the same targets, given as probabilities
    by_index = F.cross_entropy(torch.tensor(z), indices, weights).item()
    by_probability = F.cross_entropy(torch.tensor(z), one_hot, weights).item()
    ratio = by_probability / by_index
    print(f"weighted mean: {by_index:.4f} by index, {by_probability:.4f} by one-hot")

    dense = torch.tensor(logits).T[None]  # (1, K, L), with targets (1, L)
    dense_loss = F.cross_entropy(dense, targets[None]).item()
    flat_loss = F.cross_entropy(torch.tensor(logits), targets).item()

    pair = torch.tensor(rng.normal(size=64))
    labels = torch.tensor(rng.integers(0, 2, size=64)).double()
    pos_weight = torch.tensor(3.0, dtype=torch.float64)
    weighted = nn.BCEWithLogitsLoss(pos_weight=pos_weight)(pair, labels).item()
    t, s = pair.numpy(), labels.numpy()
    by_hand = 3 * s * np.logaddexp(0, -t) + (1 - s) * np.logaddexp(0, t)
    binary_difference = float(abs(weighted - by_hand.mean()))
    print(f"binary, pos_weight: differs from NumPy by {binary_difference:.1e}")

    nothing = torch.full((8,), -100)
    mean_of_nothing, grad = value_and_grad(nn.CrossEntropyLoss(), logits, nothing)
    largest_grad_of_nothing = float(np.abs(grad).max())
    print(f"all ignored: loss {mean_of_nothing}, gradient {largest_grad_of_nothing}")

    assert largest_difference < 1e-14 and binary_difference < 1e-14
    assert abs(ratio - weight[y].sum() / len(y)) < 1e-12  # one-hot rows: divided by N
    assert abs(dense_loss - flat_loss) < 1e-14
    assert np.isnan(mean_of_nothing) and largest_grad_of_nothing == 0.0
