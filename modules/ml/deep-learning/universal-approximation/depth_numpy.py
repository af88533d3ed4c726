"""A tent map composed k times has 2^k pieces: k layers need 2k units, one needs 2^k - 1.

A network is a list of layers (w, b), ReLU after all but the last. Shapes: x (N, D), w
(D_{l-1}, D_l), b (D_l,). Pieces are counted exactly for D = 1: on an interval where the
network is affine so far, each unit of the next layer changes sign at most once.
Source: Telgarsky (2016), for the sawtooth and the counting argument.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]


def forward(x: np.ndarray, layers: Layers) -> np.ndarray:
    """Return the outputs (N, K) for x (N, D)."""
    for w, b in layers[:-1]:
        x = np.maximum(x @ w + b, 0.0)  # (N, D_{l-1}) @ (D_{l-1}, D_l) -> (N, D_l)
    w, b = layers[-1]
    return x @ w + b


def sawtooth(depth: int) -> Layers:
    """Return m(m(...m(x))) on [0, 1] with m(x) = 2 ReLU(x) - 4 ReLU(x - 1/2)."""
    v, kinks = np.array([[2.0], [-4.0]]), np.array([0.0, -0.5])
    layers = [(np.ones((1, 2)), kinks)]
    layers += [(v @ np.ones((1, 2)), kinks)] * (depth - 1)  # the two factors merge
    return [*layers, (v, np.zeros(1))]


def breakpoints(layers: Layers, low: float, high: float) -> np.ndarray:
    """Return the ends of the intervals of [low, high] on which no unit changes sign."""
    points = np.array([low, high])
    for depth in range(1, len(layers)):
        w, b = layers[depth - 1]
        z = forward(points[:, None], [*layers[: depth - 1], (w, b)])  # (P, D_l)
        left, right = z[:-1], z[1:]
        row, unit = np.nonzero(left * right < 0.0)
        share = left[row, unit] / (left[row, unit] - right[row, unit])  # z is affine there
        zeros = points[row] + share * (points[row + 1] - points[row])
        points = np.unique(np.concatenate([points, zeros]))
    return points


def count_pieces(layers: Layers, low: float = 0.0, high: float = 1.0) -> int:
    """Return the number of maximal intervals on which a network (D = K = 1) is affine."""
    points = breakpoints(layers, low, high)
    values = forward(points[:, None], layers)[:, 0]
    slopes = np.diff(values) / np.diff(points)
    changes = np.abs(np.diff(slopes)) > 1e-9 * (1.0 + np.abs(slopes[1:]))
    return 1 + int(changes.sum())


def units(layers: Layers) -> int:
    """Return the number of hidden units."""
    return sum(len(b) for _, b in layers[:-1])


def shallow_units_needed(depth: int) -> int:
    """Return how many units one hidden layer needs at least for a sup error below 1/2."""
    return 2**depth - 1


def _draw() -> None:
    """Draw the sawtooth of depth 1, 3 and 5."""
    fig, axes = plt.subplots(
        3, 1, num="sawtooth", figsize=(5.6, 4.8), sharex=True, layout="constrained"
    )
    x = np.linspace(0.0, 1.0, 2**10 + 1)
    for ax, depth in zip(axes, (1, 3, 5), strict=True):
        net = sawtooth(depth)
        ax.plot(x, forward(x[:, None], net), color="C0")
        ax.axhline(0.5, color="0.5", lw=1, ls="--")
        ax.set(ylabel=f"{depth} layer{'s'[: depth > 1]}\n{units(net)} units", yticks=[0, 1])
    axes[-1].set_xlabel("x")
    plt.show()


if __name__ == "__main__":
    depths = [1, 2, 3, 5, 8, 12]
    print("layers  units  pieces  one layer: at least")
    for k in depths:
        net = sawtooth(k)
        deep_units, pieces, needed = units(net), count_pieces(net), shallow_units_needed(k)
        print(f"{k:6d}  {deep_units:5d}  {pieces:6d}  {needed:6d}")
        assert pieces == 2**k and deep_units == 2 * k
    last_depth = depths[-1]

    grid = np.arange(2**last_depth + 1) / 2**last_depth  # dyadic: exact in floating point
    alternates = forward(grid[:, None], sawtooth(last_depth))[:, 0]
    print(f"values at i / {2**last_depth}: {alternates[:6]} ...")

    rng = np.random.default_rng(0)
    random_pieces: dict[int, float] = {}
    for layers_count in (1, 2, 4, 8):  # 64 hidden units each, He weights, random kinks
        sizes = [1] + [64 // layers_count] * layers_count + [1]
        counts = []
        for _ in range(50):
            net = [
                (rng.normal(size=(d, k)) * np.sqrt(2 / d), 0.3 * rng.normal(size=k))
                for d, k in pairwise(sizes)
            ]
            assert units(net) == 64
            counts.append(count_pieces(net, -1.0, 1.0))
        random_pieces[layers_count] = float(np.mean(counts))
        print(f"64 random units, {layers_count} layers: {random_pieces[layers_count]:.1f} pieces")
    random_1, random_2, random_4, random_8 = random_pieces.values()
    largest_8 = int(np.prod([len(b) + 1 for _, b in net[:-1]]))  # eight layers of eight
    scale = np.std(np.concatenate([(w * np.sqrt(len(w) / 2)).ravel() for w, _ in net]))
    _draw()

    assert (alternates == np.arange(len(grid)) % 2).all()
    assert max(random_pieces.values()) < 64 + 1 and largest_8 == 9**8
    assert abs(scale - 1) < 0.1  # He weights
