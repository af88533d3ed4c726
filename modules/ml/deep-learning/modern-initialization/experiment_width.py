"""The best rate of Adam falls as the network gets wider; in muP it stays where it is.

Claim (Yang et al. 2021, Figure 1): in the standard parametrization (SP) the best learning
rate moves with the width, in muP it is stable. Here: 64 - n - n - 10, ReLU, no biases,
scikit-learn's digits, Adam, linear decay of the rate to 0 (chosen after a pilot).
Fixed beforehand, for the training loss, mean of the seeds: reproduced if from the narrowest
to the widest network SP's best rate falls by at least two factors of 2 and muP's moves by
at most one; partly if muP's moves less. The best rate is the lowest point of a parabola
through the grid's lowest point and its neighbors: on the grid alone the verdict is noise.
The seeds of one rate train side by side: weights are (S, D, n), (S, n, n), (S, n, 10).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

WIDTHS, EXPONENTS, SEEDS, STEPS, BATCH = (32, 64, 128, 256), range(-8, -2), 5, 40, 64
FIRST_SEED = 100  # the pilots used others; a seed draws the weights and the batches


def init(width: int, r: float) -> list[torch.Tensor]:
    """Return He weights (output: 1 / n), the output's variance divided by r."""
    networks = []
    for seed in range(SEEDS):
        g = torch.Generator().manual_seed(FIRST_SEED + seed)
        shapes, gains = ((64, width), (width, width), (width, 10)), (2.0, 2.0, 1.0 / r)
        networks.append(
            [
                torch.randn(shape, generator=g) * (gain / shape[0]) ** 0.5
                for shape, gain in zip(shapes, gains, strict=True)
            ]
        )
    return [torch.stack(w).requires_grad_() for w in zip(*networks, strict=True)]


def losses(params: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each network, (S,), for images x ([S,] N, 64)."""
    h = torch.relu(x @ params[0])  # ([S,] N, 64) @ (S, 64, n) -> (S, N, n)
    logits = torch.relu(h @ params[1]) @ params[2]
    targets = y.expand(len(logits), -1)
    return F.cross_entropy(logits.mT, targets, reduction="none").mean(dim=1)


def train(width: int, r: float, rate: float, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return the final training losses, (S,); r = 1 is SP, r = width / base is muP."""
    params = init(width, r)
    rates = [rate, rate / r, rate / r]  # input, hidden, output: Adam in muP
    m, v = ([torch.zeros_like(p) for p in params] for _ in range(2))
    generators = [torch.Generator().manual_seed(FIRST_SEED + SEEDS + s) for s in range(SEEDS)]
    for t in range(1, STEPS + 1):
        batch = torch.stack([torch.randint(len(x), (BATCH,), generator=g) for g in generators])
        grads = torch.autograd.grad(losses(params, x[batch], y[batch]).sum(), params)
        decay = 1 - (t - 1) / STEPS
        with torch.no_grad():
            for p, g, m_p, v_p, lr in zip(params, grads, m, v, rates, strict=True):
                m_p.lerp_(g, 0.1)
                v_p.mul_(0.999).addcmul_(g, g, value=0.001)
                root = (v_p / (1 - 0.999**t)).sqrt_().add_(1e-8)
                p.addcdiv_(m_p, root, value=-lr * decay / (1 - 0.9**t))
    with torch.no_grad():
        return losses(params, x, y).nan_to_num(nan=torch.inf).numpy()


def lowest(loss: np.ndarray) -> float:
    """Return the exponent of the best rate, for losses (rates,); NaN at the grid's edge."""
    i = int(loss.argmin())
    if not 0 < i < len(loss) - 1 or not np.isfinite(loss[i - 1 : i + 2]).all():
        return float("nan")
    left, middle, right = np.log(loss[i - 1 : i + 2])
    return EXPONENTS[i] + 0.5 * float((left - right) / (left - 2 * middle + right))


def best_exponents(loss: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the exponent of the best rate, by the mean and by seed, for (rates, S)."""
    return lowest(loss.mean(axis=1)), np.array([lowest(curve) for curve in loss.T])


def judge(drift_sp: float, drift_mup: float) -> str:
    """Return the verdict by the criterion in the docstring."""
    if drift_sp <= -2 and abs(drift_mup) <= 1:
        return "reproduced"
    return "partly" if abs(drift_mup) < abs(drift_sp) else "not at this size"


def _draw_losses(ax: plt.Axes, curves: dict[int, np.ndarray], title: str) -> None:
    styles = zip(curves.items(), ("o-", "s--", "^-.", "D:"), strict=True)
    for i, ((width, loss), style) in enumerate(styles):
        mean, best = loss.mean(axis=1), int(loss.mean(axis=1).argmin())
        ax.plot(EXPONENTS, mean, style, color=f"C{i}", markersize=4, label=f"n = {width}")
        ax.plot(EXPONENTS[best], mean[best], "*", color=f"C{i}", markersize=14)
    ax.set(xlabel="log2 of the learning rate", title=title, yscale="log")


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 8 - 1).float(), torch.tensor(labels)
    x = x / x.std()
    base, widest = WIDTHS[0], WIDTHS[-1]
    curves: dict[str, dict[int, np.ndarray]] = {"SP": {}, "muP": {}}
    for name, results in curves.items():
        for n in WIDTHS:
            if name == "muP" and n == base:
                results[n] = curves["SP"][n]  # the same network and the same rates
                continue
            r = n / base if name == "muP" else 1.0
            results[n] = np.array([train(n, r, 2.0**k, x, y) for k in EXPONENTS])
    best = {name: {n: best_exponents(c) for n, c in curves[name].items()} for name in curves}
    for name, results in best.items():
        texts = ", ".join(f"{n}: {mean:.1f}" for n, (mean, _) in results.items())
        print(f"{name:4s} log2 of the best rate: {texts}")

    drift = {name: best[name][widest][0] - best[name][base][0] for name in best}
    by_seed = {name: best[name][widest][1] - best[name][base][1] for name in best}
    drift_sp, drift_mup = drift["SP"], drift["muP"]
    low_sp, high_sp = float(by_seed["SP"].min()), float(by_seed["SP"].max())
    low_mup, high_mup = float(by_seed["muP"].min()), float(by_seed["muP"].max())
    exponents_sp = ", ".join(f"{best['SP'][n][0]:.1f}" for n in WIDTHS)
    exponents_mup = ", ".join(f"{best['muP'][n][0]:.1f}" for n in WIDTHS)
    at = int(curves["SP"][base].mean(axis=1).argmin())  # tuned at the base width, then transferred
    transferred = {name: curves[name][widest].mean(axis=1)[at] for name in curves}
    tuned = {name: curves[name][widest].mean(axis=1).min() for name in curves}
    loss_base = float(curves["SP"][base].mean(axis=1)[at])
    transferred_sp, transferred_mup = float(transferred["SP"]), float(transferred["muP"])
    tuned_sp, tuned_mup = float(tuned["SP"]), float(tuned["muP"])
    saved = 1 - transferred_mup / transferred_sp
    verdict = judge(drift_sp, drift_mup)
    print(f"drift of log2 from n = {base} to {widest}: SP {drift_sp:.2f}, muP {drift_mup:.2f}")
    print(f"n = {widest}, rate tuned at {base}: SP {transferred_sp:.3f}, muP {transferred_mup:.3f}")
    print(
        f"n = {widest}, rate tuned at {widest}: SP {tuned_sp:.3f}, muP {tuned_mup:.3f}; {verdict}"
    )

    fig, axes = plt.subplots(
        1, 2, num="transfer", figsize=(6.4, 3.6), sharey=True, layout="constrained"
    )
    _draw_losses(axes[0], curves["SP"], "one rate for all")
    _draw_losses(axes[1], curves["muP"], "muP")
    axes[0].set(ylabel="training loss after 40 steps")
    axes[1].legend()
    plt.show()

    assert all(np.isfinite(mean) for results in best.values() for mean, _ in results.values())
    assert -2 < drift_sp < -0.8 and 0 < drift_mup < 1 and verdict == "partly"
    assert tuned_sp < 1.05 * tuned_mup
    assert transferred_sp > 1.2 * tuned_sp and transferred_mup < 1.25 * tuned_mup
