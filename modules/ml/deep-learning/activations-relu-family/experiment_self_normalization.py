"""Fifty SELU layers pull the variance to 1 from above and from below; other recipes lose it.

Claim (Klambauer et al. 2017, Theorem 1): with weights of variance 1 / n, mean and variance of SELU
activations converge towards (0, 1), and stay in the domain |mean| <= 0.1, 0.8 <= variance <= 1.5.
Setup: 256 standardized digits (N, 61), 50 dense layers of width 200, Gaussian weights of variance
gain / n, zero biases, no training. ReLU and ELU get the gain 1 / E[f(z)^2] that keeps their second
moment. Mean and variance of each unit are taken over the examples, as in the paper, and then
averaged over the units of a layer. Five seeds draw weights and examples.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805
DEPTH, WIDTH, EXAMPLES, SEEDS = 50, 200, 256, 5


def elu(z: np.ndarray) -> np.ndarray:
    """Return z where z > 0, else exp(z) - 1."""
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0.0)))


def selu(z: np.ndarray) -> np.ndarray:
    """Return SCALE * z where z > 0, else SCALE * ALPHA * (exp(z) - 1)."""
    return SCALE * np.where(z > 0, z, ALPHA * np.expm1(np.minimum(z, 0.0)))


def relu(z: np.ndarray) -> np.ndarray:
    """Return max(0, z)."""
    return np.maximum(z, 0.0)


def in_domain(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return which pairs lie in the theorem's domain |mean| <= 0.1, 0.8 <= variance <= 1.5."""
    return (abs(mean) <= 0.1) & (variance >= 0.8) & (variance <= 1.5)


def forward(
    activation: Callable[[np.ndarray], np.ndarray],
    gain: float,
    x: np.ndarray,
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (weights, activations) of every layer, of shapes (D, WIDTH) and (N, WIDTH)."""
    layers, h = [], x
    for _ in range(DEPTH):
        w = rng.normal(0.0, np.sqrt(gain / h.shape[1]), size=(h.shape[1], WIDTH))
        h = activation(h @ w)  # (N, D) @ (D, WIDTH) -> (N, WIDTH)
        layers.append((w, h))
    return layers


def selu_gradient_growth(
    layers: list[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> float:
    """Return the factor per layer by which a gradient's squared norm grows on its way back."""
    grad = rng.normal(size=layers[-1][1].shape)
    first_norm = np.sum(grad**2)
    for w, h in reversed(layers[1:]):  # selu'(z) follows from the output h = selu(z)
        grad = (grad * np.where(h > 0, SCALE, h + SCALE * ALPHA)) @ w.T
    return float((np.sum(grad**2) / first_norm) ** (1 / (DEPTH - 1)))


if __name__ == "__main__":
    digits = load_digits().data
    digits = digits[:, digits.std(axis=0) > 0]  # three pixels are empty in every image
    digits = (digits - digits.mean(axis=0)) / digits.std(axis=0)

    cases = {  # activation, gain, standard deviation of the inputs, line style
        "SELU 1/n, input variance 4": (selu, 1.0, 2.0, "C0-"),
        "SELU 1/n, input variance 1": (selu, 1.0, 1.0, ""),
        "SELU 1/n, input variance 1/4": (selu, 1.0, 0.5, "C0--"),
        "SELU 2/n": (selu, 2.0, 1.0, "C1-."),
        "SELU 0.5625/n": (selu, 0.75**2, 1.0, "C2:"),
        "ELU 1.55/n": (elu, 1.5505, 1.0, "C3--"),
        "ReLU 2/n": (relu, 2.0, 1.0, "C4-"),
    }
    fig, ax = plt.subplots(num="variance", figsize=(6.4, 4.2))
    final, second_moment, growth, premises, units_inside = {}, {}, [], [], []
    print(f"after {DEPTH} layers, mean of {SEEDS} seeds      mean  variance (min .. max)")
    for name, (activation, gain, input_std, line) in cases.items():
        means, variances, squares = [], [], []
        for seed in range(SEEDS):
            rng = np.random.default_rng(seed)
            x = input_std * digits[rng.choice(len(digits), EXAMPLES, replace=False)]
            layers = forward(activation, gain, x, rng)
            means.append([h.mean() for _, h in layers])
            variances.append([input_std**2] + [h.var(axis=0).mean() for _, h in layers])
            squares.append(np.mean(layers[-1][1] ** 2))
            if (activation, gain, input_std) == (selu, 1.0, 1.0):
                growth.append(selu_gradient_growth(layers, rng))
                w = np.concatenate([w for w, _ in layers[1:]], axis=1)  # a column per unit
                omega, tau = w.sum(axis=0), (w**2).sum(axis=0)
                premises.append(np.mean((abs(omega) <= 0.1) & (tau >= 0.95) & (tau <= 1.1)))
                last = layers[-1][1]
                units_inside.append(np.mean(in_domain(last.mean(axis=0), last.var(axis=0))))
        means, variances = np.array(means), np.array(variances)
        final[name] = np.stack([means[:, -1], variances[:, -1]], axis=1)  # (SEEDS, 2)
        second_moment[name] = float(np.mean(squares))
        ends = variances[:, -1]
        print(
            f"{name:30s} {means[:, -1].mean():8.3f}"
            f"  {ends.mean():.3g} ({ends.min():.3g} .. {ends.max():.3g})"
        )
        if line:
            ax.plot(range(DEPTH + 1), variances.mean(axis=0), line, label=name)
            low, high = variances.min(axis=0), variances.max(axis=0)
            ax.fill_between(range(DEPTH + 1), low, high, color=line[:2], alpha=0.2, lw=0)
    ax.axhline(1.0, color="0.5", lw=0.8)
    ax.set(yscale="log", ylim=(1e-3, 1e4), xlabel="layer", ylabel="variance over examples")
    ax.legend(ncols=2, frameon=False, loc="upper center")

    inside = {name: bool(np.all(in_domain(*r.T))) for name, r in final.items()}
    verdict = (
        "reproduced" if list(inside.values()) == [True] * 3 + [False] * 4 else "not reproduced"
    )
    selu_runs = np.concatenate([final[name] for name in list(cases)[:3]])  # (3 * SEEDS, 2)
    selu_variance_min, selu_variance_max = selu_runs[:, 1].min(), selu_runs[:, 1].max()
    selu_largest_mean = np.abs(selu_runs[:, 0]).max()
    elu_variance, relu_variance = final["ELU 1.55/n"][:, 1].mean(), final["ReLU 2/n"][:, 1].mean()
    elu_second_moment, relu_second_moment = second_moment["ELU 1.55/n"], second_moment["ReLU 2/n"]
    selu_large_variance = final["SELU 2/n"][:, 1].mean()
    selu_small_variance = final["SELU 0.5625/n"][:, 1].mean()
    premise_share, unit_share = float(np.mean(premises)), float(np.mean(units_inside))
    gradient_growth = float(np.mean(growth))
    gradient_total = gradient_growth ** (DEPTH - 1)
    print(f"SELU 1/n: gradient² x {gradient_growth:.3f} per layer, x {gradient_total:.0f} in all")
    print(f"units whose weights meet the theorem's premises: {100 * premise_share:.1f} %", end="")
    print(f"; units of the last layer in its domain: {100 * unit_share:.0f} %")
    print("verdict:", verdict)
    plt.show()

    assert verdict == "reproduced"
    assert elu_variance < 0.5 and 0.4 < elu_second_moment < 0.9  # theory: E[elu(z)^2] = 0.645
    assert relu_variance < 0.4 and 0.5 < relu_second_moment < 2.0  # theory: 1
    assert 1.02 < gradient_growth < 1.13  # theory: E[selu'(z)^2] = 1.0716
    assert premise_share < 0.1 and 0.1 < unit_share < 0.5  # it is the average that is normalized
