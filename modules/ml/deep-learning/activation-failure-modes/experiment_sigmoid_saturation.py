"""In a deep sigmoid network the top hidden layer saturates at 0 first; most come back, slowly.

Claim (Glorot and Bengio 2010, Section 3.1 and Figure 2): with four hidden sigmoid layers, weights
uniform in +-1/sqrt(n) and zero biases, the top hidden layer quickly saturates at 0, which slows
down all learning, and later desaturates by itself. Symmetric tanh units do not do this.
Setup: 1000 digits (N, 64), 4 hidden layers of 32 units, SGD on batches of 10, 10 networks side by
side, each with its own weights (S, D, K) and batches. Flat: slope at most 10 % of its maximum.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

SEEDS, STEPS, EVERY, BATCH, TRAIN, RATE = 10, 1200, 40, 10, 1000, 3.0
SIZES = (64, 32, 32, 32, 32, 10)


def activate(z: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the activation and its slope relative to the largest slope."""
    if name == "sigmoid":
        a = torch.sigmoid(z)
        return a, 4 * a * (1 - a)
    a = torch.tanh(z)
    return a, 1 - a**2


def forward(
    params: list[torch.Tensor], x: torch.Tensor, name: str
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Return the logits (S, N, 10), the activations and the relative slopes of 4 layers."""
    h, activations, slopes = x.expand(SEEDS, -1, -1), [], []
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        h, slope = activate(torch.baddbmm(b, h, w), name)  # (S, N, D) @ (S, D, K)
        activations.append(h)
        slopes.append(slope)
    return torch.baddbmm(params[-1], h, params[-2]), activations, slopes


def train(
    name: str, rate: float, steps: int, x: torch.Tensor, y: torch.Tensor
) -> tuple[np.ndarray, ...]:
    """Return mean activation and flat share, (T, 4, SEEDS), and accuracy, (T, SEEDS)."""
    generator, params = torch.Generator().manual_seed(2), []
    for d, k in pairwise(SIZES):
        w = (2 * torch.rand(SEEDS, d, k, generator=generator) - 1) / d**0.5
        params += [w.requires_grad_(), torch.zeros(SEEDS, 1, k).requires_grad_()]
    means, shares, accuracies = [], [], []
    for step in range(steps + 1):
        if step % EVERY == 0:
            with torch.no_grad():
                logits, activations, slopes = forward(params, x, name)
            means.append([a.mean(dim=(1, 2)).tolist() for a in activations])
            shares.append([(s <= 0.1).float().mean(dim=(1, 2)).tolist() for s in slopes])
            accuracies.append((logits.argmax(2) == y).float().mean(dim=1).tolist())
        rows = torch.randint(TRAIN, (SEEDS, BATCH), generator=generator)  # each seed its own
        logits, _, _ = forward(params, x[rows], name)
        loss = F.cross_entropy(logits.flatten(0, 1), y[rows].flatten()) * SEEDS
        with torch.no_grad():
            for p, g in zip(params, torch.autograd.grad(loss, params), strict=True):
                p.sub_(rate * g)
    return np.array(means), np.array(shares), np.array(accuracies)


if __name__ == "__main__":
    torch.set_num_threads(1)
    data, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:TRAIN]
    x, y = torch.tensor(data[order], dtype=torch.float32), torch.tensor(labels[order])
    x = (x - x.mean()) / x.std()

    means, shares, accuracy = train("sigmoid", RATE, STEPS, x, y)
    # tanh: same steps between the hidden layers
    _, tanh_shares, tanh_accuracy = train("tanh", RATE / 16, STEPS // 4, x, y)
    top, below = shares[:, 3], shares[:, :3].max(axis=1)  # (T, SEEDS)
    peak = top.argmax(axis=0)  # first time at the maximum, per seed
    seeds = np.arange(SEEDS)
    saturates = (top[peak, seeds] > 0.9) & (below[peak, seeds] < 0.1)
    at_zero = means[peak, 3, seeds] < 0.05
    lowest = np.array([top[p:, s].min() for s, p in enumerate(peak)])  # after the peak
    returns = lowest < 0.6
    waits = accuracy[peak, seeds] < 0.25
    verdict = "reproduced" if (saturates & at_zero & returns & waits).all() else None
    verdict = verdict or ("partly" if (saturates & at_zero & waits).all() else "not at this size")
    highest, peak_step = float(top.max(axis=0).min()), int(EVERY * np.median(peak))
    mean_at_peak = float(means[peak, 3, seeds].mean())
    returned, low_share = int(returns.sum()), float(lowest[returns].max(initial=0.0))
    tanh_highest = float(tanh_shares[:, 3].max())
    accuracy_at_peak, accuracy_end = (
        float(np.median(a)) for a in (accuracy[peak, seeds], accuracy[-1])
    )
    tanh_accuracy_end = float(np.median(tanh_accuracy[-1]))
    print(f"top layer: at least {highest:.0%} flat in each, first at step {peak_step}", end="")
    print(f", mean activation {mean_at_peak:.3f}, accuracy {accuracy_at_peak:.0%}")
    print(f"{returned} of {SEEDS} fall to {low_share:.0%} or less", end="")
    print(f", median accuracy {accuracy_end:.0%} after {STEPS} steps")
    print(f"tanh: at most {tanh_highest:.0%} flat, accuracy {tanh_accuracy_end:.0%}")
    print("verdict:", verdict)

    fig, ax = plt.subplots(num="layers", figsize=(6.4, 3.8))
    steps = EVERY * np.arange(len(shares))
    for layer, marker in enumerate("osv^"):
        share = 100 * shares[:, layer]
        ax.plot(steps, np.median(share, axis=1), marker + "-", ms=4, color=f"C{layer}")
        at, high = (70, 93) if layer == 3 else (STEPS + 25, np.median(share[-1]))
        ax.text(at, high, f"layer {layer + 1}", color=f"C{layer}", va="center")
        ax.fill_between(steps, share.min(axis=1), share.max(axis=1), color=f"C{layer}", alpha=0.15)
    ax.plot(steps, 100 * np.median(accuracy, axis=1), "--", color="0.5")
    ax.text(70, 14, "accuracy")
    ax.set(xlabel="step", ylabel="flat entries, accuracy (%)", ylim=(-3, 103), xlim=(-40, 1440))
    plt.show()

    assert (saturates & at_zero & waits).all() and returned > SEEDS / 2
    assert low_share > 0.05  # measured after the peak: before it nothing is flat
    assert tanh_highest < 0.5 and tanh_accuracy_end > accuracy_end
