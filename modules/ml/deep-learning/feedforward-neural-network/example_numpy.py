"""A network small enough for paper: 2 inputs, 3 hidden ReLU units, 2 outputs.

Shapes: x (N, 2), w1 (2, 3), b1 (3,), w2 (3, 2), b2 (2,); rows are examples.
Entry [d, k] of a weight matrix leads from unit d to unit k (in formulas from 1).
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

X = np.array([[1.0, 2.0], [3.0, -1.0]])
W1, B1 = np.array([[1.0, -1.0, 2.0], [1.0, 2.0, -1.0]]), np.array([0.0, -1.0, -1.0])
W2, B2 = np.array([[1.0, -1.0], [-1.0, 2.0], [0.0, 1.0]]), np.array([1.0, -2.0])
GAP, RADIUS = 2.6, 0.32  # of the drawing
Heights = list[float]


def _minus(number: float) -> str:
    """Write a number with a true minus sign."""
    return f"{number:g}".replace("-", "−")


def _rows(a: np.ndarray) -> list[str]:
    """Write each row, with true minus signs."""
    return [", ".join(_minus(number) for number in row) for row in a]


def _draw_weights(ax: Axes, w: np.ndarray, left: Heights, right: Heights) -> None:
    """Draw the lines of one layer, each with its weight beside the unit it leaves."""
    x0 = -GAP if w is W1 else 0.0
    for d, k in np.ndindex(w.shape):
        start, end = np.array([x0, left[d]]), np.array([x0 + GAP, right[k]])
        along = (end - start) / np.linalg.norm(end - start)
        rim = np.array([start + RADIUS * along, end - RADIUS * along])
        marked = w is W2 and (d, k) == (1, 0)
        color, width, ink = ("C1", 3.0, "C1") if marked else ("0.5", 1.0, None)
        ax.plot(*rim.T, color=color, lw=width, ls="-")
        x, y = start + 0.85 * along + 0.15 * np.array([-along[1], along[0]])
        text = _minus(float(w[d, k]))
        ax.text(x, y, text, color=ink, ha="center", va="center", size=10)


def _draw(x: np.ndarray, z1: np.ndarray, a1: np.ndarray, z2: np.ndarray) -> None:
    """Draw the network with the numbers of one example."""
    _, ax = plt.subplots(num="network", figsize=(5.2, 4.2), layout="constrained")
    two, three = [0.75, -0.75], [1.5, 0.0, -1.5]
    _draw_weights(ax, W1, two, three)
    _draw_weights(ax, W2, three, two)
    columns = ((-GAP, two, x, None), (0.0, three, a1, z1), (GAP, two, z2, None))
    for x0, heights, values, before in columns:
        for i, (y, value) in enumerate(zip(heights, values, strict=True)):
            ax.add_patch(plt.Circle((x0, y), RADIUS, fc="C0", ec="C0", alpha=0.25))
            ax.text(x0, y, _minus(value), ha="center", va="center", size=13)
            if before is not None:
                text = f"z = {_minus(before[i])}"
                ax.text(x0, y + RADIUS + 0.04, text, ha="center", va="bottom", size=10)
    names = "X = A⁽⁰⁾\n(N, 2)", "A⁽¹⁾ = f(Z⁽¹⁾)\n(N, 3)", "Z⁽²⁾\n(N, 2)"
    for x0, text in zip((-GAP, 0.0, GAP), names, strict=True):
        ax.text(x0, -2.05, text, ha="center", va="top", size=11)
    for x0, text in (
        (-GAP / 2, "W⁽¹⁾ (2, 3)\nb⁽¹⁾ (3,)"),
        (GAP / 2, "W⁽²⁾ (3, 2)\nb⁽²⁾ (2,)"),
    ):
        ax.text(x0, 2.55, text, ha="center", va="top", size=11)
    ax.set(xlim=(-GAP - 0.6, GAP + 0.6), ylim=(-2.75, 2.6), aspect="equal")
    ax.set_axis_off()
    plt.show()


if __name__ == "__main__":
    z1 = X @ W1 + B1  # (N, 2) @ (2, 3) + (3,) -> (N, 3)
    a1 = np.maximum(z1, 0.0)
    z2 = a1 @ W2 + B2  # (N, 3) @ (3, 2) + (2,) -> (N, 2)
    for name, array in (("z1", z1), ("a1", a1), ("z2", z2)):
        print(f"{name}: first example {array[0]}, second example {array[1]}")
    parameters = sum(p.size for p in (W1, B1, W2, B2))
    print(f"parameters: {parameters}")
    x_first, x_second = _rows(X)
    z1_first, z1_second = _rows(z1)
    a1_first, a1_second = _rows(a1)
    z2_first, z2_second = _rows(z2)
    marked = float(W2[1, 0])
    _draw(X[0], z1[0], a1[0], z2[0])

    by_hand = [[3 * 1 + 2 * -1 + 0 * 0 + 1, 3 * -1 + 2 * 2 + 0 * 1 - 2]]
    by_hand += [[2 * 1 + 0 * -1 + 6 * 0 + 1, 2 * -1 + 0 * 2 + 6 * 1 - 2]]
    assert np.array_equal(z2, by_hand) and parameters == 17 and marked == -1.0
    assert np.array_equal(z1 < 0, [[False, False, True], [False, True, False]])
