"""On separable data the weights grow like log t; their direction converges even slower.

Claim (Soudry et al., 2018): on the logistic loss of separable data, gradient descent
gives theta(t) = m log t + bounded, for almost all data and any start. Here m is the
max-margin vector: the shortest with y m·x >= 1 on every example. So |theta| grows by
|m| per unit of log t, and the direction converges to that of m, at the rate 1 / log t.
Data: iris, setosa and versicolor, sepal width and petal length, standardized, half of
the flowers drawn per run. The bias is the weight of a constant input 1.
Shapes: R runs; a (R, N, D + 1) holds y times the inputs, theta (R, D + 1).
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import nnls
from sklearn.datasets import load_iris

RUNS, COUNT, STEPS, TOLERANCE, FEW, MANY = 10, 50, 100_000, 0.1, 2, 5
NOTE = "← 100,000 steps, exact\n    continuation →"
FROM, STRIDE, LAST = 1000, 0.003, 20  # continuation: from step, part of t, last decade


def max_margin(a: np.ndarray) -> np.ndarray:
    """Return the shortest m with a m >= 1, a (N, D): Lawson and Hanson's LDP."""
    target = np.append(np.zeros(a.shape[1]), 1.0)
    u, _ = nnls(np.vstack([a.T, np.ones(len(a))]), target)
    residual = np.append(a.T @ u, u.sum()) - target
    return -residual[:-1] / residual[-1]


def gradient(a: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean of log(1 + exp(-a theta)), (R, D + 1)."""
    margins = (a @ theta[:, :, None])[:, :, 0]  # (R, N)
    pull = np.exp(-np.logaddexp(0.0, margins))  # sigmoid(-margin), without overflow
    return -np.einsum("rn,rnd->rd", pull, a) / a.shape[1]


def descend(
    a: np.ndarray, theta: np.ndarray, lr: np.ndarray, marks: set[int]
) -> dict[int, np.ndarray]:
    """Return theta after each marked number of steps of gradient descent."""
    found = {}
    for t in range(1, max(marks) + 1):
        theta = theta - lr[:, None] * gradient(a, theta)
        if t in marks:
            found[t] = theta
    return found


def follow(
    a: np.ndarray, theta: np.ndarray, lr: np.ndarray, start: float, decades: list[int]
) -> dict[int, np.ndarray]:
    """Return theta at t = 10^k: each step stands for STRIDE t steps at once.

    At late t the gradient falls like 1 / t: it hardly changes over that many steps.
    """
    found, t = {}, start
    for k in decades:
        count = round(np.log(10.0**k / t) / np.log1p(STRIDE))
        ratio = (10.0**k / t) ** (1 / count)  # so that the last step lands on 10^k
        for _ in range(count):
            theta = theta - (lr * t * (ratio - 1))[:, None] * gradient(a, theta)
            t *= ratio
        found[k] = theta
    return found


def growth(theta: np.ndarray, before: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return the growth of |theta| over a decade, per unit of log t and |m|: (R,)."""
    grown = np.linalg.norm(theta, axis=1) - np.linalg.norm(before, axis=1)
    return grown / np.log(10.0) / np.linalg.norm(m, axis=1)


def distance(theta: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return the distance of the two directions, (R,)."""
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (theta, m)]
    return np.linalg.norm(units[0] - units[1], axis=1)


def judge(at: dict[int, np.ndarray], k: int, m: np.ndarray) -> tuple[int, int, str]:
    """Return in how many runs growth and direction behave in decade k; the verdict."""
    grows = np.abs(growth(at[k], at[k - 1], m) - 1) < TOLERANCE
    nears = distance(at[k], m) < distance(at[k - 1], m)
    counts = int(grows.sum()), int(nears.sum())  # nan compares as False: a failure
    both = int((grows & nears).sum())  # in the same run
    if both == len(m):
        return *counts, "reproduced"
    return *counts, "partly" if 2 * both > len(m) else "not at this size"


def span(values: np.ndarray) -> str:
    """Return the mean and the range as text."""
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


if __name__ == "__main__":
    data, rng = load_iris(), np.random.default_rng(1)
    x = data.data[:100, [1, 2]]
    x = np.column_stack([(x - x.mean(axis=0)) / x.std(axis=0), np.ones(100)])
    signed = x * np.where(data.target[:100] == 1, 1.0, -1.0)[:, None]
    a = np.stack([signed[rng.permutation(100)[:COUNT]] for _ in range(RUNS)])
    m = np.stack([max_margin(run) for run in a])
    lr = 4 * COUNT / np.linalg.norm(a, 2, axis=(1, 2)) ** 2  # half of the stable ones
    first = rng.normal(size=(RUNS, 3))

    exact = descend(a, first, lr, {10**k for k in range(6)} | {FROM})
    at = {k: exact[10**k] for k in range(6)}
    growth_count, near_count, verdict = judge(at, 5, m)
    growths, distances = span(growth(at[5], at[4], m)), span(distance(at[5], m))
    shortfall = float(1 - growth(at[5], at[4], m).mean())
    print(f"{STEPS} steps of {RUNS} runs: {verdict}")
    print(f"  growth {growths}, within {TOLERANCE:.0%} of 1 in {growth_count} runs")
    print(f"  distance {distances}, smaller than a decade before in {near_count} runs")

    late = follow(a, exact[FROM], lr, FROM, list(range(4, LAST + 1)))
    scale = np.linalg.norm(at[5], axis=1)
    continuation_error = float((np.linalg.norm(late[5] - at[5], axis=1) / scale).max())
    print(f"continuation: off by {continuation_error:.1e} of |theta| at {STEPS} steps")
    late_growth_count, late_near_count, late_verdict = judge(late, LAST, m)
    late_growths = span(growth(late[LAST], late[LAST - 1], m))
    late_distances = span(distance(late[LAST], m))
    print(
        f"10^{LAST} steps: growth {late_growths} in {late_growth_count}; distance",
        end=" ",
    )
    print(f"{late_distances}, smaller in {late_near_count}: {late_verdict}")

    stopped = {}  # as a control, some flowers of each run get the wrong label
    for wrong in (FEW, MANY):
        mixed = np.concatenate([-a[:, :wrong], a[:, wrong:]], axis=1)
        control = descend(mixed, first, lr, {1000, 10_000})
        stopped[wrong] = float(np.abs(growth(control[10_000], control[1000], m)).max())
        print(f"{wrong} of {COUNT} labels wrong: growth up to {stopped[wrong]:.1e}")
    growth_few, growth_many = stopped.values()
    right = float(np.mean((a @ at[2][:, :, None]) > 0))
    print(f"right after 100 steps, true labels: {right:.0%}")

    fig, axes = plt.subplots(
        2, 1, num="growth", figsize=(5.6, 5.6), sharex=True, layout="constrained"
    )
    decades = [*at, *range(6, LAST + 1)]
    path = np.stack([at.get(k, late.get(k)) for k in decades])  # (decades, R, D + 1)
    norms = np.linalg.norm(path, axis=2) / np.linalg.norm(m, axis=1)
    gaps = np.stack([distance(theta, m) for theta in path])
    for axis, values in zip(axes, (norms, gaps), strict=True):
        axis.plot(decades, values, color="C0", lw=1)
        axis.axvline(5, color="0.5", linestyle=":")
    axes[0].plot(decades, np.log(10) * np.array(decades), "--", color="C1", lw=2)
    axes[0].text(13, np.log(10) * 13 + 2, "log t", color="C1", ha="right", size=11)
    axes[1].text(5.2, 1.0, NOTE, va="top")
    axes[0].set_ylabel("|θ| / |m|")
    axes[0].set_xticks(range(0, LAST + 1, 5))
    axes[1].set(xlabel="k, at step t = 10ᵏ", ylabel="distance of the directions")
    axes[1].set_yscale("log")
    plt.show()

    assert np.abs((a @ m[:, :, None]).min(axis=1) - 1).max() < 1e-9
    largest = np.linalg.eigvalsh(a.transpose(0, 2, 1) @ a)[:, -1] / (4 * COUNT)
    assert np.allclose(lr * largest, 1)  # stable below 2
    assert verdict == "not at this size" and late_verdict == "reproduced"
    assert near_count < RUNS and right == 1.0 and 0.05 < shortfall < 0.2
    assert continuation_error < 0.002 and growth_many < 1e-4 < growth_few < 0.5
    assert np.abs(growth(late[LAST], late[LAST - 1], m) - 1).max() < 0.05
    assert np.abs(growth(at[5], at[4], m) - 0.9).max() < 0.15
    assert distance(late[LAST], m).mean() < 0.7 * distance(at[5], m).mean()
