"""A unit learns only from examples at which its slope is not zero; dead means: from none.

Shapes: rows are examples. x is (N, D), z (N, K) are the pre-activations of K units on the whole
data set, slope = f'(z) has their shape. delta (N, K) is dL/dz with L a mean, so that it carries
the factor 1/N. One step of gradient descent with learning rate lr moves w by -lr x^T delta and
b by -lr times the column sums of delta; a unit's z then moves as if through a kernel x x^T + 1.
"""

import matplotlib.pyplot as plt
import numpy as np


def relu_slope(z: np.ndarray) -> np.ndarray:
    """Return the slope of ReLU at each entry, with 0 at the kink."""
    return (z > 0).astype(float)


def sigmoid_slope(z: np.ndarray) -> np.ndarray:
    """Return sigma'(z) from r = exp(-|z|), which cannot overflow."""
    r = np.exp(-np.abs(z))
    return r / (1 + r) ** 2


def flat(slope: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Return which entries have a slope of at most the threshold in size: bool, (N, K)."""
    return np.abs(slope) <= threshold


def stuck_units(slope: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Return which units are flat for EVERY example, (N, K) -> (K,); for threshold 0: dead."""
    return np.asarray(flat(slope, threshold).all(axis=0))


def unit_gradients(
    x: np.ndarray, slope: np.ndarray, grad_a: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients for w, (D, K), and b, (K,), from grad_a = dL/df(z), (N, K)."""
    delta = grad_a * slope
    return x.T @ delta, delta.sum(axis=0)  # (D, N) @ (N, K) -> (D, K)


def step_shift(x: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Return s, (N, K), with which one step of learning rate lr turns z into z - lr * s."""
    return (x @ x.T + 1) @ delta  # (N, N) @ (N, K) -> (N, K); the 1 is the bias


def killing_rates(z: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each unit the lowest and highest lr after which z - lr * shift <= 0 everywhere.

    Both are (K,). If the lowest exceeds the highest, no learning rate kills the unit in one step.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = z / shift
    low = np.where(z > 0, np.where(shift > 0, ratio, np.inf), 0.0)  # active: must sink enough
    high = np.where((z <= 0) & (shift < 0), ratio, np.inf)  # inactive: must not rise
    return low.max(axis=0), high.min(axis=0)


def _draw_slopes(samples: dict[str, np.ndarray]) -> None:
    """Draw pre-activations of four units over the slopes of ReLU and sigmoid."""
    grid = np.linspace(-9, 9, 1801)
    _, axes = plt.subplots(2, 1, num="slopes", figsize=(6.4, 5.2), sharex=True)
    panels = [
        (relu_slope(grid), "slope of ReLU", ("alive", "dead"), 1.0),
        (sigmoid_slope(grid), "slope of the sigmoid", ("in the middle", "saturated"), 0.25),
    ]
    for ax, (slope, label, names, top) in zip(axes, panels, strict=True):
        ax.plot(grid, slope, color="0.5", lw=2)
        for name, color, hatch in zip(names, ("C0", "C1"), ("", "//"), strict=True):
            heights, edges = np.histogram(samples[name], bins=np.arange(-9, 9.1, 0.5))
            heights = 0.8 * top * heights / heights.max()
            style = {"color": color, "alpha": 0.4, "hatch": hatch}
            ax.bar(edges[:-1], heights, width=0.5, align="edge", **style)
            at = -4.6 if name == "in the middle" else samples[name].mean()
            ax.text(at, 0.86 * top, name, color=color, ha="center")
        ax.set_ylabel(label)
        ax.set_ylim(-0.05 * top, 1.12 * top)
    axes[1].set_xlabel("pre-activation z of a unit, over all examples (bars: how many)")
    plt.show()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    samples = {
        "alive": rng.normal(1.5, 1.5, 1000),
        "dead": np.minimum(rng.normal(-5, 1.0, 1000), -1.5),
        "in the middle": rng.normal(0, 1.2, 1000),
        "saturated": rng.normal(6, 0.8, 1000),
    }
    _draw_slopes(samples)

    # measured on a layer: 64 units, 500 examples, biases from 1 to -8
    n, d, k = 500, 20, 64
    x = rng.normal(size=(n, d))
    w, b = rng.normal(size=(d, k)) * np.sqrt(2 / d), np.linspace(1, -8, k)
    z = x @ w + b  # (N, D) @ (D, K) -> (N, K)
    dead = stuck_units(relu_slope(z))
    one_example = float(flat(relu_slope(z[:1])).mean())
    one_batch = float(stuck_units(relu_slope(z[:32])).mean())
    dead_share = float(dead.mean())
    print(f"inactive for one example {one_example:.0%}, for a batch of 32 {one_batch:.0%}")
    print(f"dead, that is inactive for all {n}: {dead_share:.0%}")
    sigmoid_flat = float(flat(sigmoid_slope(z), 0.0025).mean())  # 1 % of the maximum 1/4
    sigmoid_stuck = float(stuck_units(sigmoid_slope(z), 0.0025).mean())
    print(f"the same z in a sigmoid: entries flat {sigmoid_flat:.0%}, units {sigmoid_stuck:.0%}")

    grad_a = rng.normal(size=(n, k)) / n
    grad_w, grad_b = unit_gradients(x, relu_slope(z), grad_a)
    largest_dead_gradient = float(max(np.abs(grad_w[:, dead]).max(), np.abs(grad_b[dead]).max()))
    smallest_live_gradient = float(np.abs(grad_w[:, ~dead]).max(axis=0).min())
    grad_w, _ = unit_gradients(x, sigmoid_slope(z), grad_a)
    smallest_sigmoid_gradient = float(np.abs(grad_w).max(axis=0).min())
    print(f"largest gradient of a dead unit: {largest_dead_gradient}", end="; ")
    print(f"smallest of any sigmoid unit: {smallest_sigmoid_gradient:.0e}")

    # one step on units that are too high by 1 for every example: delta = slope / N
    killed, median_rate = {}, {}
    for mean in (0.0, 1.0, 3.0):
        inputs = rng.normal(mean, 1, size=(n, d))
        z = inputs @ (rng.normal(size=(d, 400)) * np.sqrt(2 / d))
        shift = step_shift(inputs, relu_slope(z) / n)
        low, high = killing_rates(z, shift)
        active = ~stuck_units(relu_slope(z))
        possible = (low <= high) & active
        killed[mean] = float(possible.sum() / active.sum())
        median_rate[mean] = float(np.median(low[possible])) if possible.any() else np.inf
        print(
            f"input mean {mean:.0f}: some rate kills {killed[mean]:.0%} of the live units", end=""
        )
        print(f", from a median of {median_rate[mean]:.2g}" if possible.any() else "")
    killed_0, killed_1, killed_3 = killed.values()
    rate_0, rate_1, rate_3 = median_rate.values()

    assert largest_dead_gradient == 0.0 and smallest_sigmoid_gradient > 0.0
    assert one_example > one_batch > dead_share > 0.1 and smallest_live_gradient > 0.0
    assert killed_3 > 0.9 and rate_3 < 0.3 * rate_1 < 0.1 * rate_0
