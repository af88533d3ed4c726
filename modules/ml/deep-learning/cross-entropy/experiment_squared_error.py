"""Cross-entropy beats squared error with 100 classes and SGD; with 10 classes or Adam they tie.

Claim: a randomly initialized network trained with squared error ends worse than with cross-entropy
(Golik et al., 2013, abstract; Glorot and Bengio, 2010, Section 4.1). Task: read one scikit-learn
digit (K = 10), or two side by side as a number (K = 100). Network: one hidden tanh layer.
Shapes: all (rate, seed) pairs train at once; R networks, images (R, N, D), logits (R, N, K).
"""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

SEEDS, STEPS, BATCH, HIDDEN, EVERY = 5, 1500, 20, 32, 150
GRIDS = {  # learning rates: four for each loss, a factor of 2 apart, in the region of its best
    "cross-entropy": [0.5, 1.0, 2.0, 4.0],
    "squared error": [1.0, 2.0, 4.0, 8.0],
    "double softmax": [1.0, 2.0, 4.0, 8.0],
    "Adam": [0.002, 0.004, 0.008, 0.016],  # for all three losses
}
Data = tuple[torch.Tensor, torch.Tensor]


def load() -> list[Data]:
    """Return 1000 training, 297 validation and 500 test digits, centered, (n, 64) and (n,)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = torch.tensor(x[order] / 16).float(), torch.tensor(y[order])
    x -= x[:1000].mean(dim=0)
    return list(zip(x.split([1000, 297, 500]), y.split([1000, 297, 500]), strict=True))


def draw(data: Data, digits: int, count: int, generator: torch.Generator) -> Data:
    """Return count random groups of digits side by side, (count, 64 * digits), and their number."""
    choice = torch.randint(len(data[0]), (count, digits), generator=generator)
    powers = 10 ** torch.arange(digits)
    return data[0][choice].flatten(1), data[1][choice] @ powers


def mean_loss(name: str, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the batch's mean loss of each network, (R,), for logits z (R, N, K)."""
    p = torch.softmax(z, dim=-1)
    if name == "squared error":
        return (p - F.one_hot(y, z.shape[-1])).square().sum(dim=-1).mean(dim=1)
    z = p if name == "double softmax" else z
    return F.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="none").view_as(y).mean(dim=1)


def logits(parameters: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return z = tanh(x W1 + b1) W2 + b2, (R, N, K)."""
    w1, b1, w2, b2 = parameters
    return torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, x, w1)), w2)


def train(name: str, optimizer: str, digits: int, rates: list[float]) -> Iterator[np.ndarray]:
    """Yield errors in percent on validation and test data, (2, rates, SEEDS), as it goes."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    parameters = []
    for fan_in, fan_out in ((64 * digits, HIDDEN), (HIDDEN, 10**digits)):
        w = [(2 * torch.rand(fan_in, fan_out, generator=g) - 1) / fan_in**0.5 for g in generators]
        parameters += [torch.stack(w * len(rates)), torch.zeros(len(w) * len(rates), 1, fan_out)]
    lr = torch.tensor(rates).repeat_interleave(SEEDS)[:, None, None]
    m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for p in parameters:
        p.requires_grad_()
    checks = [draw(d, digits, 1000, torch.Generator().manual_seed(99)) for d in DATA[1:]]
    for step in range(1, STEPS + 1):
        batches = [draw(DATA[0], digits, BATCH, g) for g in generators]
        x, y = (torch.stack(part * len(rates)) for part in map(list, zip(*batches, strict=True)))
        total = mean_loss(name, logits(parameters, x), y).sum()  # networks share no parameter
        grads = torch.autograd.grad(total, parameters)
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(parameters, grads, strict=True)):
                if optimizer == "Adam":  # Algorithm 1 of Kingma and Ba (2015), default betas
                    m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
                    root = (v[i] / (1 - 0.999**step)).sqrt()
                    g = m[i] / (1 - 0.9**step) / (root + 1e-8)
                p -= lr * g
            if step % EVERY == 0:
                wrong = [
                    (logits(parameters, x.expand(len(lr), -1, -1)).argmax(2) != y)
                    for x, y in checks
                ]
                errors = torch.stack([100 * w.float().mean(dim=1) for w in wrong])
                yield errors.view(2, len(rates), SEEDS).numpy()


DATA = load()

if __name__ == "__main__":
    settings, names = [(1, "SGD"), (2, "SGD"), (2, "Adam")], [*GRIDS][:3]
    curves, errors, text = {}, {}, {}
    print(f"test error in percent after {STEPS} steps: mean of {SEEDS} seeds (lowest to highest)")
    for digits, optimizer in settings:
        print(f"K = {10**digits}, {optimizer}:")
        for name in names:
            rates = GRIDS["Adam" if optimizer == "Adam" else name]
            history = np.stack(list(train(name, optimizer, digits, rates)))  # (T, 2, rates, SEEDS)
            best = int(history[-1, 0].mean(axis=1).argmin())  # chosen on validation data
            key = (name, digits, optimizer)
            curves[key], errors[key] = history[:, 0, best], history[-1, 1, best]
            e = errors[key]
            text[key] = f"{e.mean():.1f} ({e.min():.1f} to {e.max():.1f})"
            print(f"  {name:14s} {text[key]:20s} learning rate {rates[best]}")
    gaps = [errors[names[1], *setting] - errors[names[0], *setting] for setting in settings]
    worse = [g.mean() > max(1.0, 2 * g.std(ddof=1) / SEEDS**0.5) for g in gaps]  # in points
    verdict = ["not reproduced", "partly reproduced", "reproduced"][any(worse) + all(worse)]
    settings_worse = sum(worse)
    print(f"squared error ends worse in {settings_worse} of {len(worse)} settings: {verdict}")
    (ce_10, se_10, double_10), (ce_100, se_100, double_100), (ce_adam, se_adam, double_adam) = (
        [text[name, *setting] for name in names] for setting in settings
    )

    fig, axes = plt.subplots(
        2, 1, num="curves", figsize=(5.4, 5.4), sharex=True, layout="constrained"
    )
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    for axis, setting in zip(axes, settings[1:], strict=True):
        for name, style in zip(names, ("-", "--", "-."), strict=True):
            curve = curves[name, *setting]
            (line,) = axis.plot(steps, curve.mean(axis=1), linestyle=style, label=name)
            axis.fill_between(
                steps, curve.min(axis=1), curve.max(axis=1), alpha=0.2, color=line.get_color()
            )
        axis.set_ylabel(f"validation error (%), {setting[1]}")
        axis.set_ylim(0, 100)
    axes[1].legend(frameon=False)
    axes[1].set_xlabel("training steps (K = 100)")
    plt.show()

    ce, se, double = ([errors[name, *setting].mean() for setting in settings] for name in names)
    assert se[1] - ce[1] > 4 and double[1] - ce[1] > 30 and double[2] - ce[2] > 4
    assert abs(se[0] - ce[0]) < 2 and abs(double[0] - ce[0]) < 2 and abs(se[2] - ce[2]) < 3
