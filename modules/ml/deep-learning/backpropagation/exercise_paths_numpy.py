"""Exercise 2: backpropagation adds the products of all paths without listing them.

Shapes: layer l of a network without biases has w (D_{l-1}, D_l); x is one example, (D_0,).
A path picks one unit per layer; its product is that of its weights and of tanh' at its
hidden units. Source of the path formula: Bauer (1974).
"""

from itertools import pairwise, product
from math import prod

import numpy as np


def slopes(x: np.ndarray, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return tanh' at the units of every hidden layer, and 1 for the linear output."""
    found, a = [], x
    for w in weights[:-1]:
        a = np.tanh(a @ w)  # (D,) @ (D, K) -> (K,)
        found.append(1 - a**2)
    return [*found, np.ones(weights[-1].shape[1])]


def sum_over_paths(x: np.ndarray, weights: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return the derivatives of the only output for x, and the number of paths added."""
    sizes, slope = [len(w) for w in weights] + [1], slopes(x, weights)
    gradient, paths = np.zeros_like(x), 0
    for path in product(*(range(size) for size in sizes)):
        edges = enumerate(pairwise(path))
        gradient[path[0]] += prod(weights[l][i, j] * slope[l][j] for l, (i, j) in edges)
        paths += 1
    return gradient, paths


def backpropagated(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Return the same derivatives from one backward pass."""
    delta = np.ones(1)
    for w, slope in zip(reversed(weights), reversed(slopes(x, weights)), strict=True):
        delta = (delta * slope) @ w.T  # (K,) @ (K, D) -> (D,)
    return delta


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    small = [3, 5, 5, 5, 1]
    weights = [rng.normal(size=shape) for shape in pairwise(small)]
    x = rng.normal(size=3)
    gradient, small_paths = sum_over_paths(x, weights)
    largest_difference = float(np.max(np.abs(gradient - backpropagated(x, weights))))
    small_edges = sum(d * k for d, k in pairwise(small))
    print(f"{small}: {small_paths} paths over {small_edges} edges; the sum over all paths")
    print(f"differs from one backward pass by {largest_difference:.1e}")

    width = 100
    large = [width, width, width, width, 1]
    large_paths, large_edges = prod(large), sum(d * k for d, k in pairwise(large))
    print(f"{large}: {large_paths:.0e} paths over {large_edges:,} edges")

    assert largest_difference < 1e-12
    assert small_paths == prod(small)
    assert (large_paths, large_edges) == (width**4, 3 * width**2 + width)
