"""Distances by broadcasting take memory; by a matrix product they lose digits.

Shapes: x (N, D), y (M, D), distances (N, M). |x - y|^2 = |x|^2 - 2 x y + |y|^2.
"""

import numpy as np


def by_broadcasting(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return all squared distances, (N, M), through differences of shape (N, M, D)."""
    difference = x[:, None, :] - y[None, :, :]  # (N, 1, D) - (1, M, D)
    return (difference**2).sum(axis=-1)


def by_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the same through a matrix product, without the large array."""
    squares_x, squares_y = (x**2).sum(axis=1), (y**2).sum(axis=1)
    return squares_x[:, None] - 2 * (x @ y.T) + squares_y  # (N, 1) + (N, M) + (M,)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 16)), rng.normal(size=(40, 16))
    agreement = float(np.abs(by_broadcasting(x, y) - by_product(x, y)).max())
    print(f"near the origin, float64: the two differ by {agreement:.0e}")
    far = (100 + 0.01 * x).astype(np.float32)  # small distances, far from the origin
    exact = by_broadcasting(far.astype(np.float64), far.astype(np.float64))
    off_diagonal = ~np.eye(len(x), dtype=bool)
    relative = [
        float(np.max(np.abs(f(far, far) - exact)[off_diagonal] / exact[off_diagonal]))
        for f in (by_broadcasting, by_product)
    ]
    error_broadcast, error_product = relative
    lowest = float(by_product(far, far).min())
    print(f"far away, float32: relative error {error_broadcast:.0e} and {error_product:.0e}")
    print(f"smallest squared distance by the product: {lowest:.2g}")
    n, d = 10_000, 128
    difference_gib, result_gib = 4 * n * n * d / 2**30, 4 * n * n / 2**30  # float32
    print(f"N = M = {n}, D = {d}: {difference_gib:.0f} GiB against {result_gib:.2f} GiB")

    assert agreement < 1e-12 and error_broadcast < 1e-5 < 1 < error_product and lowest < 0
    assert difference_gib == d * result_gib and 0.37 < result_gib < 0.38
