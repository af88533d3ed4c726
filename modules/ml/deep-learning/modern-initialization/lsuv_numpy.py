"""LSUV gives each layer unit variance on data, for any activation, without a formula.

Layer by layer: orthogonal weights, one forward pass, division by the standard deviation
of the layer's pre-activations (Mishkin and Matas 2016, Algorithm 1). Rows are examples,
x (N, D), weights (n_in, n_out). Data: scikit-learn's digits.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits

WIDTH, LAYERS = 100, 20


def orthogonal(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n_in, n_out) weights with orthonormal rows or columns, the fewer."""
    q, r = np.linalg.qr(rng.normal(size=(max(n_in, n_out), min(n_in, n_out))))
    q = q * np.sign(np.diag(r))
    return q if n_in >= n_out else q.T


def lsuv(
    x: np.ndarray,
    weights: list[np.ndarray],
    f: Callable[[np.ndarray], np.ndarray],
    tolerance: float = 0.01,
    most: int = 10,
) -> tuple[list[np.ndarray], list[int]]:
    """Return rescaled weights and the number of divisions that each layer needed."""
    scaled, counts = [], []
    for w in weights:
        for count in range(most + 1):
            z = x @ w  # (N, n_in) @ (n_in, n_out) -> (N, n_out)
            if abs(z.var() - 1) < tolerance or count == most:
                break
            w = w / z.std()  # over all examples and units
        scaled.append(w)
        counts.append(count)
        x = f(z)
    return scaled, counts


def statistics(
    x: np.ndarray, weights: list[np.ndarray], f: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each layer's standard deviation, and the share of its variance over examples."""
    spread, share = [], []
    for w in weights:
        z = x @ w
        spread.append(z.std())
        share.append(z.var(axis=0).mean() / z.var())
        x = f(z)
    return np.array(spread), np.array(share)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ReLU": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "softplus": lambda z: np.logaddexp(0.0, z),
    "sine": np.sin,
}

if __name__ == "__main__":
    images = load_digits().data
    x = (images - images.mean(axis=0)) / images.std()  # (1797, 64)
    first, held_out = x[:200], x[200:800]
    before, after, over_examples, divisions = {}, {}, {}, 0
    for name, f in ACTIVATIONS.items():
        rng = np.random.default_rng(0)
        sizes = [64] + [WIDTH] * LAYERS
        weights = [orthogonal(n_in, n_out, rng) for n_in, n_out in pairwise(sizes)]
        scaled, counts = lsuv(first, weights, f)
        divisions = max(divisions, *counts)
        before[name] = float(statistics(held_out, weights, f)[0][-1])
        spread, share = statistics(held_out, scaled, f)
        after[name], over_examples[name] = float(spread[-1]), float(share[-1])
        print(
            f"{name:9s} std of layer {LAYERS}: {before[name]:.2g}, with LSUV {after[name]:.2f};"
            f" over examples {over_examples[name]:.2%}"
        )
    print(f"most divisions that a layer needed: {divisions}")
    relu_before, tanh_before, softplus_before, sine_before = before.values()
    relu_after, tanh_after, softplus_after, sine_after = after.values()
    relu_share, tanh_share, softplus_share, sine_share = over_examples.values()

    assert divisions == 1  # z is linear in w, so one division is exact
    assert all(0.8 < s < 1.25 for s in after.values())
    assert relu_before < 0.01 and tanh_before < 0.3 and sine_before < 0.4
    assert relu_share < 0.3 and softplus_share < 0.01 and tanh_share > 0.7
