"""Dropout keeps a network from learning wrong labels, and changes little when all labels are right.

Claim: well tuned, dropout hinders the fit to noise "without compromising generalization on real
data" (Arpit et al. 2017, abstract). Data: scikit-learn digits, 1000 training, 300 validation and
497 test images. In training and validation a share of the labels is replaced by a random other
class; test labels are right. All networks train side by side: x is (B, N, 64), weights (B, D, K).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

NOISES, DROP_RATES, SEEDS = (0.0, 0.4), (0.0, 0.5), range(6)
LEARNING_RATES, EPOCHS, BATCH, WIDTH = (1e-3, 3e-3), 40, 100, 128


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
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train on rows 0 to 999 with Adam.

    Return the predictions for these rows at the end (B, 1000), and for the other rows after
    every second epoch (EPOCHS / 2, B, 797).
    """
    generator = torch.Generator().manual_seed(0)
    params: list[torch.Tensor] = []
    for d, k in ((64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10)):
        init = torch.randn(len(SEEDS), d, k, generator=generator) * (2 / d) ** 0.5
        params.append(init.repeat(len(x) // len(SEEDS), 1, 1))  # a seed's networks start equal
        params.append(torch.zeros(len(x), 1, k))
    optimizer = torch.optim.Adam([w.requires_grad_() for w in params], lr=learning_rate)
    held_out = []
    for epoch in range(EPOCHS):
        for rows in torch.randperm(1000, generator=generator).split(BATCH):
            logits = forward(x[:, rows], params, p, generator)
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), labels[:, rows].flatten(), reduction="sum"
            )
            optimizer.zero_grad()
            (loss / BATCH).backward()  # the networks share no weight: each gets its mean loss
            optimizer.step()
        if epoch % 2:
            with torch.no_grad():
                held_out.append(forward(x[:, 1000:], params, p, None).argmax(-1))
    with torch.no_grad():
        return forward(x[:, :1000], params, p, None).argmax(-1), torch.stack(held_out)


def summary(values: np.ndarray) -> str:
    """Return mean and standard deviation over seeds as text."""
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


if __name__ == "__main__":
    cells = [(noise, p, seed) for noise in NOISES for p in DROP_RATES for seed in SEEDS]
    data = [noisy_digits(seed, noise) for noise, _, seed in cells]
    x, labels, true = (torch.tensor(np.stack(part)) for part in zip(*data, strict=True))
    p = torch.tensor([cell[1] for cell in cells]).view(-1, 1, 1)
    runs = [train(x, labels, p, learning_rate) for learning_rate in LEARNING_RATES]
    held_out = torch.stack([held for _, held in runs])  # (rates, EPOCHS / 2, B, 797)
    val_error = 100 * (held_out[..., :300] != labels[:, 1000:1300]).float().mean(-1)
    test_error = 100 * (held_out[..., 300:] != true[:, 1300:]).float().mean(-1)

    # Equal tuning: each network's own noisy validation labels choose the learning rate,
    # either after all epochs ("last") or together with the epoch ("stopped").
    seeds = len(SEEDS)
    shape = (len(NOISES), len(DROP_RATES), seeds)
    last_choice, stopped_choice = val_error[:, -1].argmin(0), val_error.flatten(0, 1).argmin(0)
    nets = torch.arange(len(cells))
    last = test_error[:, -1][last_choice, nets].view(shape).numpy()
    stopped = test_error.flatten(0, 1)[stopped_choice, nets].view(shape).numpy()
    wrong = (labels != true)[:, :1000]
    learned = 100 * ((runs[-1][0] == labels[:, :1000]) & wrong).sum(-1) / wrong.sum(-1).clamp(1)
    learned = learned.view(shape).numpy()[1]  # at the larger learning rate, as in the figure

    clean_plain, clean_dropout = map(summary, last[0])
    noisy_plain, noisy_dropout = map(summary, last[1])
    stopped_plain, stopped_dropout = map(summary, stopped[1])
    learned_plain, learned_dropout = map(summary, learned)
    (clean, noisy), early = last[:, 0] - last[:, 1], stopped[1, 0] - stopped[1, 1]
    gain_clean, gain_noisy, gain_stopped = map(summary, (clean, noisy, early))
    helps = bool(noisy.mean() > 2 * noisy.std(ddof=1) / seeds**0.5)
    harmless = bool(abs(clean.mean()) < 1.0)
    verdict = "reproduced" if helps and harmless else "partly" if helps else "not at this size"
    print(f"in %, mean ± std over {seeds} seeds           no dropout    dropout 0.5   gain")
    for name, *row in (
        ("right labels, test error", clean_plain, clean_dropout, gain_clean),
        ("40% wrong, test error", noisy_plain, noisy_dropout, gain_noisy),
        ("40% wrong, test error, early stopped", stopped_plain, stopped_dropout, gain_stopped),
        ("40% wrong, wrong labels learned", learned_plain, learned_dropout),
    ):
        print(f"{name:38}", "  ".join(f"{cell:>12}" for cell in row))
    print("verdict:", verdict)

    epochs = np.arange(2, EPOCHS + 1, 2)
    curves = test_error[-1].view(len(epochs), *shape).numpy()  # larger learning rate
    fig, axes = plt.subplots(
        2, 1, num="curves", layout="constrained", figsize=(6.4, 5.2), sharex=True
    )
    for i, (ax, name) in enumerate(zip(axes, ("labels right", "40% wrong"), strict=True)):
        for j, (style, label) in enumerate((("-", "no dropout"), ("--", "dropout 0.5"))):
            mean, std = curves[:, i, j].mean(-1), curves[:, i, j].std(-1, ddof=1)
            ax.plot(epochs, mean, style, label=label)
            ax.fill_between(epochs, mean - std, mean + std, alpha=0.2, lw=0)
        ax.set_ylim(0, (12, 32)[i])
        ax.set_ylabel(f"test error (%)\n{name}")
    axes[0].legend(frameon=False)
    axes[1].set_xlabel("epoch")
    plt.show()

    assert noisy.mean() > 1.5 and learned[0].mean() > 3 * learned[1].mean()
    assert abs(clean.mean()) < 1.5 and early.mean() > -2.0
    assert stopped[1, 0].mean() < last[1, 0].mean()
