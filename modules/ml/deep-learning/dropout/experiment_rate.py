"""The best dropout rate depends on how much there is to overfit: small rates do on clean labels.

Claim: at a fixed width the test error is flat for retention between 0.4 and 0.8, so for drop rates
between 0.2 and 0.6, and rises on both sides (Srivastava et al. 2014, Section 7.3, Figure 9a).
Here: scikit-learn digits, 1000 training images with right labels, or with 40% wrong ones, and 797
test images. All networks train side by side: x is (B, N, 64), with a slice of weights for each.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

NOISES, DROP_RATES, SEEDS = (0.0, 0.4), (0.0, 0.2, 0.4, 0.5, 0.6, 0.8), range(4)
LEARNING_RATE, EPOCHS, BATCH, WIDTH = 2e-3, 40, 100, 100


def noisy_digits(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled images (1797, 64) in [0, 1] and labels, with noise in the first 1000."""
    images, true = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(true))
    wrong = (rng.random(len(true)) < noise) & (np.arange(len(true)) < 1000)
    labels = np.where(wrong, (true[order] + rng.integers(1, 10, len(true))) % 10, true[order])
    return (images[order] / 16).astype(np.float32), labels


def forward(
    x: torch.Tensor, params: list[torch.Tensor], p: torch.Tensor, generator: torch.Generator | None
) -> torch.Tensor:
    """Return logits (B, N, 10); dropout follows each hidden ReLU if there is a generator."""
    for i in (0, 2):
        x = torch.relu(torch.baddbmm(params[i + 1], x, params[i]))  # (B, N, D) @ (B, D, K)
        if generator is not None:
            x = x * ((torch.rand(x.shape, generator=generator) >= p) / (1 - p))
    return torch.baddbmm(params[5], x, params[4])


def train(x: torch.Tensor, labels: torch.Tensor, p: torch.Tensor) -> list[torch.Tensor]:
    """Train on the first 1000 rows with Adam and return the weights."""
    generator = torch.Generator().manual_seed(0)
    params: list[torch.Tensor] = []
    for d, k in ((64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10)):
        init = torch.randn(len(SEEDS), d, k, generator=generator) * (2 / d) ** 0.5
        params.append(init.repeat(len(x) // len(SEEDS), 1, 1))  # a seed's networks start equal
        params.append(torch.zeros(len(x), 1, k))
    optimizer = torch.optim.Adam([w.requires_grad_() for w in params], lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(1000, generator=generator).split(BATCH):
            logits = forward(x[:, rows], params, p, generator)
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), labels[:, rows].flatten(), reduction="sum"
            )
            optimizer.zero_grad()
            (loss / BATCH).backward()  # the networks share no weight: each gets its mean loss
            optimizer.step()
    return params


if __name__ == "__main__":
    cells = [(noise, p, seed) for noise in NOISES for p in DROP_RATES for seed in SEEDS]
    data = [noisy_digits(seed, noise) for noise, _, seed in cells]
    x, labels = (torch.tensor(np.stack(part)) for part in zip(*data, strict=True))
    p = torch.tensor([cell[1] for cell in cells]).view(-1, 1, 1)
    params = train(x, labels, p)
    with torch.no_grad():
        wrong = forward(x[:, 1000:], params, p, None).argmax(-1) != labels[:, 1000:]
    error = 100 * wrong.float().mean(-1).view(len(NOISES), len(DROP_RATES), len(SEEDS)).numpy()
    mean, std = error.mean(-1), error.std(-1, ddof=1)
    print("drop rate          ", "".join(f"{rate:7}" for rate in DROP_RATES))
    print("right labels,  mean", "".join(f"{value:7.1f}" for value in mean[0]))
    print("                std", "".join(f"{value:7.1f}" for value in std[0]))
    print("40% wrong,     mean", "".join(f"{value:7.1f}" for value in mean[1]))
    print("                std", "".join(f"{value:7.1f}" for value in std[1]))

    best_clean, best_noisy = (DROP_RATES[i] for i in mean.argmin(-1))
    middle = mean[:, 1:5]  # drop rates 0.2 to 0.6
    spread_clean, spread_noisy = (float(v) for v in np.ptp(middle, axis=-1))
    # The claim is about right labels, row 0: flat in the middle, and worse on both sides.
    flat, rises = spread_clean < 1.0, bool(min(mean[0, 0], mean[0, -1]) > middle[0].max())
    verdict = "reproduced" if flat and rises else "partly" if flat or rises else "not at this size"
    print(f"best rate: {best_clean} with right labels, {best_noisy} with 40% wrong ones;", verdict)

    fig, ax = plt.subplots(num="rate", layout="constrained", figsize=(6.4, 3.6))
    for row, marker, name in ((1, "s--", "40% wrong labels"), (0, "o-", "right labels")):
        ax.errorbar(DROP_RATES, mean[row], std[row], fmt=marker, capsize=3, label=name)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("drop rate p")
    ax.set_ylabel("test error (%)")
    ax.legend(frameon=False)
    plt.show()

    assert mean[1, 0] > mean[1, 3] + 5 and mean[1, -1] > mean[1, 3] + 1  # U shape with noise
    assert abs(mean[0, 0] - mean[0, 1]) < 1.5 and mean[0, -1] > mean[0, 0] + 1
