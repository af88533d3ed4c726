"""Averaging or voting over all weights beats the last weights of a perceptron on digits.

Claim (Freund and Schapire 1999): predict with a vote of all weight vectors, each counted
by the number of examples that it survived, or with their average, instead of with the last.
Setting: scikit-learn's digits, one perceptron per digit, linear, fixed random order of the
training examples; with the given labels, and with 20 % of the training labels replaced.
There is nothing to tune: from zero weights the learning rate has no effect.
Criterion: better in a setting means that average and vote both have a smaller test error than
the last weights, by more than two standard errors over the seeds, at every checkpoint.
Shapes: x (N, D), y (N, 10) of +1 and -1, w (D, 10).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

SEEDS, TRAIN = 8, 1200
CHECKPOINTS = (0.1, 0.3, 1.0, 3.0, 10.0)  # epochs
SETTINGS = {"clean": 0.0, "noisy": 0.2}


def train(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, steps: list[int]
) -> list[dict[str, np.ndarray]]:
    """Return the scores (N_test, K) of the last, the averaged and the voted weights at steps."""
    w = np.zeros((x.shape[1], y.shape[1]))
    total = np.zeros_like(w)  # of w after each step
    votes = np.zeros((len(x_test), y.shape[1]))
    since, signs = np.zeros(y.shape[1]), np.zeros_like(votes)
    found = []
    for step in range(1, max(steps) + 1):
        n = (step - 1) % len(x)
        wrong = np.flatnonzero(y[n] * (x[n] @ w) <= 0)  # (D,) @ (D, K) -> (K,)
        if len(wrong):
            votes[:, wrong] += (step - 1 - since[wrong]) * signs[:, wrong]
            since[wrong] = step - 1
            w[:, wrong] += np.outer(x[n], y[n, wrong])
            signs[:, wrong] = np.sign(x_test @ w[:, wrong])
        total += w
        if step in steps:
            voted = votes + (step - since) * signs
            found.append({"last": x_test @ w, "average": x_test @ total, "vote": voted})
    return found


def split(seed: int, noise: float) -> tuple[np.ndarray, ...]:
    """Return x, y of +1 and -1, x_test and labels of the test set; noise hits y only."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    x = np.column_stack([np.ones(len(order)), digits.data / 16])[order]
    labels = digits.target[order]
    given = labels[:TRAIN].copy()
    hit = rng.random(TRAIN) < noise
    given[hit] = (given[hit] + rng.integers(1, 10, size=hit.sum())) % 10
    return x[:TRAIN], 2.0 * np.eye(10)[given] - 1, x[TRAIN:], labels[TRAIN:]


def percent(values: np.ndarray) -> str:
    """Return mean and range as text."""
    return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"


def _draw(errors: dict[str, dict[str, np.ndarray]]) -> None:
    """Draw the test errors over the epochs for both settings."""
    fig, axes = plt.subplots(
        2, 1, num="averaging", figsize=(5.6, 5.8), layout="constrained", sharex=True
    )
    styles = {"last": "C1s--", "average": "C0o-", "vote": "C2^:"}
    for ax, (setting, kinds) in zip(axes, errors.items(), strict=True):
        for kind, values in kinds.items():
            ax.semilogx(CHECKPOINTS, values.mean(0), styles[kind], label=kind)
            ax.fill_between(
                CHECKPOINTS, values.min(0), values.max(0), color=styles[kind][:2], alpha=0.15
            )
        ax.set_ylabel(f"test error in %, {setting}")
        ax.set_ylim(0, None)
    axes[0].legend(frameon=False)
    axes[1].set(xlabel="epochs", xticks=CHECKPOINTS, xticklabels=map("{:g}".format, CHECKPOINTS))
    axes[1].minorticks_off()
    plt.show()


if __name__ == "__main__":
    steps = [round(epochs * TRAIN) for epochs in CHECKPOINTS]
    errors: dict[str, dict[str, np.ndarray]] = {}
    for setting, noise in SETTINGS.items():
        errors[setting] = {
            kind: np.zeros((SEEDS, len(steps))) for kind in ("last", "average", "vote")
        }
        for seed in range(SEEDS):
            x, y, x_test, labels = split(seed, noise)
            for i, scores in enumerate(train(x, y, x_test, steps)):
                for kind, score in scores.items():
                    wrong = score.argmax(axis=1) != labels
                    errors[setting][kind][seed, i] = 100 * wrong.mean()

    better = {}
    for setting, kinds in errors.items():
        gaps = kinds["last"] - np.array([kinds["average"], kinds["vote"]])  # (2, SEEDS, 5)
        standard_errors = gaps.std(axis=1, ddof=1) / np.sqrt(SEEDS)
        better[setting] = bool((gaps.mean(axis=1) > 2 * standard_errors).all())
        for kind, values in kinds.items():
            print(f"{setting}, {kind:<8}", *(f"{v:5.1f}" for v in values.mean(axis=0)), "%")
        for kind, gap, error in zip(
            ("average", "vote"), gaps.mean(1), standard_errors, strict=True
        ):
            print(f"  last minus {kind}: {gap.round(1)}, s.e. {error.round(2)}")
    count = sum(better.values())
    verdict = ("not at this size", "partly", "reproduced")[count]
    print(f"both are better at every checkpoint in {count} of 2 settings: {verdict}")
    clean, noisy = ({k: [percent(c) for c in v.T] for k, v in e.items()} for e in errors.values())
    clean_last_one, clean_last_end = clean["last"][2], clean["last"][4]
    clean_avg_one, clean_avg_end = clean["average"][2], clean["average"][4]
    clean_vote_one, clean_vote_end = clean["vote"][2], clean["vote"][4]
    noisy_last_one, noisy_last_end = noisy["last"][2], noisy["last"][4]
    noisy_avg_one, noisy_avg_end = noisy["average"][2], noisy["average"][4]
    noisy_vote_one, noisy_vote_end = noisy["vote"][2], noisy["vote"][4]
    _draw(errors)

    cells = [clean_last_one, clean_last_end, noisy_last_one, noisy_last_end]
    cells += [clean_avg_one, clean_avg_end, noisy_avg_one, noisy_avg_end]
    cells += [clean_vote_one, clean_vote_end, noisy_vote_one, noisy_vote_end]
    last, average, vote = np.array([float(c.split()[0]) for c in cells]).reshape(3, 4)
    assert verdict == "reproduced" and (average < last).all() and (vote < last).all()
    assert np.all(np.isfinite([v for e in errors.values() for v in e.values()]))
    assert errors["noisy"]["last"][:, -1].mean() > errors["noisy"]["average"][:, -1].mean() + 3
    assert errors["clean"]["last"][:, 2].mean() > errors["clean"]["average"][:, 2].mean()
