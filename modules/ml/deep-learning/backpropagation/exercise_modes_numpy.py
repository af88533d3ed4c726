"""Exercise 5: for one input, one forward-mode pass replaces a backward pass per output.

Shapes: t is a number, the network maps (1,) -> (H,) -> (m,): w1 (1, H), w2 (H, m). The
wanted Jacobian dy/dt has m entries. Cost counts multiply-adds of the matrix products.
"""

import numpy as np


def forward_mode(t: float, w1: np.ndarray, w2: np.ndarray) -> tuple[np.ndarray, int]:
    """Return dy/dt (m,), carried along with the value, and the cost of that."""
    a = np.tanh(np.array([t]) @ w1)  # (1,) @ (1, H) -> (H,)
    tangent = (np.ones(1) @ w1) * (1 - a**2)
    return tangent @ w2, w1.size + w2.size  # (H,) @ (H, m) -> (m,)


def reverse_mode(t: float, w1: np.ndarray, w2: np.ndarray) -> tuple[np.ndarray, int]:
    """Return dy/dt (m,) from one backward pass per output, and the cost of these."""
    a = np.tanh(np.array([t]) @ w1)
    jacobian, cost = [], 0
    for delta2 in np.eye(w2.shape[1]):  # pick one output
        delta1 = (delta2 @ w2.T) * (1 - a**2)  # (m,) @ (m, H) -> (H,)
        jacobian.append(float((delta1 @ w1.T)[0]))  # (H,) @ (H, 1) -> (1,)
        cost += w1.size + w2.size
    return np.array(jacobian), cost


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    outputs, t, h = 500, 0.3, 1e-5
    w1, w2 = rng.normal(size=(1, 32)), rng.normal(size=(32, outputs))
    forward_jacobian, forward_cost = forward_mode(t, w1, w2)
    reverse_jacobian, reverse_cost = reverse_mode(t, w1, w2)
    difference = float(np.max(np.abs(forward_jacobian - reverse_jacobian)))
    cost_ratio = reverse_cost / forward_cost
    print(f"Jacobian of {outputs} outputs: the modes differ by {difference:.1e}")
    print(f"multiply-adds: forward mode {forward_cost:,}, reverse mode {reverse_cost:,}")

    def y(t: float) -> np.ndarray:
        return np.tanh(np.array([t]) @ w1) @ w2

    numeric = (y(t + h) - y(t - h)) / (2 * h)
    assert difference < 1e-12 and cost_ratio == outputs
    assert np.max(np.abs(forward_jacobian - numeric)) < 1e-8
