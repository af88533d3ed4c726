"""The Jacobian of a program is a product; a mode is the end at which one starts.

Shapes: sizes = [n, d_1, ..., m]; step l has the Jacobian J_l of shape (d_l, d_{l-1}), and
J = J_M ... J_1 is (m, n). Cost counts the multiplications of the matrix products that are
executed: (r, s) @ (s, t) takes r s t.
Source: Griewank and Walther (2008); the best bracketing by dynamic programming.
"""

from functools import cache
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle


def forward_sweeps(steps: list[np.ndarray], seeds: np.ndarray) -> tuple[np.ndarray, int]:
    """Return J V for the columns of V (n, k), from the right, and its cost."""
    cost = 0
    for step in steps:
        cost += step.shape[0] * seeds.shape[0] * seeds.shape[1]
        seeds = step @ seeds  # (d_l, d_{l-1}) @ (d_{l-1}, k) -> (d_l, k)
    return seeds, cost


def reverse_sweeps(steps: list[np.ndarray], seeds: np.ndarray) -> tuple[np.ndarray, int]:
    """Return U J for the rows of U (k, m), from the left, and its cost."""
    cost = 0
    for step in reversed(steps):
        cost += seeds.shape[0] * seeds.shape[1] * step.shape[1]
        seeds = seeds @ step  # (k, d_l) @ (d_l, d_{l-1}) -> (k, d_{l-1})
    return seeds, cost


def best_bracketing(sizes: list[int]) -> int:
    """Return the least cost of J over all orders of multiplication."""

    @cache
    def cost(i: int, j: int) -> int:
        """Cost of the product of the steps from size i to size j."""
        if j - i < 2:
            return 0
        return min(
            cost(i, k) + cost(k, j) + sizes[i] * sizes[k] * sizes[j] for k in range(i + 1, j)
        )

    return cost(0, len(sizes) - 1)


def _draw_chain(ax: Axes, sizes: list[int], forward: bool) -> None:
    """Draw the matrices to scale, and the thin vectors that a sweep passes on."""
    x, gap, color = 0.0, 1.6, "C0" if forward else "C1"
    blocks = [(f"J{i + 1}", d, s) for i, (s, d) in enumerate(pairwise(sizes))][::-1]
    vector = ("v", sizes[0], 1) if forward else ("u", 1, sizes[-1])
    for name, rows, columns in [*blocks, vector] if forward else [vector, *blocks]:
        face = color if name in "uv" else "none"
        ax.add_patch(Rectangle((x, -rows / 2), columns, rows, fc=face, ec="0.5", alpha=0.9))
        if name in "uv":
            ax.text(x + columns / 2, rows / 2 + 0.4, name, ha="center", va="bottom", size=12)
        else:
            ax.text(x + columns / 2, 0, name, ha="center", va="center", size=12)
            # what the sweep passes on: a column left of the matrix, or a row below it
            corner, size = ((x - 1, -rows / 2), (0.5, rows)) if forward else (
                (x, -rows / 2 - 1), (columns, 0.5))  # fmt: skip
            ax.add_patch(Rectangle(corner, *size, fc=color, ec="none", alpha=0.45))
        x += columns + gap
    end = x - gap
    arrow = {"arrowstyle": "->", "color": color, "lw": 2}
    ax.annotate("", (0, -5.2) if forward else (end, -5.2), (end, -5.2) if forward else (0, -5.2),
                arrowprops=arrow)  # fmt: skip
    text = "forward: only columns, one sweep per input" if forward else (
        "reverse: only rows, one sweep per output")  # fmt: skip
    ax.text(end / 2, -5.7, text, ha="center", va="top", color=color, size=11)
    ax.set(xlim=(-1.2, 31), ylim=(-7.6, 5.4), aspect="equal")
    ax.set_axis_off()


def draw_modes() -> None:
    """Draw the product of three Jacobians, entered from the right and from the left."""
    fig, axes = plt.subplots(2, 1, num="chain", figsize=(5.6, 4.8), layout="constrained")
    for ax, forward in zip(axes, (True, False), strict=True):
        _draw_chain(ax, [8, 6, 6, 3], forward)
    plt.show()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    outputs, hidden = 32, [64, 64, 64]
    inputs = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    forward_costs, reverse_costs, best_costs, worst = [], [], [], 0.0
    for n in inputs:
        sizes = [n, *hidden, outputs]
        steps = [rng.normal(size=(d, s)) / np.sqrt(s) for s, d in pairwise(sizes)]
        by_columns, forward_cost = forward_sweeps(steps, np.eye(n))
        by_rows, reverse_cost = reverse_sweeps(steps, np.eye(outputs))
        one_pass = sum(step.size for step in steps)  # multiplications of one J v or u J
        assert forward_cost == n * one_pass and reverse_cost == outputs * one_pass
        worst = max(worst, float(np.abs(by_columns - by_rows).max()))
        forward_costs.append(forward_cost)
        reverse_costs.append(reverse_cost)
        best_costs.append(best_bracketing(sizes))
        if n in (1, 32, 1024):
            costs = f"forward {forward_cost:,}, reverse {reverse_cost:,}, best {best_costs[-1]:,}"
            print(f"n = {n:4}, m = {outputs}: {costs}")
    print(f"columns and rows give the same J, up to {worst:.0e}")
    gain = min(forward_costs[5], reverse_costs[5]) / best_costs[5]
    few_forward, few_reverse = forward_costs[0], reverse_costs[0]
    many_forward, many_reverse = forward_costs[-1], reverse_costs[-1]
    middle = best_bracketing([1000, 10, 1000])  # a bottleneck in the middle
    narrow = [np.ones((10, 1000)), np.ones((1000, 10))]
    middle_sweeps = forward_sweeps(narrow, np.eye(1000))[1]

    draw_modes()
    fig, ax = plt.subplots(num="cost", figsize=(6.4, 3.8), layout="constrained")
    ax.loglog(inputs, forward_costs, "o-", label="columns: n forward sweeps")
    ax.loglog(inputs, reverse_costs, "s--", label="rows: m reverse sweeps")
    ax.loglog(inputs, best_costs, "^-.", label="best order of multiplication")
    ax.axvline(outputs, color="0.5", lw=1)
    ax.text(outputs * 0.9, 1.4e4, "n = m", ha="right")
    ax.set(xlabel=f"number of inputs n (m = {outputs} outputs)", ylabel="multiplications for J")
    ax.legend(frameon=False)
    plt.show()

    assert worst < 1e-12 and middle == 1000 * 10 * 1000 and middle_sweeps == 2 * middle
    for n, f, r, b in zip(inputs, forward_costs, reverse_costs, best_costs, strict=True):
        assert f * outputs == r * n and b <= min(f, r)
    assert best_bracketing([2, 3, 4, 5]) == min(2 * 3 * 4 + 2 * 4 * 5, 3 * 4 * 5 + 2 * 3 * 5)
