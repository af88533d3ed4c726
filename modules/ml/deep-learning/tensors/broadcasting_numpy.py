"""Broadcasting repeats axes of length 1; its gradient sums over the repeated axes.

Shapes are compared from the last axis on; missing axes count as length 1. A matrix
product is a broadcast product that is summed over the shared axis.
Source: the section "Broadcasting" of the NumPy user guide.
"""

from itertools import zip_longest

import numpy as np

Shape = tuple[int, ...]


def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """Return the shape of a + b for arrays of shapes a and b."""
    lengths: list[int] = []
    for d, e in zip_longest(reversed(a), reversed(b), fillvalue=1):
        if d != e and 1 not in (d, e):
            raise ValueError(f"lengths {d} and {e} at axis {-1 - len(lengths)}")
        lengths.append(e if d == 1 else d)
    return tuple(reversed(lengths))


def unbroadcast(grad: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the gradient for an array of this shape, given that for its broadcast."""
    missing = grad.ndim - len(shape)
    stretched = [k + missing for k, d in enumerate(shape) if d == 1]
    return grad.sum(axis=(*range(missing), *stretched), keepdims=True).reshape(shape)


def matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return x @ w by broadcasting, (..., N, D) and (..., D, K) to (..., N, K)."""
    products = x[..., :, :, None] * w[..., None, :, :]  # (..., N, D, 1) * (..., 1, D, K)
    return products.sum(axis=-2)


if __name__ == "__main__":
    for first, second in [
        ((4, 3), (3,)),
        ((4, 1), (3,)),
        ((2, 1, 3), (4, 1)),
        ((4, 3), (4,)),
    ]:
        try:
            print(f"{first} and {second}: {broadcast_shape(first, second)}")
        except ValueError as error:
            print(f"{first} and {second}: error, {error}")

    rng = np.random.default_rng(0)
    x, b, g = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=(5, 3))
    grad_b = unbroadcast(g * x, b.shape)  # the loss is the sum of g * (x * b)
    step, gradient_error = 1e-5, 0.0
    for k in range(3):
        shift = step * np.eye(3)[k]
        numeric = (g * (x * (b + shift)) - g * (x * (b - shift))).sum() / (2 * step)
        gradient_error = max(gradient_error, float(abs(numeric - grad_b[k])))
    print(f"gradient of a broadcast row: against central differences {gradient_error:.1e}")

    x, w = rng.normal(size=(2, 5, 4)), rng.normal(size=(4, 3))
    product_error = float(np.abs(matmul(x, w) - x @ w).max())
    print(f"by broadcasting, {x.shape} @ {w.shape}: off by {product_error:.1e}")
    n, d, k = 256, 1024, 1024
    product_gib, result_mib = 4 * n * d * k / 2**30, 4 * n * k / 2**20  # float32
    print(f"({n}, {d}) @ ({d}, {k}): {product_gib:.0f} GiB, then {result_mib:.0f} MiB")

    assert broadcast_shape((2, 1, 3), (4, 1)) == (2, 4, 3)
    assert gradient_error < 1e-9 and product_error < 1e-14
    assert product_gib == result_mib == 1.0  # 2^8 * 2^10 * 2^10 numbers of 4 bytes
