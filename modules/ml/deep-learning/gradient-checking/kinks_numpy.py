"""The share of weights that cross a kink grows with h; the error in each does not shrink with h.

One layer of ReLU units on Gaussian data; the loss is the mean over examples of a random sum
of the units. A step h in weight dk moves the pre-activation z_nk by h x_nd and crosses the
kink of example n if |z_nk| < h |x_nd|. For independent standard normal z and x that has
the probability p = (2 / pi) arctan(h), and 1 - (1 - p)^N for at least one of N examples.
A single crossing leaves an error between 0 and half the jump of the slope, a quarter on
average, whatever h is.
Shapes: rows are examples, x (N, D), w (D, H), v (H,); gradients are (D, H).
"""

import matplotlib.pyplot as plt
import numpy as np

STEPS = np.geomspace(1e-5, 1e-1, 9)


def analytic(x: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the gradient (D, H) of the mean of relu(x @ w) @ v."""
    return x.T @ ((x @ w > 0) * v) / len(x)  # (D, N) @ (N, H) -> (D, H)


def central(x: np.ndarray, w: np.ndarray, v: np.ndarray, h: float) -> np.ndarray:
    """Return the same gradient from central differences in every weight."""
    z, move = (x @ w)[:, None, :], h * x[:, :, None]  # (N, 1, H), (N, D, 1)
    rise = np.maximum(z + move, 0) - np.maximum(z - move, 0)
    return rise.mean(axis=0) * v / (2 * h)


def kink_distances(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the smallest step (N, D, H) in each weight at which an example crosses."""
    return np.abs((x @ w)[:, None, :]) / np.abs(x[:, :, None])


def predicted_share(n: int, h: float) -> float:
    """Return the expected share of weights whose step crosses a kink in n examples."""
    return float(1 - (1 - 2 / np.pi * np.arctan(h)) ** n)


def _draw_shares(ax: plt.Axes, shares: dict[int, np.ndarray]) -> None:
    for i, (n, measured) in enumerate(shares.items()):
        ax.loglog(STEPS, [predicted_share(n, h) for h in STEPS], color=f"C{i}", lw=1.5)
        ax.loglog(STEPS, measured, "os^"[i], color=f"C{i}", label=f"N = {n}")
    ax.set(xlabel="step h", ylabel="share of the weights that cross", ylim=(1e-5, 2))
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="lower right")  # in the order of the lines


if __name__ == "__main__":
    d, hidden = 20, 32
    rng = np.random.default_rng(0)
    shares, worst = {}, 0.0
    for n in (8, 64, 512):
        draws = 20480 // n
        shares[n] = np.zeros(len(STEPS))
        for _ in range(draws):
            x, w = rng.normal(size=(n, d)), rng.normal(size=(d, hidden)) / np.sqrt(d)
            nearest = kink_distances(x, w).min(axis=0)
            shares[n] += (nearest[None] < STEPS[:, None, None]).mean(axis=(1, 2)) / draws
        for h, share in zip(STEPS, shares[n], strict=True):
            if h > 5e-4:  # below, too few crossings for a comparison
                worst = max(worst, float(abs(share / predicted_share(n, h) - 1)))
    step_3 = int(np.argmin(np.abs(STEPS / 1e-3 - 1)))
    small, many = (f"{shares[n][step_3]:.1%}" for n in (8, 512))
    many_5 = predicted_share(512, 1e-5)
    print(f"share that crosses at h = 1e-3: {small} for N = 8, {many} for N = 512")
    print(f"512 examples at h = 1e-5: {many_5:.2%} predicted")
    print(f"largest deviation from the prediction, h > 5e-4: {worst:.0%}")

    n, quarters, without = 32, {}, 0.0
    for h in (1e-2, 1e-3, 1e-4):
        errors, jumps = [], []
        for _ in range(80):
            x, w = rng.normal(size=(n, d)), rng.normal(size=(d, hidden)) / np.sqrt(d)
            v = rng.choice([-1.0, 1.0], hidden)
            crossed = kink_distances(x, w) < h  # (N, D, H)
            error = np.abs(central(x, w, v, h) - analytic(x, w, v))
            jump = (crossed * np.abs(x[:, :, None])).sum(axis=0) / n
            single = crossed.sum(axis=0) == 1
            errors.extend(error[single])
            jumps.extend(jump[single])
            without = max(without, float(error[~crossed.any(axis=0)].max()))
        quarters[h] = sum(errors) / sum(jumps)
        print(f"h = {h:.0e}: {len(errors)} single crossings, error {quarters[h]:.2f} of the jump")
    print(f"largest error of a weight that does not cross: {without:.0e}")
    quarter_2, quarter_3, quarter_4 = quarters.values()

    fig, ax = plt.subplots(num="kinks", figsize=(6.4, 3.6), layout="constrained")
    _draw_shares(ax, shares)
    plt.show()

    assert worst < 0.2 and without < 1e-10
    assert abs(many_5 / (512 * 2e-5 / np.pi) - 1) < 0.01  # N p
    assert all(0.17 < q < 0.33 for q in quarters.values())
    assert shares[512][step_3] > 20 * shares[8][step_3]
