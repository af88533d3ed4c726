"""A layer of sigmoid units equals a layer of tanh units with other weights.

Shapes: x (N, D), w (D, H), b (H,), outgoing weights v (H, K), outgoing bias c (K,).
"""

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) from its definition; z is small here."""
    return 1.0 / (1.0 + np.exp(-z))


def to_tanh(
    w: np.ndarray,
    b: np.ndarray,
    v: np.ndarray,
    c: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return the four arrays with which tanh(x w + b) v + c is the same function."""
    return w / 2, b / 2, v / 2, c + v.sum(axis=0) / 2


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3))
    w, b, v, c = layer = [rng.normal(size=s) for s in ((3, 6), 6, (6, 2), 2)]
    new_w, new_b, new_v, new_c = to_tanh(*layer)
    outputs = sigmoid(x @ w + b) @ v + c  # (N, H) @ (H, K) -> (N, K)
    same = np.tanh(x @ new_w + new_b) @ new_v + new_c
    difference = float(np.abs(outputs - same).max())
    print(f"largest difference: {difference:.1e}")

    assert difference < 1e-14
