"""After one step muP has changed each layer equally at every width; a single rate has not.

A network with two hidden layers of width n: input (D, n), hidden (n, n) and output (n, 1)
weights, ReLU, no biases, mean of half the squared error. r = n / n0 is the width as a
multiple of the base width n0, at which muP and the standard parametrization (SP) agree.
Source: Yang et al. (2021), the form of muP that has no multipliers in the forward pass.
"""

import matplotlib.pyplot as plt
import numpy as np

WIDTHS, SEEDS, RATES = (64, 128, 256, 512), 8, {"SGD": 2**-7, "Adam": 2**-9}
EXPONENTS = {  # of r, against SP: variance of the weights, learning rate of SGD, of Adam
    "input": (0, 1, 0),
    "hidden": (0, 0, -1),
    "output": (-1, -1, -1),
}


def mup_factors(layer: str, r: float) -> dict[str, float]:
    """Return what muP multiplies the variance and the two learning rates of SP by."""
    names = ("variance", "SGD", "Adam")
    return {k: float(r) ** e for k, e in zip(names, EXPONENTS[layer], strict=True)}


def initialize(d: int, n: int, n0: int, mup: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """Return weights of variance 2 / fan_in (output: 1 / fan_in), in muP rescaled."""
    weights = []
    for layer, shape in zip(EXPONENTS, [(d, n), (n, n), (n, 1)], strict=True):
        variance = (1.0 if layer == "output" else 2.0) / shape[0]
        if mup:
            variance *= mup_factors(layer, n / n0)["variance"]
        weights.append(rng.normal(size=shape) * np.sqrt(variance))
    return weights


def forward(x: np.ndarray, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return the pre-activations of the three layers, (N, n), (N, n), (N, 1)."""
    z = [x @ weights[0]]  # (N, D) @ (D, n) -> (N, n)
    for w in weights[1:]:
        z.append(np.maximum(z[-1], 0.0) @ w)
    return z


def gradients(x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return the gradients of the mean of (z - y)^2 / 2 for targets y (N, 1)."""
    z = forward(x, weights)
    delta = (z[-1] - y) / len(x)
    grads: list[np.ndarray] = []
    for w, below in zip(weights[:0:-1], z[-2::-1], strict=True):
        grads.insert(0, np.maximum(below, 0.0).T @ delta)
        delta = (delta @ w.T) * (below > 0)
    return [x.T @ delta, *grads]


def first_step(
    weights: list[np.ndarray], grads: list[np.ndarray], rates: list[float], optimizer: str
) -> list[np.ndarray]:
    """Return the weights after one step; Adam's first one is the rate times g / |g|."""
    if optimizer == "Adam":
        grads = [g / (np.abs(g) + 1e-15) for g in grads]
    return [w - rate * g for w, rate, g in zip(weights, rates, grads, strict=True)]


def coordinate_changes(n: int, n0: int, mup: bool, optimizer: str, seed: int) -> np.ndarray:
    """Return the mean |change| of a pre-activation in one step, for each layer."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(8, 16)), rng.normal(size=(8, 1))
    weights = initialize(16, n, n0, mup, rng)
    factors = [mup_factors(k, n / n0)[optimizer] if mup else 1.0 for k in EXPONENTS]
    rates = [RATES[optimizer] * factor for factor in factors]
    stepped = first_step(weights, gradients(x, y, weights), rates, optimizer)
    pairs = zip(forward(x, stepped), forward(x, weights), strict=True)
    return np.array([np.abs(after - before).mean() for after, before in pairs])


def _draw_changes(ax: plt.Axes, changes: np.ndarray, title: str) -> None:
    for i, (layer, style) in enumerate(zip(EXPONENTS, ("o-", "s--", "^:"), strict=True)):
        relative = changes[:, i] / changes[0, i]
        ax.loglog(WIDTHS, relative, style, color=f"C{i}", label=layer)
    ax.set_xticks(WIDTHS, labels=[str(n) for n in WIDTHS])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="width n", title=title)


if __name__ == "__main__":
    fig, axes = plt.subplots(
        1, 2, num="coordinates", figsize=(6.4, 3.4), sharey=True, layout="constrained"
    )
    slopes = {}
    for mup, optimizer in [(m, o) for o in RATES for m in (False, True)]:
        runs = [
            [coordinate_changes(n, WIDTHS[0], mup, optimizer, seed) for n in WIDTHS]
            for seed in range(SEEDS)
        ]
        changes = np.exp(np.log(runs).mean(axis=0))  # (widths, layers), geometric mean
        name = f"{'muP' if mup else 'SP'}, {optimizer}"
        slopes[name] = np.polyfit(np.log(WIDTHS), np.log(changes), 1)[0]
        texts = ", ".join(f"{k} {s:+.2f}" for k, s in zip(EXPONENTS, slopes[name], strict=True))
        print(f"{name:9s} change grows as width to the power: {texts}")
        if optimizer == "Adam":
            _draw_changes(axes[int(mup)], changes, "muP" if mup else "one rate for all")
    axes[0].set(ylabel="change, relative to width 64")
    axes[0].legend()
    plt.show()

    sp_sgd_input, sp_sgd_hidden, sp_sgd_output = (float(v) for v in slopes["SP, SGD"])
    mup_sgd_input, mup_sgd_hidden, mup_sgd_output = (float(v) for v in slopes["muP, SGD"])
    sp_adam_input, sp_adam_hidden, sp_adam_output = (float(v) for v in slopes["SP, Adam"])
    mup_adam_input, mup_adam_hidden, mup_adam_output = (float(v) for v in slopes["muP, Adam"])
    assert np.abs(slopes["SP, SGD"] - [-0.5, 0.5, 1.0]).max() < 0.2
    assert np.abs(slopes["SP, Adam"] - [0.0, 1.0, 1.35]).max() < 0.2
    assert np.abs(slopes["muP, Adam"]).max() < 0.1 and np.abs(slopes["muP, SGD"]).max() < 0.4
