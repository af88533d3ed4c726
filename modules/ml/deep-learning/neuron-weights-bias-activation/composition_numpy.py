"""Affine layers without an activation collapse into one; a bend between them cannot.

Shapes: x (N, D), w1 (D, H), b1 (H,), w2 (H, K), b2 (K,). A map g is affine exactly
if it maps every midpoint to the midpoint of the images; `bend` measures the violation.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

Map = Callable[[np.ndarray], np.ndarray]


def collapse(
    w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (D, K) and bias (K,) of the one layer that equals the two."""
    return w1 @ w2, b1 @ w2 + b2  # (D, H) @ (H, K) -> (D, K); (H,) @ (H, K) -> (K,)


def two_layers(
    x: np.ndarray,
    layers: tuple[np.ndarray, ...],
    activation: Map,
) -> np.ndarray:
    """Return activation(x w1 + b1) w2 + b2, (N, K)."""
    w1, b1, w2, b2 = layers
    return activation(x @ w1 + b1) @ w2 + b2


def bend(g: Map, x: np.ndarray, step: np.ndarray) -> float:
    """Return the largest |g(x + s) + g(x - s) - 2 g(x)|: zero for an affine g."""
    return float(np.abs(g(x + step) + g(x - step) - 2 * g(x)).max())


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    layers = tuple(rng.normal(size=s) for s in ((3, 8), 8, (8, 2), 2))
    x, step = rng.normal(size=(2, 100, 3))
    w, b = collapse(*layers)
    same = two_layers(x, layers, lambda z: z)
    collapse_error = float(np.abs(same - (x @ w + b)).max())
    print(f"identity between them: two layers differ from one by {collapse_error:.1e}")
    parameters_two, parameters_one = sum(p.size for p in layers), w.size + b.size
    print(f"parameters: {parameters_two} for two layers, {parameters_one} for the one")

    activations: dict[str, Map] = {
        "identity": lambda z: z,
        "tanh": np.tanh,
        "ReLU": lambda z: np.maximum(z, 0),
    }
    bends = {}
    for name, f in activations.items():
        bends[name] = bend(partial(two_layers, layers=layers, activation=f), x, step)
        print(f"{name:8s} bend {bends[name]:.1e}")
    bend_relu = bends["ReLU"]

    line = np.linspace(-2, 2, 41)[:, None]
    entries = ([[1.0, -1.0]], [0.0, 0.0], [[1.0], [1.0]], [0.0])  # w1, b1, w2, b2
    two_units = tuple(np.array(p) for p in entries)
    absolute = two_layers(line, two_units, activations["ReLU"])
    absolute_error = float(np.abs(absolute - np.abs(line)).max())
    print(f"two ReLU units and a sum give |x| to {absolute_error:.0e}")

    assert collapse_error < 1e-13 and bends["identity"] < 1e-13
    assert bends["tanh"] > 0.1 and bend_relu > 0.1 and absolute_error == 0.0
