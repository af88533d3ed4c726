"""From orthogonal weights a linear net of 32 layers learns about as fast as one of 8.

Saxe et al. (2014, Abstract): from random orthogonal weights a deep linear network
learns in a time that does not depend on the depth, from scaled normal weights it does not.
Here: M square matrices learn a random T, loss |W1 ... WM - T|^2 / 2 (whitened inputs),
gradient descent. A run arrives when the loss falls below 5 % of |T|^2 / 2. Each start and
depth tries five rates and keeps the one with the lowest median of steps, then of loss.
An illustration, not a test: limit, depths and rates were chosen after pilot runs. Rates
and seeds run side by side: weights are (M, rates * SEEDS, n, n).
"""

import matplotlib.pyplot as plt
import numpy as np

WIDTH, DEPTHS, SEEDS, STEPS = 16, (2, 4, 8, 32), 5, 700
RATES = 2.0 ** np.arange(-3, 2)  # divided by the number of layers


def init(kind: str, m: int, rng: np.random.Generator) -> np.ndarray:
    """Return (M, SEEDS, n, n) weights, orthogonal or normal of variance 1 / n."""
    w = rng.normal(size=(m, SEEDS, WIDTH, WIDTH))
    if kind == "normal":
        return w / np.sqrt(WIDTH)
    q, r = np.linalg.qr(w)
    return q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]


def gradients(w: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return |W1 ... WM - T|^2 / 2 of each run, (runs,), and its gradient for w."""
    before = [np.broadcast_to(np.eye(WIDTH), w[0].shape)]  # products of the layers before
    for layer in w:
        before.append(before[-1] @ layer)
    delta, grads = before[-1] - target, np.empty_like(w)
    loss = 0.5 * np.sum(delta**2, axis=(1, 2))
    for i in range(len(w) - 1, -1, -1):
        grads[i] = before[i].swapaxes(1, 2) @ delta
        delta = delta @ w[i].swapaxes(1, 2)
    return loss, grads


def train(kind: str, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps until arrival and the final relative losses, both (rates, SEEDS)."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(SEEDS, WIDTH, WIDTH)) / np.sqrt(WIDTH)
    target = np.tile(target, (len(RATES), 1, 1))
    scale = 0.5 * np.sum(target**2, axis=(1, 2))
    w = np.tile(init(kind, m, rng), (1, len(RATES), 1, 1))
    rate = np.repeat(RATES / m, SEEDS)[:, None, None]
    arrived, final = np.full(len(target), STEPS), np.full(len(target), np.inf)
    going = np.arange(len(target))  # runs that have neither arrived nor diverged
    for step in range(STEPS):
        loss, grads = gradients(w, target[going])
        relative = loss / scale[going]
        final[going] = np.where(relative < 10.0, relative, np.inf)
        arrived[going[relative < 0.05]] = step
        keep = (relative >= 0.05) & (relative < 10.0)
        going, w, grads = going[keep], w[:, keep], grads[:, keep]
        if not len(going):
            break
        w = w - rate[going] * grads
    return arrived.reshape(-1, SEEDS), final.reshape(-1, SEEDS)


def best_rate(arrived: np.ndarray, final: np.ndarray) -> int:
    """Return the index of the rate with the fewest steps in the median, then lowest loss."""
    return int(np.lexsort((np.median(final, axis=1), np.median(arrived, axis=1)))[0])


def _draw_steps(steps: dict[str, list[np.ndarray]]) -> None:
    _, ax = plt.subplots(num="learning_time", figsize=(5.6, 3.6), layout="constrained")
    for i, (kind, marker) in enumerate((("orthogonal", "o-"), ("normal", "s--"))):
        runs = np.array(steps[kind])  # (depths, SEEDS)
        ax.plot(DEPTHS, np.median(runs, axis=1), marker, color=f"C{i}", label=kind)
        ax.fill_between(DEPTHS, runs.min(axis=1), runs.max(axis=1), color=f"C{i}", alpha=0.2)
    ax.axhline(STEPS, color="0.5", linewidth=0.8)
    ax.annotate("not arrived", (DEPTHS[0], STEPS), (0, 4), textcoords="offset points")
    ax.set(xscale="log", yscale="log", xlabel="layers M", ylabel="steps until arrival")
    ax.set_xticks(DEPTHS, labels=[str(m) for m in DEPTHS])
    ax.set_xticks([], minor=True)
    ax.legend(loc="lower right")
    plt.show()


if __name__ == "__main__":
    steps: dict[str, list[np.ndarray]] = {"orthogonal": [], "normal": []}
    cells, best_is_inside = {}, []
    for kind in steps:
        for m in DEPTHS:
            arrived, final = train(kind, m)
            best = best_rate(arrived, final)
            runs = arrived[best]
            steps[kind].append(runs)
            best_is_inside.append(0 < best < len(RATES) - 1)
            reached = int(np.sum(runs < STEPS))
            spread = f"{np.median(runs):.0f} ({runs.min()} to {runs.max()})"
            cells[kind, m] = spread if reached else f"none in {STEPS}"
            print(f"{kind:10s} M = {m:2d} rate {RATES[best]:.3g}/M: {cells[kind, m]}")
    _draw_steps(steps)
    orthogonal_2, orthogonal_4, orthogonal_8, orthogonal_32 = (
        cells["orthogonal", m] for m in DEPTHS
    )
    normal_2, normal_4, normal_8, normal_32 = (cells["normal", m] for m in DEPTHS)
    medians = {kind: [float(np.median(r)) for r in runs] for kind, runs in steps.items()}
    growth_orthogonal = medians["orthogonal"][3] / medians["orthogonal"][2]
    growth_normal = medians["normal"][3] / medians["normal"][2]
    early_growth = medians["orthogonal"][2] / medians["orthogonal"][0]
    print(f"from 8 to 32 layers: x {growth_orthogonal:.2f}, at least x {growth_normal:.2f}")

    assert all(best_is_inside)
    assert growth_orthogonal < 2 and growth_normal > 2.5
    assert medians["normal"][2] > 3 * medians["orthogonal"][2]
