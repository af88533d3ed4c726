"""Gradients make two hidden units discover mirror symmetry, in more than one way.

Claim (Rumelhart, Hinton and Williams 1986, Figure 1): a network with 6 inputs, 2 hidden
units and 1 output learns to tell the 8 symmetric patterns from the 56 others. In each
hidden unit, weights at mirrored inputs are equal in size and opposite in sign; on each
side they have the ratio 1:2:4. Settings of the paper: sigmoid units, E = half the summed
squared error, all 64 patterns per step, step 0.1, momentum 0.9, initial weights uniform
in [-0.3, 0.3] (Equations 2, 3 and 9, Figure 1).
Shapes: R runs side by side; x (64, 6), w1 (R, 6, H), w2 (R, H, 1), outputs (R, 64, 1).
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

RUNS, SWEEPS, MOMENTUM = 40, 5000, 0.9
HIDDEN, STEP_SIZES = (2, 4, 8), (0.1, 0.03)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def gradients(
    x: np.ndarray, targets: np.ndarray, params: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the outputs (R, 64, 1), and the gradients of E for w1, b1, w2, b2."""
    w1, b1, w2, b2 = params
    h = sigmoid(x @ w1 + b1)  # (64, 6) @ (R, 6, H) -> (R, 64, H)
    y = sigmoid(h @ w2 + b2)  # (R, 64, H) @ (R, H, 1) -> (R, 64, 1)
    delta2 = (y - targets) * y * (1 - y)
    grad_w2 = h.swapaxes(1, 2) @ delta2  # (R, H, 64) @ (R, 64, 1) -> (R, H, 1)
    delta1 = delta2 @ w2.swapaxes(1, 2) * h * (1 - h)  # ... @ (R, 1, H) -> (R, 64, H)
    grad_b1, grad_b2 = (delta.sum(axis=1, keepdims=True) for delta in (delta1, delta2))
    return y, [x.T @ delta1, grad_b1, grad_w2, grad_b2]


def train(
    x: np.ndarray, targets: np.ndarray, hidden: int, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return w1 (R, 6, H), the outputs, and the first sweep with all 64 right (or -1)."""
    rng = np.random.default_rng(0)  # the same initial weights for every step size
    shapes = [(6, hidden), (1, hidden), (hidden, 1), (1, 1)]
    params = [rng.uniform(-0.3, 0.3, size=(RUNS, *shape)) for shape in shapes]
    velocities = [np.zeros_like(p) for p in params]
    first = np.full(RUNS, -1)
    for sweep in range(SWEEPS):
        y, grads = gradients(x, targets, params)
        right = ((y > 0.5) == (targets > 0.5)).all(axis=(1, 2))
        first[(first < 0) & right] = sweep
        for p, v, g in zip(params, velocities, grads, strict=True):
            v *= MOMENTUM
            v -= step * g
            p += v
    return params[0], y, first


def codes(w1: np.ndarray, unit: int = 0) -> np.ndarray:
    """Return the sorted sizes of one unit's weights on one side, smallest = 1: (R, 3)."""
    sizes = np.sort(np.abs(w1[:, :3, unit]), axis=1)
    return sizes / sizes[:, :1]


def near(ratios: np.ndarray, code: list[float]) -> np.ndarray:
    """Return for each run whether its ratios are within 5 % of the code."""
    return np.all(np.abs(ratios / np.array(code) - 1) < 0.05, axis=1)


def quartiles(sweeps: np.ndarray) -> str:
    """Return the median and the range of the middle half as text."""
    low, median, high = np.percentile(sweeps, [25, 50, 75])
    return f"{median:,.0f} ({low:,.0f} to {high:,.0f})"


if __name__ == "__main__":
    x = np.array(list(product([0.0, 1.0], repeat=6)))  # (64, 6)
    targets = np.all(x == x[:, ::-1], axis=1).astype(float)[:, None]  # (64, 1)
    solved, found, unsolved_losses = {}, {}, []
    for hidden in HIDDEN:
        for step in STEP_SIZES:
            w1, y, first = train(x, targets, hidden, step)
            right = np.all((y > 0.5) == (targets > 0.5), axis=(1, 2))
            solved[hidden, step] = int(right.sum())
            found[hidden, step] = w1[right], quartiles(first[right])
            unsolved_losses.extend(0.5 * np.sum((y[~right] - targets) ** 2, axis=(1, 2)))
        counts = ", ".join(f"{solved[hidden, step]} with step {step}" for step in STEP_SIZES)
        print(f"{hidden} hidden units: of {RUNS} runs solved within {SWEEPS} sweeps: {counts}")

    stuck_loss = float(np.median(unsolved_losses))
    print(f"median loss of the unsolved runs: {stuck_loss:.3f} (output always off: 4)")

    solved_paper, solved_small = (solved[2, step] for step in STEP_SIZES)
    sweeps_paper, sweeps_small = (found[2, step][1] for step in STEP_SIZES)
    four_paper, four_small = (solved[4, step] for step in STEP_SIZES)
    eight_paper, eight_small = (solved[8, step] for step in STEP_SIZES)
    w1 = np.concatenate([found[2, step][0] for step in STEP_SIZES])  # (solved runs, 6, 2)
    paper = np.arange(len(w1)) < solved_paper
    mirror_error = float(np.max(np.abs(w1 + w1[:, ::-1])) / np.min(np.abs(w1)))
    opposites = int(np.sum(np.all(w1[:, :, 0] * w1[:, :, 1] < 0, axis=1)))
    ratios = codes(w1)
    is_124, is_234 = near(ratios, [1, 2, 4]), near(ratios, [1, 1.5, 2])
    count_124, count_234, total = int(is_124.sum()), int(is_234.sum()), len(w1)
    count_124_paper, count_124_small = int(is_124[paper].sum()), int(is_124[~paper].sum())
    count_234_paper, count_234_small = int(is_234[paper].sum()), int(is_234[~paper].sum())
    verdict = "reproduced" if count_124 == total else "partly" if count_124 else "not reproduced"
    helped = all(solved[8, step] > solved[2, step] for step in STEP_SIZES if solved[2, step] < RUNS)
    verdict_units = "reproduced" if helped else "not at this size"
    print(f"median sweeps (middle half): {sweeps_paper}, {sweeps_small}; the paper's run: 1,425")
    print(f"mirrored weights are opposite up to {mirror_error:.1%} of the smallest weight")
    print(f"the two units have opposite signs in {opposites} of {total} solved runs")
    print(f"ratio 1:2:4 in {count_124} runs, 2:3:4 in {count_234}; verdict: {verdict}")
    print(f"more hidden units, fewer failures? verdict: {verdict_units}")

    fig, axes = plt.subplots(2, 1, num="weights", figsize=(6.4, 4.8), sharex=True)
    for ax, chosen, smallest, code in (
        (axes[0], is_124, 1, "1 : 2 : 4"),
        (axes[1], is_234, 2, "2 : 3 : 4"),
    ):
        weights = w1[chosen][0]  # (6, 2) of the first such run
        scaled = smallest * weights / np.abs(weights).min(axis=0)
        for unit, (offset, marker) in enumerate(((-0.12, "o"), (0.12, "s"))):
            positions = np.arange(1, 7) + offset
            ax.vlines(positions, 0, scaled[:, unit], color=f"C{unit}", lw=4)
            ax.plot(positions, scaled[:, unit], marker, color=f"C{unit}", label=f"unit {unit + 1}")
        ax.axhline(0, color="0.5", lw=1)
        ax.set_yticks([-4, -2, 0, 2, 4])
        ax.set_title(f"{code} in {int(chosen.sum())} of {total} solved runs", size=11)
    axes[0].legend(frameon=False, ncols=2)
    axes[1].set_xlabel("input")
    fig.supylabel("input weight (scaled)", size=11)
    plt.show()

    assert solved_small > 0.9 * RUNS and 0.3 * RUNS < solved_paper < 0.9 * RUNS
    assert eight_paper < solved_paper and eight_small > 0.8 * RUNS
    assert mirror_error < 0.01 and opposites > 0.9 * total
    assert np.allclose(codes(w1, unit=1), ratios, rtol=0.05)  # both units use the same code
    assert abs(stuck_loss - 4.0) < 0.1
    assert count_124 + count_234 == total and count_124 > 0.4 * total and count_234 > 0.1 * total
