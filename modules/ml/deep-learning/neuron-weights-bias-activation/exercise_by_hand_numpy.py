"""The answers by hand: a distance, and one step of gradient descent on one example.

Shapes: x, w (D,), b and y numbers. Neuron: p = sigmoid(w·x + b), cross-entropy.
"""

import numpy as np


def step(
    x: np.ndarray,
    y: float,
    w: np.ndarray,
    b: float,
    lr: float,
) -> tuple[np.ndarray, float]:
    """Return w and b after one step of gradient descent."""
    delta = 0.5 * (1.0 + np.tanh(0.5 * (w @ x + b))) - y  # sigmoid(z) - y
    return w - lr * delta * x, float(b - lr * delta)


if __name__ == "__main__":
    w, b, x = np.array([3.0, -4.0]), 10.0, np.array([2.0, 1.0])
    length = float(np.linalg.norm(w))
    offset, z = float(-b / length), float(w @ x + b)
    distance = z / length
    print(f"|w| = {length:g}, offset {offset:g}, z = {z:g}, distance {distance:g}")

    w, b, y, lr = np.array([0.5, -1.0]), 0.0, 0.0, 1.0
    before = float(w @ x + b)
    new_w, new_b = step(x, y, w, b, lr)
    new_w1, new_w2, after = float(new_w[0]), float(new_w[1]), float(new_w @ x + new_b)
    print(f"step: w = {new_w}, b = {new_b:g}; z = {before:g} -> {after:g}")

    assert np.allclose([length, offset, z, distance], [5.0, -2.0, 12.0, 2.4])
    assert np.allclose([before, *new_w, new_b, after], [0.0, -0.5, -1.5, -0.5, -3.0])
    assert np.isclose(after - before, -lr * 0.5 * (x @ x + 1))
