"""Dropout hinders the fit to wrong labels; tuned on such labels, a plain network comes close.

Claim: well tuned, dropout hinders the fit to noise "without compromising generalization on real
data" (Arpit et al. 2017, abstract). Data: scikit-learn digits, 1000 training, 300 validation and
497 test images. In training and validation a share of the labels is replaced by a random other
class; test labels are right. All networks train side by side: x is (B, N, 64), weights (B, D, K).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

NOISES, DROP_RATES, SEEDS = (0.0, 0.4), (0.0, 0.5), 6
LEARNING_RATES, EPOCHS, BATCH, WIDTH = (2e-4, 6e-4, 2e-3, 6e-3), 40, 100, 100


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
        init = torch.randn(SEEDS, d, k, generator=generator) * (2 / d) ** 0.5
        params.append(init.repeat(len(x) // SEEDS, 1, 1))  # a seed's networks start equal
        params.append(torch.zeros(len(x), 1, k))
    optimizer = torch.optim.Adam([w.requires_grad_() for w in params], lr=learning_rate)
    held_out = []
    for epoch in range(EPOCHS):
        for rows in torch.randperm(1000, generator=generator).split(BATCH):
            logits = forward(x[:, rows], params, p, generator)
            targets = labels[:, rows].flatten()
            loss = F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum")
            optimizer.zero_grad()
            (loss / BATCH).backward()  # the networks share no weight: each gets its mean loss
            optimizer.step()
        if epoch % 2:
            with torch.no_grad():
                held_out.append(forward(x[:, 1000:], params, p, None).argmax(-1))
    with torch.no_grad():
        return forward(x[:, :1000], params, p, None).argmax(-1), torch.stack(held_out)


def at_best_rate(values: np.ndarray, val_error: np.ndarray) -> np.ndarray:
    """Return values (rates, 2, seeds) at each arm's rate of smallest mean val_error: (2, seeds)."""
    return values[val_error.mean(-1).argmin(0), [0, 1]]


def report(name: str, errors: np.ndarray) -> list[str]:
    """Print mean ± standard deviation over seeds of both arms (2, seeds) and of the gain."""
    rows = (*errors, errors[0] - errors[1])
    cells = [f"{row.mean():z.1f} ± {row.std(ddof=1):.1f}" for row in rows]
    print(f"{name:38}", " ".join(f"{cell:>12}" for cell in cells))
    return cells


def in_standard_errors(errors: np.ndarray) -> float:
    """Return the mean gain of the second arm (2, seeds), divided by its standard error."""
    gain = errors[0] - errors[1]
    return float(gain.mean() / (gain.std(ddof=1) / len(gain) ** 0.5))


if __name__ == "__main__":
    cells = [(noise, p, seed) for noise in NOISES for p in DROP_RATES for seed in range(SEEDS)]
    data = [noisy_digits(seed, noise) for noise, _, seed in cells]
    x, labels, true = (torch.tensor(np.stack(part)) for part in zip(*data, strict=True))
    p = torch.tensor([cell[1] for cell in cells]).view(-1, 1, 1)
    runs = [train(x, labels, p, learning_rate) for learning_rate in LEARNING_RATES]
    fitted = torch.stack([run[0] == labels[:, :1000] for run in runs])  # (rates, B, 1000)
    held_out = torch.stack([run[1] for run in runs])  # (rates, EPOCHS / 2, B, 797)
    wrong = (labels != true)[:, :1000]
    learned = 100 * (fitted & wrong).sum(-1) / wrong.sum(-1).clamp(1)
    val = 100 * (held_out[..., :300] != labels[:, 1000:1300]).float().mean(-1)
    test = 100 * (held_out[..., 300:] != true[:, 1300:]).float().mean(-1)
    learned, val, test = (v.unflatten(-1, (2, 2, SEEDS)).numpy() for v in (learned, val, test))

    # Equal tuning: an arm's mean validation error chooses its rate, with right labels (index 0) or
    # with wrong ones (1), after all epochs or, to stop early, after each network's best epoch.
    best = val.argmin(1, keepdims=True)
    best_val, best_test = (np.take_along_axis(error, best, 1)[:, 0] for error in (val, test))
    clean = at_best_rate(test[:, -1, 0], val[:, -1, 0])
    fit = at_best_rate(learned[:, 1], val[:, -1, 0])
    noisy = at_best_rate(test[:, -1, 1], val[:, -1, 0])
    tuned = at_best_rate(test[:, -1, 1], val[:, -1, 1])
    stopped = at_best_rate(best_test[:, 1], best_val[:, 1])

    print(f"in %, mean ± std over {SEEDS} seeds", 11 * " ", "no dropout  dropout 0.5         gain")
    clean_plain, clean_dropout, clean_gain = report("right labels, test error", clean)
    fit_plain, fit_dropout, fit_gain = report("40% wrong, rate kept, wrong learned", fit)
    noisy_plain, noisy_dropout, noisy_gain = report("40% wrong, rate kept, test error", noisy)
    tuned_plain, tuned_dropout, tuned_gain = report("40% wrong, rate tuned, test error", tuned)
    stopped_plain, stopped_dropout, stopped_gain = report("40% wrong, early stopping", stopped)
    tuned_in_errors, stopped_in_errors = in_standard_errors(tuned), in_standard_errors(stopped)
    hinders, harmless = in_standard_errors(fit) > 2, bool(np.ptp(clean.mean(-1)) < 1.0)
    verdict = "reproduced" if hinders and harmless else "partly" if hinders else "not at this size"
    print("verdict:", verdict)

    epochs, shown_rate = np.arange(2, EPOCHS + 1, 2), LEARNING_RATES[2]
    fig, axes = plt.subplots(2, num="curves", layout="constrained", figsize=(6.4, 5.2), sharex=True)
    for i, (ax, name) in enumerate(zip(axes, ("labels right", "40% wrong"), strict=True)):
        for j, (style, label) in enumerate((("-", "no dropout"), ("--", "dropout 0.5"))):
            mean, std = test[2, :, i, j].mean(-1), test[2, :, i, j].std(-1, ddof=1)
            ax.plot(epochs, mean, style, label=label)
            ax.fill_between(epochs, mean - std, mean + std, alpha=0.2, lw=0)
        ax.set_ylim(0, (12, 32)[i])
        ax.set_ylabel(f"test error (%)\n{name}")
    axes[0].legend(frameon=False)
    axes[1].set_xlabel("epoch")
    plt.show()

    assert hinders and fit[0].mean() > 3 * fit[1].mean() and np.ptp(clean.mean(-1)) < 1.5
    assert noisy[0].mean() > noisy[1].mean() + 5
    for errors in (tuned, stopped):  # tuned on wrong labels, the plain network comes close
        assert -2 < np.mean(errors[0] - errors[1]) < 0.5 * np.mean(noisy[0] - noisy[1])
