"""The perceptron stops after at most (R / margin)^2 mistakes on separable data.

Shapes: x (N, D) with the constant 1 as its first column, so that w[0] is the bias;
labels y (N,) are +1 or -1; w (D,). An example on the boundary counts as a mistake.
Source of the bound: Novikoff (1962).
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes


def with_constant(x: np.ndarray) -> np.ndarray:
    """Return x (N, D) with a first column of ones: (N, D + 1)."""
    return np.column_stack([np.ones(len(x)), x])


def predict(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the label of each row of x: +1 where x @ w > 0, else -1, shape (N,)."""
    return np.where(x @ w > 0, 1, -1)  # (N, D) @ (D,) -> (N,)


def train(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, lr: float = 1.0, max_epochs: int = 1000
) -> tuple[np.ndarray, int, bool]:
    """Go through the examples until none is a mistake; return w, mistakes, and if it ended."""
    w, mistakes = w.astype(float), 0  # a copy
    for _ in range(max_epochs):
        before = mistakes
        for x_n, y_n in zip(x, y, strict=True):
            if y_n * (x_n @ w) <= 0:
                w += lr * y_n * x_n
                mistakes += 1
        if mistakes == before:
            return w, mistakes, True
    return w, mistakes, False


def margin(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> float:
    """Return the smallest signed distance to the hyperplane of u; positive if u separates."""
    return float(np.min(y * (x @ u)) / np.linalg.norm(u))


def mistake_bound(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> float:
    """Return (R / margin)^2 for any u that separates the data."""
    radius = np.max(np.linalg.norm(x, axis=1))
    return float((radius / margin(x, y, u)) ** 2)


def _draw_correction(x: np.ndarray, y: np.ndarray, before: np.ndarray, i: int) -> None:
    """Draw the boundary and the weights before and after the correction of example i."""
    fig, axes = plt.subplots(
        1, 2, num="correction", figsize=(5.4, 3.2), layout="constrained", sharey=True
    )
    _draw_boundary(axes[0], x, y, before, "w")
    _draw_boundary(axes[1], x, y, before + y[i] * x[i], "w + x")
    for ax in axes:
        ax.plot(*x[i], "o", ms=17, mfc="none", mec="C3", mew=2)
    axes[0].text(x[i, 0] - 0.2, x[i, 1] + 0.42, "mistake", color="C3", ha="center")
    start, end = before.tolist(), (before + x[i]).tolist()
    axes[1].annotate("", end, start, arrowprops={"arrowstyle": "->", "ls": "--"})
    axes[1].text((start[0] + end[0]) / 2 + 0.12, (start[1] + end[1]) / 2 + 0.05, "+ x")
    plt.show()


def _draw_boundary(ax: Axes, x: np.ndarray, y: np.ndarray, w: np.ndarray, name: str) -> None:
    """Draw points, the line with x @ w = 0, and w as an arrow at right angles to it."""
    for label, marker, color in ((1, "P", "C0"), (-1, "_", "C1")):
        ax.plot(*x[y == label].T, marker, color=color, ms=9, mew=2 if label < 0 else 1)
    along = np.array([-w[1], w[0]]) / np.linalg.norm(w)
    ax.plot(*np.outer(along, [-3, 3]), color="0.5")
    ax.annotate("", w.tolist(), (0, 0), arrowprops={"arrowstyle": "->", "lw": 2, "shrinkA": 0})
    ax.text(w[0] + 0.08, w[1] + 0.08, name, size=12)
    ax.set(xlim=(-1.7, 1.9), ylim=(-1.7, 1.9), aspect="equal", xlabel="input 1")
    if name == "w":
        ax.set_ylabel("input 2")


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    planted = np.array([0.2, 1.0, -2.0])  # bias, then two weights
    x = with_constant(rng.uniform(-1, 1, size=(300, 2)))
    distances = x @ planted / np.linalg.norm(planted)
    x, y = x[np.abs(distances) > 0.05], np.sign(distances[np.abs(distances) > 0.05])
    n = len(x)

    w, mistakes, ended = train(x, y, np.zeros(3))
    errors = int(np.sum(predict(x, w) != y))
    bound, own_bound = mistake_bound(x, y, planted), mistake_bound(x, y, w)
    print(f"{n} examples: {mistakes} mistakes, then {errors} errors; w = {w.round(2)}")
    print(f"bound from the planted line: {bound:.0f}; from the line found: {own_bound:.0f}")

    points = np.array([[0.9, 1.1], [1.5, 0.3], [-0.4, 1.3], [0.3, 0.8]])
    points = np.vstack([points, [[-1.2, 0.3], [-1.0, -0.9], [0.1, -1.3], [-0.5, -0.6]]])
    labels = np.repeat([1, -1], 4)
    before = np.array([1.0, -0.6])
    score_before = float(points[2] @ before)
    score_after = float(points[2] @ (before + points[2]))
    print(f"one correction: score {score_before:.2f} -> {score_after:.2f}")
    _draw_correction(points, labels, before, 2)

    assert ended and errors == 0 and 0 < mistakes <= min(bound, own_bound)
    assert np.isclose(score_after - score_before, points[2] @ points[2])
    assert predict(points, before)[2] != labels[2] and score_before < 0 < score_after
    assert (predict(points, before + points[2]) == labels).all()
