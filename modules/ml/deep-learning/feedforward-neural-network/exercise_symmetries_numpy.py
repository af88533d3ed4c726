"""H! times 2^H different parameter vectors compute one and the same tanh network.

Shapes: x (N, D), w1 (D, H), b1 (H,), w2 (H, K), b2 (K,); rows are examples.
"""

from itertools import permutations, product
from math import factorial, lgamma, log

import numpy as np


def network(x: np.ndarray, params: list[np.ndarray]) -> np.ndarray:
    """Return tanh(x w1 + b1) w2 + b2, (N, K)."""
    w1, b1, w2, b2 = params
    return np.tanh(x @ w1 + b1) @ w2 + b2


def twin(params: list[np.ndarray], order: list[int], signs: np.ndarray) -> list[np.ndarray]:
    """Return the parameters with hidden units in another order and with other signs."""
    w1, b1, w2, b2 = params
    return [(w1 * signs)[:, order], (b1 * signs)[order], (w2.T * signs).T[order], b2]


if __name__ == "__main__":
    rng, hidden = np.random.default_rng(0), 4
    params = [rng.normal(size=s) for s in ((3, hidden), hidden, (hidden, 2), 2)]
    x = rng.normal(size=(50, 3))
    expected, found, largest = network(x, params), set(), 0.0
    for order in permutations(range(hidden)):
        for signs in product((-1.0, 1.0), repeat=hidden):
            other = twin(params, list(order), np.array(signs))
            largest = max(largest, float(np.abs(network(x, other) - expected).max()))
            found.add(np.concatenate([p.ravel() for p in other]).tobytes())
    count, formula = len(found), factorial(hidden) * 2**hidden
    print(f"{count} different parameter vectors, formula {formula}")
    print(f"largest difference of their outputs {largest:.0e}")

    digits = len(str(factorial(100) * 2**100)) - 1
    print(f"100 hidden units: about 10^{digits}")

    w1, b1, w2, b2 = params  # ReLU: any positive factor, if the outgoing weights make up
    scale = rng.uniform(0.5, 2.0, size=hidden)
    before = np.maximum(x @ w1 + b1, 0) @ w2 + b2
    after = np.maximum(x @ (w1 * scale) + b1 * scale, 0) @ (w2.T / scale).T + b2
    relu_difference = float(np.abs(after - before).max())
    print(f"ReLU, units scaled: largest difference {relu_difference:.0e}")

    assert digits == int((lgamma(101) + 100 * log(2)) / log(10))
    assert count == formula and largest < 1e-13 and relu_difference < 1e-13
