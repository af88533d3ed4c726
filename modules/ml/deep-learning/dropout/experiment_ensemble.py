"""Evaluation mode predicts about as well as the average of many networks with random masks.

Claim: averaging k sampled networks becomes as good as weight scaling at about k = 50 and then stays
within one standard deviation of it (Srivastava et al. 2014, Section 7.5 and Figure 11, MNIST).
Here: scikit-learn digits, 1000 training and 797 test images, two hidden layers, dropout 0.5 after
each. In inverted dropout evaluation mode is what the paper calls weight scaling.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

SEEDS, EPOCHS, WIDTH, SAMPLES, REPEATS = range(5), 40, 128, 50, 6


def split_digits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (1797, 64) in [0, 1] and labels (1797,), shuffled by seed."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    return torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(labels[order])


def train(x: torch.Tensor, y: torch.Tensor, p: float) -> nn.Sequential:
    """Return a network with dropout, trained with Adam on x (N, 64) and y (N,)."""
    layers = []
    for d in (64, WIDTH):
        layers += [nn.Linear(d, WIDTH), nn.ReLU(), nn.Dropout(p)]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@torch.no_grad()
def sampled_probabilities(model: nn.Sequential, x: torch.Tensor, k: int) -> torch.Tensor:
    """Return the probabilities (k, N, 10) of k networks, each with its own masks."""
    model.train()  # masks on: this is Monte Carlo averaging, not training
    return torch.stack([model(x).softmax(-1) for _ in range(k)])


if __name__ == "__main__":
    scaled, averaged, distances, losses = [], [], [], []
    for seed in SEEDS:
        torch.manual_seed(seed)
        x, y = split_digits(seed)
        model = train(x[:1000], y[:1000], p=0.5)
        members = sampled_probabilities(model, x[1000:], REPEATS * SAMPLES)
        sums = members.view(REPEATS, SAMPLES, -1, 10).cumsum(1)  # argmax needs no division by k
        averaged.append((sums.argmax(-1) != y[1000:]).float().mean(-1))  # (REPEATS, SAMPLES)
        with torch.no_grad():
            train_mode_loss = nn.functional.cross_entropy(model(x[:1000]), y[:1000])
            model.eval()
            logits = model(x)
        scaled.append((logits[1000:].argmax(-1) != y[1000:]).float().mean())
        gap = logits[1000:].softmax(-1) - members.mean(0)
        distances.append(0.5 * gap.abs().sum(-1).mean())  # total variation
        parts = [
            nn.functional.cross_entropy(logits[s], y[s]) for s in (slice(1000), slice(1000, None))
        ]
        losses.append(torch.stack([train_mode_loss, *parts]))

    evaluation_error = 100 * torch.stack(scaled).mean().item()
    curve = 100 * torch.stack(averaged).mean(0).numpy()  # mean over seeds: (REPEATS, SAMPLES)
    mean, std = curve.mean(0), curve.std(0, ddof=1)
    error_one, error_ten, error_all = (float(mean[k - 1]) for k in (1, 10, SAMPLES))
    total_variation = torch.stack(distances).mean().item()
    train_mode_loss, eval_mode_loss, test_loss = torch.stack(losses).mean(0).tolist()
    within = abs(error_all - evaluation_error) < max(0.1, std[-1])
    verdict = "reproduced" if within and error_one > error_all else "not at this size"
    print(f"test error, mean of {len(SEEDS)} networks: evaluation mode {evaluation_error:.2f}%")
    print(f"mean of k sampled networks: k = 1 {error_one:.2f}%, k = 10 {error_ten:.2f}%", end=", ")
    print(f"k = {SAMPLES} {error_all:.2f} ± {std[-1]:.2f}%")
    print(f"total variation between the two predictions {total_variation:.3f}")
    print(f"training loss {train_mode_loss:.3f} with masks, {eval_mode_loss:.3f} without", end="; ")
    print(f"test loss {test_loss:.3f}")
    print("verdict:", verdict)

    fig, ax = plt.subplots(num="averaging", layout="constrained", figsize=(6.4, 3.6))
    counts = np.arange(1, SAMPLES + 1)
    ax.plot(counts, mean, label="mean of k sampled networks")
    ax.fill_between(counts, mean - std, mean + std, alpha=0.2, lw=0)
    ax.axhline(evaluation_error, ls="--", color="0.5", label="evaluation mode, one pass")
    ax.set_ylim(0, 1.1 * mean.max())
    ax.set_xlabel("k, number of sampled networks")
    ax.set_ylabel("test error (%)")
    ax.legend(frameon=False)
    plt.show()

    assert error_one > error_all + 0.5
    assert abs(error_all - evaluation_error) < 0.6
    assert train_mode_loss > eval_mode_loss
