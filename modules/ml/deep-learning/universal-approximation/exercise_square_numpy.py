"""m + 1 sawteeth sum to x^2 on [0, 1] with the error 4^-(m+1): depth pays for smooth targets.

S_m(x) = x - sum_{s=1}^m T_s(x) / 4^s, with T_s the tent map applied s times; it is the polygon
through x^2 at the 2^m + 1 points i / 2^m. Source: Yarotsky (2017). x is (N,).
"""

import numpy as np


def square(x: np.ndarray, depth: int) -> np.ndarray:
    """Return S_m(x) with m = depth, from 3 units per layer (two for T, one for the sum)."""
    total, tooth = x.copy(), x.copy()
    for s in range(1, depth + 1):
        tooth = 2.0 * np.maximum(tooth, 0.0) - 4.0 * np.maximum(tooth - 0.5, 0.0)
        total -= tooth / 4.0**s
    return total


def product(x: np.ndarray, y: np.ndarray, depth: int) -> np.ndarray:
    """Return an approximation of x y on [0, 1]^2: ((x + y) / 2)^2 - ((x - y) / 2)^2."""
    return square((x + y) / 2, depth) - square(np.abs(x - y) / 2, depth)


if __name__ == "__main__":
    x = np.linspace(0.0, 1.0, 2**16 + 1)
    depths = [1, 2, 4, 6, 8]
    errors = [float(np.max(np.abs(square(x, m) - x**2))) for m in depths]
    for m, error in zip(depths, errors, strict=True):
        print(
            f"depth {m}, {3 * m:2d} units: error {error:.2e}, one layer of {2**m} units: the same"
        )
    a, b = np.random.default_rng(0).uniform(size=(2, 10_000))
    product_error = float(np.max(np.abs(product(a, b, 8) - a * b)))
    error_8, units_8, shallow_8 = errors[-1], 3 * 8, 2**8
    print(f"product of two inputs, depth 8: {product_error:.1e}")

    assert np.allclose(errors, [4.0 ** -(m + 1) for m in depths])
    assert np.allclose(square(np.arange(17) / 16, 4), (np.arange(17) / 16) ** 2, atol=1e-15)
    assert product_error <= 2 * error_8
