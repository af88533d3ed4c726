"""The rule of y = x / |x| projects the gradient onto the sphere, and divides by the length.

Shapes: x, y and all gradients are rows (N, D). Rows are not zero.
"""

import numpy as np


def normalize(x: np.ndarray) -> np.ndarray:
    """Return each row divided by its Euclidean norm."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def normalize_rule(x: np.ndarray, grad_y: np.ndarray) -> np.ndarray:
    """Return grad_y J, with J = (I - y^T y) / |x| for each row."""
    y = normalize(x)
    along = np.sum(grad_y * y, axis=-1, keepdims=True)  # (N, 1)
    return (grad_y - along * y) / np.linalg.norm(x, axis=-1, keepdims=True)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, grad_y, h = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 1e-5
    grad = normalize_rule(x, grad_y)
    error = 0.0
    for index in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[index] = h
        numeric = np.sum((normalize(x + d) - normalize(x - d)) * grad_y) / (2 * h)
        error = max(error, float(abs(numeric - grad[index])))
    radial = float(np.abs(np.sum(grad * x, axis=-1)).max())
    halved = float((normalize_rule(2 * x, grad_y) / grad).mean())
    print(f"central differences: {error:.1e}, part along x: {radial:.1e}")
    print(f"twice the length: {halved:.2f} times the gradient")

    assert error < 1e-9 and radial < 1e-14 and abs(halved - 0.5) < 1e-12
