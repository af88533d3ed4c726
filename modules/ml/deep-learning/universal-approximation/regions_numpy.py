"""Linear regions in the plane, counted exactly: depth raises the limit, not the typical count.

Each convex polygon on which a ReLU network is affine is cut by the zero lines of the
units of the next layer. Shapes: polygon (P, 2) corners in order; layer l has w (D_{l-1},
D_l), b (D_l,); on a polygon its input is the affine map x @ a + c, a (2, D_{l-1}).
Sources: Zaslavsky (1975) for one layer; Montufar et al. (2014) for a lower limit.
"""

from itertools import pairwise
from math import comb, prod

import matplotlib.pyplot as plt
import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]
SIDE, SEEDS = 1e4, 20  # the square [-SIDE, SIDE]^2 stands for the plane


def zaslavsky(hyperplanes: int, d: int) -> int:
    """Return the most cells into which hyperplanes cut d dimensions."""
    return sum(comb(hyperplanes, j) for j in range(d + 1))


def upper_bound(widths: list[int], d: int) -> int:
    """Return a number of regions that hidden layers of these widths cannot exceed."""
    dims = [min([d, *widths[:l]]) for l in range(len(widths))]  # of the input of layer l
    return prod(zaslavsky(h, r) for h, r in zip(widths, dims, strict=True))


def lower_bound(widths: list[int], d: int) -> int:
    """Return a number of regions that some network with these widths >= d reaches."""
    return prod((h // d) ** d for h in widths[:-1]) * zaslavsky(widths[-1], d)


def cut(polygon: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Return the parts of a polygon (P, 2) with z > 0 and z < 0; z (P,) at its corners."""
    if (z >= 0).all() or (z <= 0).all():
        return [polygon]
    parts: list[list[np.ndarray]] = [[], []]
    for i in range(len(z)):
        j = (i + 1) % len(z)
        for side, sign in enumerate((1.0, -1.0)):
            if sign * z[i] >= 0:
                parts[side].append(polygon[i])
        if z[i] * z[j] < 0:
            crossing = polygon[i] + z[i] / (z[i] - z[j]) * (polygon[j] - polygon[i])
            parts[0].append(crossing)
            parts[1].append(crossing)
    return [np.array(part) for part in parts]


def regions(layers: Layers, side: float = SIDE) -> list[np.ndarray]:
    """Return the polygons of the square on which no hidden unit changes sign."""
    square = side * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    cells = [(square, np.eye(2), np.zeros(2))]
    for w, b in layers:
        found = []
        for polygon, a, c in cells:
            pieces = [polygon]
            a, c = a @ w, c @ w + b  # (2, D_{l-1}) @ (D_{l-1}, D_l) -> (2, D_l)
            for j in range(len(b)):
                pieces = [part for p in pieces for part in cut(p, p @ a[:, j] + c[j])]
            for piece in pieces:
                active = piece.mean(axis=0) @ a + c > 0  # the centroid lies inside
                found.append((piece, a * active, c * active))
        cells = found
    return [polygon for polygon, _, _ in cells]


def random_layers(widths: list[int], rng: np.random.Generator) -> Layers:
    """Return layers with He weights and normal biases, D = 2 inputs."""
    sizes = [2, *widths]
    shapes = pairwise(sizes)
    return [(rng.normal(size=(d, k)) * np.sqrt(2 / d), rng.normal(size=k)) for d, k in shapes]


def _draw() -> None:
    """Draw the regions of two networks with 16 units."""
    fig, axes = plt.subplots(1, 2, num="regions", figsize=(5.6, 3.1), layout="constrained")
    for ax, widths in zip(axes, ([16], [4, 4, 4, 4]), strict=True):
        layers = random_layers(widths, np.random.default_rng(3))
        for polygon in regions(layers, 3.0):
            ax.fill(*polygon.T, facecolor="none", edgecolor="C0", lw=1, ls="-")
        label = f"{len(widths)} layer{'s'[: len(widths) > 1]} of {widths[0]}"
        ax.set(xlabel=f"x₁ ({label})", ylabel="x₂", aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
    plt.show()


if __name__ == "__main__":
    shapes = [[16], [8, 8], [4, 4, 4, 4], [2] * 8]
    print("widths          random nets (lowest to highest)   reachable   never more than")
    rows: dict[int, str] = {}
    means, limits, reach = {}, {}, {}
    for widths in shapes:
        m = len(widths)
        counts = [
            len(regions(random_layers(widths, np.random.default_rng(s)))) for s in range(SEEDS)
        ]
        means[m], limits[m] = float(np.mean(counts)), upper_bound(widths, 2)
        reach[m] = lower_bound(widths, 2)
        rows[m] = f"{means[m]:.0f} ({min(counts)} to {max(counts)})"
        print(f"{m} x {widths[0]:2d}  {rows[m]:20s} {reach[m]:10,} {limits[m]:10,}")
        assert max(counts) <= limits[m] and reach[m] <= limits[m]
        if m == 1:
            assert set(counts) == {zaslavsky(16, 2)}  # general position: always the maximum
    row_1, row_2, row_4, row_8 = rows.values()
    limit_1, limit_2, limit_4, limit_8 = limits.values()
    reach_1, reach_2, reach_4, reach_8 = reach.values()
    _draw()

    assert means[4] < 2 * means[1] < limits[4] / 10
