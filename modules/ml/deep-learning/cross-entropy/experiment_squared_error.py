"""Cross-entropy beats squared error for 100 classes and SGD; for 10, or with Adam, they tie.

Claim: from random weights a network trained with squared error ends worse than with
cross-entropy (Golik et al., 2013, abstract; Glorot and Bengio, 2010, Section 4.1). Task:
read one scikit-learn digit (K = 10), or two side by side as a number (K = 100). Network:
one hidden tanh layer. All R (rate, seed) pairs train at once: images (R, N, D).
"""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

SEEDS, STEPS, BATCH, HIDDEN, EVERY, CHECKS = 5, 1500, 20, 32, 150, 1000
GRIDS = {  # learning rates: four for each loss, a factor of 2 apart, around its best
    "cross-entropy": [0.5, 1.0, 2.0, 4.0],
    "squared error": [1.0, 2.0, 4.0, 8.0],
    "double softmax": [1.0, 2.0, 4.0, 8.0],
    "Adam": [0.002, 0.004, 0.008, 0.016],  # for all three losses
}
Data = tuple[torch.Tensor, torch.Tensor]


def load() -> list[Data]:
    """Return 1000 training, 297 validation and 500 test digits, (n, 64) and (n,)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = torch.tensor(x[order] / 16).float(), torch.tensor(y[order])
    x -= x[:1000].mean(dim=0)
    return list(zip(x.split([1000, 297, 500]), y.split([1000, 297, 500]), strict=True))


def draw(data: Data, digits: int, count: int, generator: torch.Generator) -> Data:
    """Return count images of digits side by side, (count, 64 * digits), and their numbers."""
    choice = torch.randint(len(data[0]), (count, digits), generator=generator)
    powers = 10 ** torch.arange(digits)
    return data[0][choice].flatten(1), data[1][choice] @ powers


def mean_loss(name: str, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the batch's mean loss of each network, (R,), for logits z (R, N, K)."""
    p = torch.softmax(z, dim=-1)
    if name == "squared error":
        return (p - F.one_hot(y, z.shape[-1])).square().sum(dim=-1).mean(dim=1)
    z = p if name == "double softmax" else z
    return F.cross_entropy(z.mT, y, reduction="none").mean(dim=1)  # classes on axis 1


def logits(parameters: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return z = tanh(x W1 + b1) W2 + b2, (R, N, K)."""
    w1, b1, w2, b2 = parameters
    return torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, x, w1)), w2)


def train(name: str, optimizer: str, digits: int, rates: list[float]) -> Iterator[np.ndarray]:
    """Yield errors in percent on validation and test data, (2, rates, SEEDS), as it goes."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    parameters = []
    for fan_in, fan_out in ((64 * digits, HIDDEN), (HIDDEN, 10**digits)):
        uniform = [torch.rand(fan_in, fan_out, generator=g) for g in generators]
        w = (2 * torch.stack(uniform * len(rates)) - 1) / fan_in**0.5
        parameters += [w, torch.zeros(len(w), 1, fan_out)]
    lr = torch.tensor(rates).repeat_interleave(SEEDS)[:, None, None]
    m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for p in parameters:
        p.requires_grad_()
    checks = [draw(d, digits, CHECKS, torch.Generator().manual_seed(99)) for d in DATA[1:]]
    for step in range(1, STEPS + 1):
        batches = [draw(DATA[0], digits, BATCH, g) for g in generators]
        x = torch.stack([images for images, _ in batches] * len(rates))
        y = torch.stack([numbers for _, numbers in batches] * len(rates))
        total = mean_loss(name, logits(parameters, x), y).sum()  # no shared parameters
        grads = torch.autograd.grad(total, parameters)
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(parameters, grads, strict=True)):
                if optimizer == "Adam":  # Kingma and Ba (2015), Algorithm 1, its betas
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
    curves, errors, text, inside = {}, {}, {}, {}
    print(f"test error in %, {STEPS} steps: mean of {SEEDS} seeds (lowest to highest)")
    for digits, optimizer in settings:
        print(f"K = {10**digits}, {optimizer}:")
        for name in names:
            rates = GRIDS["Adam" if optimizer == "Adam" else name]
            history = np.stack([*train(name, optimizer, digits, rates)])  # (T, 2, rates, SEEDS)
            best = int(history[-1, 0].mean(axis=1).argmin())  # on validation data
            inside[name] = inside.get(name, True) and 0 < best < len(rates) - 1
            key = (name, digits, optimizer)
            curves[key], errors[key] = history[:, 0, best], history[-1, 1, best]
            e = errors[key]
            text[key] = f"{e.mean():.1f} ({e.min():.1f} to {e.max():.1f})"
            print(f"  {name:14s} {text[key]:20s} learning rate {rates[best]}")
    gaps = [errors[names[1], *s] - errors[names[0], *s] for s in settings]  # in points
    worse = [g.mean() > max(1.0, 2 * g.std(ddof=1) / SEEDS**0.5) for g in gaps]
    settings_worse = sum(worse)
    verdict = ["not reproduced", "partly reproduced", "reproduced"][any(worse) + all(worse)]
    print(f"squared error ends worse in {settings_worse} of 3 settings: {verdict}")
    ce_10, se_10, double_10 = (text[name, *settings[0]] for name in names)
    ce_100, se_100, double_100 = (text[name, *settings[1]] for name in names)
    ce_adam, se_adam, double_adam = (text[name, *settings[2]] for name in names)

    fig, axes = plt.subplots(
        2, 1, num="curves", figsize=(5.4, 5.4), sharex=True, layout="constrained"
    )
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    for axis, setting in zip(axes, settings[1:], strict=True):
        for name, style in zip(names, ("-", "--", "-."), strict=True):
            curve = curves[name, *setting]
            (line,) = axis.plot(steps, curve.mean(axis=1), linestyle=style, label=name)
            low, high = curve.min(axis=1), curve.max(axis=1)
            axis.fill_between(steps, low, high, alpha=0.2, color=line.get_color())
        axis.set_ylabel(f"validation error (%), {setting[1]}")
        axis.set_ylim(0, 100)
    axes[1].legend(frameon=False)
    axes[1].set_xlabel("training steps (K = 100)")
    plt.show()

    ce, se, double = ([errors[name, *s].mean() for s in settings] for name in names)
    assert inside["cross-entropy"] and inside["squared error"]
    assert se[1] - ce[1] > 4 and double[1] - ce[1] > 30 and double[2] - ce[2] > 4
    assert abs(se[0] - ce[0]) < 2 and abs(double[0] - ce[0]) < 2 and abs(se[2] - ce[2]) < 3
