"""A loss of (N, 1) predictions and (N,) targets teaches the mean of the targets.

The difference broadcasts to (N, N): every prediction is compared with every target. The
mean of the squares is mean((p - mean(y))^2) + var(y), so the best p is mean(y).
"""

import matplotlib.pyplot as plt
import torch


def fit(x: torch.Tensor, y: torch.Tensor, steps: int = 300) -> tuple[torch.Tensor, float]:
    """Return predictions (N, 1) and final loss of a line, by gradient descent."""
    w, b = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(steps):
        predictions = x @ w + b  # (N, 1) @ (1, 1) + (1,) -> (N, 1)
        loss = ((predictions - y) ** 2).mean()  # no warning, whatever the shape of y
        grad_w, grad_b = torch.autograd.grad(loss, [w, b])
        with torch.no_grad():
            w -= 0.1 * grad_w
            b -= 0.1 * grad_b
    return predictions.detach(), loss.item()


def explained(predictions: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of the targets' variance that is explained (R squared)."""
    rest = (predictions.flatten() - y.flatten()).square().mean()
    return float(1 - rest / y.var(correction=0))


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    n = 100
    x = 2 * torch.rand(n, 1, generator=generator) - 1
    y = (2 * x + 1 + 0.3 * torch.randn(n, 1, generator=generator)).flatten()  # (N,)

    shape_of_difference = tuple((x - y).shape)
    right, loss_right = fit(x, y[:, None])
    wrong, loss_wrong = fit(x, y)
    explained_right, explained_wrong = explained(right, y), explained(wrong, y)
    mean, variance = y.mean().item(), y.var(correction=0).item()
    print(f"(N, 1) minus (N,) has the shape {shape_of_difference}")
    print(f"targets (N, 1): loss {loss_right:.3f}, R squared {explained_right:.3f}")
    print(f"targets (N,):   loss {loss_wrong:.3f}, R squared {explained_wrong:.3f}")
    print(f"variance of the targets {variance:.3f}; predictions within", end=" ")
    off_mean = float((wrong - mean).abs().max())
    print(f"{off_mean:.1e} of their mean")

    fig, ax = plt.subplots(num="fits", figsize=(5.6, 3.6), layout="constrained")
    order = x.flatten().argsort()
    ax.plot(x[:, 0], y, ".", color="0.5")
    for predictions, line, label, at in (
        (right, "-", "targets (N, 1)", (0.2, 2.6)),
        (wrong, "--", "targets (N,)", (-0.95, 1.15)),
    ):
        (drawn,) = ax.plot(x[order, 0], predictions[order, 0], line, linewidth=2)
        ax.text(*at, label, color=drawn.get_color(), ha="left")
    ax.set(xlabel="input x", ylabel="target y, prediction")
    plt.show()

    small = torch.tensor([1.0, 2.0])
    variance_torch, variance_numpy = small.var().item(), small.numpy().var().item()
    labels, mask = torch.tensor([3, 1, 2]), torch.tensor([True, False, True])
    by_mask, by_number = str(labels[mask].tolist()), str(labels[mask.long()].tolist())
    print(f"variance of [1, 2]: torch {variance_torch}, NumPy {variance_numpy}")
    print(f"[3, 1, 2] at a mask: {by_mask}; at the mask as numbers: {by_number}")

    assert shape_of_difference == (n, n) and off_mean < 1e-3
    assert explained_right > 0.9 and abs(explained_wrong) < 1e-4
    assert abs(loss_wrong - variance) < 1e-4 and loss_right < 0.12
    assert by_mask == "[3, 2]" and by_number == "[1, 3, 1]"
