"""A neuron measures signed distance from a hyperplane, -b / |w| away from the origin.

Shapes: points x (N, D), weights w (D,), bias b a number, pre-activations z (N,).
Source of the formulas: Bishop (2006), Section 4.1.1, where b is called w0.
"""

import matplotlib.pyplot as plt
import numpy as np


def weighted_sum(x: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    """Return the pre-activations z, (N,)."""
    return x @ w + b  # (N, D) @ (D,) -> (N,)


def signed_distance(x: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    """Return each point's distance from the hyperplane, positive on w's side: (N,)."""
    return weighted_sum(x, w, b) / np.linalg.norm(w)


def closest_point(x: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    """Return the point of the hyperplane that is closest to each x, (N, D)."""
    return x - signed_distance(x, w, b)[:, None] * w / np.linalg.norm(w)


def offset(w: np.ndarray, b: float) -> float:
    """Return the place of the hyperplane on the axis along w: negative for b > 0."""
    return float(-b / np.linalg.norm(w))


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _draw_plane(w: np.ndarray, b: float, point: np.ndarray) -> None:
    """Draw the line w·x + b = 0, its offset, w, and a point's distance from it."""
    _, ax = plt.subplots(num="plane", figsize=(5.4, 4.9), layout="constrained")
    unit, along = w / np.linalg.norm(w), np.array([-w[1], w[0]]) / np.linalg.norm(w)
    foot = offset(w, b) * unit
    for shift, style in ((0.0, "-"), (-1.0, ":"), (1.0, ":"), (2.0, ":")):
        ends = foot + shift * unit + np.outer([-4, 5], along)
        color = "0.5" if shift else "C0"
        ax.plot(*ends.T, style, color=color, lw=2 - abs(shift) / 2)
        z = shift * np.linalg.norm(w)
        label = f"z = {z:+g}".replace("-", "−") if shift else "z = 0"
        end = foot + shift * unit - 2.3 * along
        ax.text(end[0], end[1], label, rotation=-37, ha="center", va="bottom", size=10)
    arrow = {"arrowstyle": "->", "lw": 2}
    ax.annotate("", foot + unit, foot, arrowprops={**arrow, "color": "C1"})
    middle = foot + 0.5 * unit + 0.12 * along
    ax.text(middle[0], middle[1], "w / |w|", color="C1", ha="right", size=11)
    near = closest_point(point[None], w, b)[0]
    for start, end, color in ((np.zeros(2), foot, "C2"), (near, point, "C3")):
        ax.plot(*np.array([start, end]).T, "--", color=color, lw=2)
        ax.plot(*end, "o" if color == "C3" else "", color=color)
    ax.plot(0, 0, "s", ms=6, color="0.5")
    ax.text(-0.1, -0.12, "origin", ha="right", va="top")
    ax.text(0.22, 0.7, f"−b / |w| = {offset(w, b):g}", color="C2", ha="right")
    far = signed_distance(point[None], w, b)[0]
    ax.text(point[0] + 0.1, point[1] + 0.1, f"x, distance {far:+g}", color="C3")
    ax.set(
        xlabel="input 1",
        ylabel="input 2",
        aspect="equal",
        xlim=(-1.2, 4.6),
        ylim=(-1.6, 3.6),
    )
    plt.show()


def _draw_steepness() -> None:
    """Draw the sigmoid over the distance from the hyperplane for three lengths of w."""
    _, ax = plt.subplots(num="steepness", figsize=(5.4, 3.2), layout="constrained")
    r = np.linspace(-4, 4, 401)
    for length, style in ((0.5, ":"), (2.0, "-"), (20.0, "--")):
        ax.plot(r, sigmoid(length * r), style, label=f"|w| = {length:g}")
    ax.axvline(0, color="0.5", lw=1)
    ax.legend(frameon=False)
    ax.set(xlabel="signed distance from the hyperplane", ylabel="σ(|w| · distance)")
    plt.show()


if __name__ == "__main__":
    w, b, point = np.array([1.2, 1.6]), -2.0, np.array([2.6, 1.8])
    length, plane_offset = float(np.linalg.norm(w)), offset(w, b)
    z = float(weighted_sum(point[None], w, b)[0])
    distance = float(signed_distance(point[None], w, b)[0])
    projection = float(point @ w / length)
    print(f"w = {w}, b = {b}: |w| = {length:g}, offset of the line {plane_offset:+g}")
    print(f"x = {point}: z = {z:g}, projection {projection:g}, distance {distance:+g}")
    print(f"10 w, 10 b: z = {10 * z:g}, same distance", end=" ")
    print(f"{signed_distance(point[None], 10 * w, 10 * b)[0]:+g}")

    rng = np.random.default_rng(0)
    points, w5, b5 = rng.normal(size=(200, 5)), rng.normal(size=5), 0.7
    near = closest_point(points, w5, b5)
    flat = np.eye(5) - np.outer(w5, w5) / (w5 @ w5)  # removes the part along w
    rivals = near + rng.normal(size=(1000, 200, 5)) @ flat
    distances = signed_distance(points, w5, b5)
    gap = np.linalg.norm(rivals - points, axis=2) - np.abs(distances)
    smallest_gap = float(gap.min())
    print(f"5-D: no point of the plane is closer, smallest gap {smallest_gap:.1e}")
    _draw_plane(w, b, point)
    _draw_steepness()

    assert abs(distance - (projection - plane_offset)) < 1e-12 and plane_offset > 0
    assert abs(z - length * distance) < 1e-12
    assert np.allclose([length, plane_offset, distance, z], [2, 1, 2, 4])  # the labels
    assert np.abs(weighted_sum(near, w5, b5)).max() < 1e-12 and smallest_gap > 0
    lengths = np.linalg.norm(points - near, axis=1)
    assert np.allclose(lengths, np.abs(distances), rtol=1e-12)
    assert np.allclose(signed_distance(points, 10 * w5, 10 * b5), distances)
