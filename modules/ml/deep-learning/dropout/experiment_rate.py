"""With the learning rate tuned for each drop rate, moderate rates are about equal; large ones fail.

Claim: at a fixed width the test error is flat for retention between 0.4 and 0.8, so for drop rates
between 0.2 and 0.6, and rises on both sides (Srivastava et al. 2014, Section 7.3, Figure 9a).
Here: scikit-learn digits, 1000 training and 300 validation images with right labels, or with 40%
wrong ones, and 497 test images with right labels. All networks train side by side: x is (B, N, 64),
with a slice of weights for each.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

NOISES, DROP_RATES, SEEDS = (0.0, 0.4), (0.0, 0.2, 0.4, 0.6, 0.8), 4
LEARNING_RATES, EPOCHS, BATCH, WIDTH = (6e-4, 2.5e-3, 1e-2), 40, 100, 100


def noisy_digits(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shuffled images (1797, 64) in [0, 1], labels with noise before row 1300, and true."""
    images, true = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(true))
    images, true = (images[order] / 16).astype(np.float32), true[order]
    wrong = (rng.random(len(true)) < noise) & (np.arange(len(true)) < 1300)
    labels = np.where(wrong, (true + rng.integers(1, 10, len(true))) % 10, true)
    return images, labels, true


def forward(
    x: torch.Tensor, params: list[torch.Tensor], p: torch.Tensor, generator: torch.Generator | None
) -> torch.Tensor:
    """Return logits (B, N, 10); dropout follows each hidden ReLU if there is a generator."""
    for i in (0, 2):
        x = torch.relu(torch.baddbmm(params[i + 1], x, params[i]))  # (B, N, D) @ (B, D, K)
        if generator is not None:
            x = x * ((torch.rand(x.shape, generator=generator) >= p) / (1 - p))
    return torch.baddbmm(params[5], x, params[4])


def train(
    x: torch.Tensor, labels: torch.Tensor, p: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Train on rows 0 to 999 with Adam and return the predictions for the other rows (B, 797)."""
    generator = torch.Generator().manual_seed(0)
    params: list[torch.Tensor] = []
    for d, k in ((64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10)):
        init = torch.randn(SEEDS, d, k, generator=generator) * (2 / d) ** 0.5
        params.append(init.repeat(len(x) // SEEDS, 1, 1))  # a seed's networks start equal
        params.append(torch.zeros(len(x), 1, k))
    optimizer = torch.optim.Adam([w.requires_grad_() for w in params], lr=learning_rate)
    for _ in range(EPOCHS):
        for rows in torch.randperm(1000, generator=generator).split(BATCH):
            logits = forward(x[:, rows], params, p, generator)
            targets = labels[:, rows].flatten()
            loss = F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum")
            optimizer.zero_grad()
            (loss / BATCH).backward()  # the networks share no weight: each gets its mean loss
            optimizer.step()
    with torch.no_grad():
        return forward(x[:, 1000:], params, p, None).argmax(-1)


if __name__ == "__main__":
    cells = [(noise, p, seed) for noise in NOISES for p in DROP_RATES for seed in range(SEEDS)]
    data = [noisy_digits(seed, noise) for noise, _, seed in cells]
    x, labels, true = (torch.tensor(np.stack(part)) for part in zip(*data, strict=True))
    p = torch.tensor([cell[1] for cell in cells]).view(-1, 1, 1)
    held_out = torch.stack([train(x, labels, p, rate) for rate in LEARNING_RATES])
    axes = (len(LEARNING_RATES), len(NOISES), len(DROP_RATES), SEEDS)
    val = 100 * (held_out[..., :300] != labels[:, 1000:1300]).float().mean(-1).view(axes).numpy()
    test = 100 * (held_out[..., 300:] != true[:, 1300:]).float().mean(-1).view(axes).numpy()

    # Each drop rate has the learning rate of its smallest mean validation error.
    choice = val.mean(-1).argmin(0)[None, :, :, None]
    tuned = np.take_along_axis(test, choice, 0)[0]  # (noises, drop rates, seeds)
    mean, std = tuned.mean(-1), tuned.std(-1, ddof=1)
    fixed_rate, fixed = LEARNING_RATES[1], test[1, 1].mean(-1)  # one learning rate, wrong labels
    print("drop rate                  ", "".join(f"{rate:7}" for rate in DROP_RATES))
    for name, row in (
        ("right labels,        mean", mean[0]),
        ("                      std", std[0]),
        ("40% wrong,           mean", mean[1]),
        ("                      std", std[1]),
        ("one learning rate,   mean", fixed),
    ):
        print(f"{name:27}", "".join(f"{value:7.1f}" for value in row))

    middle = mean[:, 1:4]  # drop rates 0.2 to 0.6
    spread_clean, spread_noisy = (float(v) for v in np.ptp(middle, axis=-1))
    # The claim is about right labels, row 0, and has three parts.
    worse_at_0, worse_at_08 = (bool(mean[0, i] > middle[0].max()) for i in (0, -1))
    parts = (spread_clean < 1.0, worse_at_0, worse_at_08)
    verdict = "reproduced" if all(parts) else "partly" if any(parts) else "not at this size"
    print(f"spread from 0.2 to 0.6: {spread_clean:.1f} and {spread_noisy:.1f} points;", verdict)

    fig, ax = plt.subplots(num="rate", layout="constrained", figsize=(6.4, 3.6))
    for row, marker, name in ((1, "s--", "40% wrong labels"), (0, "o-", "right labels")):
        ax.errorbar(DROP_RATES, mean[row], std[row], fmt=marker, capsize=3, label=name)
    ax.plot(DROP_RATES, fixed, "^:", color="0.5", label="40% wrong, not tuned")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("drop rate p")
    ax.set_ylabel("test error (%)")
    ax.legend(frameon=False)
    plt.show()

    assert np.all(mean[:, -1] > mean[:, 2] + 3)  # the largest rate fails in both cases
    assert fixed[0] > mean[1, 0] + 5  # without dropout, the learning rate has to be smaller
    assert abs(mean[1, 0] - middle[1].mean()) < 4 and abs(mean[0, 0] - mean[0, 1]) < 1.5
