"""He's mean is kept, a network's is not: log signal spreads by 5 depth / width, inputs align.

Signal: mean of h^2 in a layer of n ReLU units over its value at the input, weights N(0, 2/n).
Cosine: of the activations that two inputs get. No biases, no training.
Sources: Sussillo and Abbott (2014), Hanin and Rolnick (2018): spread by depth over width;
Cho and Saul (2009): the cosine map, there the arc-cosine kernel of degree 1.
"""

import matplotlib.pyplot as plt
import numpy as np

DEPTH, NETWORKS, WIDTHS = 30, 240, (20, 40, 60)
STARTS, WIDE, SEEDS = (-0.8, 0.0, 0.8), 300, 5


def log_signal(width: int, depth: int, networks: int, rng: np.random.Generator) -> np.ndarray:
    """Return the logarithm of the signal, (networks, depth)."""
    h = np.ones((networks, 1, width))
    found = []
    for _ in range(depth):
        w = rng.standard_normal((networks, width, width)) * (2 / width) ** 0.5
        h = np.maximum(h @ w, 0)  # (R, 1, n) @ (R, n, n) -> (R, 1, n)
        found.append(np.mean(h**2, axis=(1, 2)))
    return np.log(np.stack(found, axis=1))


def cosine_map(c: np.ndarray | float) -> np.ndarray:
    """Return the cosine of relu(z), relu(z') for normal z, z' of correlation c."""
    c = np.clip(c, -1.0, 1.0)
    return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / np.pi


def cosines(starts: tuple[float, ...], width: int, gain_squared: float, seed: int) -> np.ndarray:
    """Return the cosines by layer, (DEPTH + 1, len(starts)), in a random network."""
    rng = np.random.default_rng(seed)
    base, other = np.linalg.qr(rng.normal(size=(width, 2)))[0].T  # orthonormal
    c = np.array(starts)[:, None]
    h = np.vstack([base, c * base + np.sqrt(1 - c**2) * other])
    found = []
    for layer in range(DEPTH + 1):
        if layer:
            h = np.maximum(h @ rng.normal(0.0, (gain_squared / width) ** 0.5, (width, width)), 0)
        norms = np.linalg.norm(h, axis=1)
        found.append(h[1:] @ h[0] / (norms[1:] * norms[0]))
    return np.array(found)


def _draw_width(spread: dict[int, np.ndarray]) -> None:
    _, ax = plt.subplots(num="width", figsize=(6.4, 3.8), layout="constrained")
    layers = np.arange(1, DEPTH + 1)
    for i, (width, marker) in enumerate(zip(WIDTHS, "os^", strict=True)):
        x = layers / width
        ax.plot(x, spread[width], marker, markersize=5, color=f"C{i}", label=f"{width} units")
    ax.plot(
        [0, DEPTH / WIDTHS[0]], [0, 5 * DEPTH / WIDTHS[0]], color="0.5", label="5 depth / width"
    )
    ax.set(xlabel="depth / width", ylabel="variance of the log of the signal")
    ax.legend()


def _draw_cosine(theory: np.ndarray, measured: np.ndarray) -> None:
    _, ax = plt.subplots(num="cosine", figsize=(6.4, 3.8), layout="constrained")
    for i, (line, marker) in enumerate(zip(("-", "--", ":"), "os^", strict=True)):
        ax.plot(theory[:, i], line, color=f"C{i}")
        ax.plot(measured[:, i], marker, markersize=4, color=f"C{i}")
        ax.text(0.5, theory[0, i] - 0.02, f"from {STARTS[i]:g}", color=f"C{i}", va="top")
    ax.set(xlabel="layer", ylabel="cosine of two activations", ylim=(-1, 1.05))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    logs = {width: log_signal(width, DEPTH, NETWORKS, rng) for width in WIDTHS}
    spread = {width: values.var(axis=0) for width, values in logs.items()}
    for width in WIDTHS:
        signal = np.exp(logs[width][:, -1])
        low, high = np.quantile(signal, [0.05, 0.95])
        print(f"{DEPTH} layers of {width} units: signal mean {signal.mean():.2f}, median", end="")
        print(f" {np.median(signal):.2f}, 90 % in {low:.0e} to {high:.2f};", end="")
        print(f" variance of log {spread[width][-1]:.2f}, theory {5 * DEPTH / width:.2f}")
    narrow = np.exp(logs[WIDTHS[0]][:, -1])
    median_narrow = float(np.median(narrow))
    low_narrow, high_narrow = map(float, np.quantile(narrow, [0.05, 0.95]))
    narrowest = WIDTHS[0]

    path = [np.array(STARTS)]
    for _ in range(DEPTH):
        path.append(cosine_map(path[-1]))
    theory = np.array(path)
    measured = np.mean([cosines(STARTS, WIDE, 2.0, seed) for seed in range(SEEDS)], axis=0)
    orthogonal_10, orthogonal_last = float(theory[10, 1]), float(theory[-1, 1])
    measured_last = float(measured[-1, 1])
    asymptote = 9 * np.pi**2 / (2 * DEPTH**2)
    print(f"cosine of orthogonal inputs: {theory[1, 1]:.3f} after 1 layer,", end="")
    print(f" {orthogonal_10:.3f} after 10, {orthogonal_last:.3f} after {DEPTH}", end="")
    print(f" (measured {measured_last:.3f})")
    scale_effect = float(
        np.max(np.abs(cosines(STARTS, WIDE, 2.0, 0) - cosines(STARTS, WIDE, 1.0, 0)))
    )
    print(f"the same with variance 1/n in place of 2/n: largest change {scale_effect:.0e}")

    _draw_width(spread)
    _draw_cosine(theory, measured)
    plt.show()

    for width in WIDTHS:
        assert abs(spread[width][-1] / (5 * DEPTH / width) - 1) < 0.5
        assert np.median(logs[width][:, -1]) < 0
    assert spread[20][-1] > 1.5 * spread[40][-1] > 1.5 * spread[60][-1]
    assert np.max(np.abs(measured - theory)) < 0.1 and scale_effect < 1e-9
    assert np.mean((narrow > low_narrow) & (narrow < high_narrow)) == 0.9
    assert orthogonal_10 == theory[10, STARTS.index(0.0)] < orthogonal_last
    assert 0.5 < (1 - orthogonal_last) / asymptote < 1
