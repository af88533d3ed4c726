"""NumPy creates float64 and int64, and promotes mixed types.

Shapes: x (N, D), w (D, K), b (K,). The layer standardizes the columns of x first.
The PyTorch and TensorFlow files run the same steps.
"""

from collections.abc import Callable

import numpy as np


def layer(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return max(0, s w + b), where s is x with columns of mean 0 and variance 1."""
    centered = x - x.mean(axis=0)  # (N, D) - (D,): one mean per column
    scaled = centered / centered.std(axis=0)
    return np.maximum(scaled @ w + b, 0.0)  # (N, D) @ (D, K) + (K,) -> (N, K)


def outcome(action: Callable[[], object]) -> str:
    """Return what an action gives, as text, or the name of the error that it raises."""
    try:
        return str(action())
    except (TypeError, ValueError, OverflowError) as error:
        return type(error).__name__


def _overwrite() -> np.ndarray:
    x = np.array([1, 2])
    x[0] = 9
    return x


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    created = {
        "from a list": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "zeros": np.zeros((2, 3)),
        "full": np.full((2, 3), 7.0),
        "range": np.arange(6).reshape(2, 3),
        "even steps": np.linspace(0.0, 1.0, 5),
        "identity": np.eye(3),
        "random": rng.normal(size=(2, 3)),
    }
    for name, array in created.items():
        print(f"{name:12s} {array.shape!s:7s} {array.dtype}")
    x = created["from a list"]
    joined, stacked = np.concatenate([x, x]), np.stack([x, x])  # old axis, new axis
    print(f"concatenate {joined.shape}, stack {stacked.shape}, x[None] {x[None].shape}")
    print(f"x[1, -1] = {x[1, -1]}, x[:, 1] = {x[:, 1]}, x[x > 4] = {x[x > 4]}")
    total, columns = np.einsum("nd->", x), np.einsum("nd->d", x)
    print(f"sum {total}, over axis 0 {columns}, largest in each row {x.max(axis=1)}")

    int_type, float_type = np.array([1, 2]).dtype.name, np.array([1.0]).dtype.name
    mixed = (np.array([1]) + np.array([1.5])).dtype.name
    wrapped = int((np.array([100], np.int8) + np.array([100], np.int8))[0])
    small_plus_300 = outcome(lambda: np.array([1], np.int8) + 300)
    small_sum = np.array([100, 100], np.int8).sum()
    int_mean = outcome(lambda: np.array([1, 2]).mean())
    variance = float(np.array([1.0, 2.0]).var())
    overwritten = outcome(_overwrite)
    reverse = outcome(lambda: np.arange(4)[::-1])
    tenths = np.full((2**21, 2), 0.1, dtype=np.float32)
    truth = 2**21 * float(np.float32(0.1))
    down_error = abs(float(tenths.sum(axis=0)[0]) / truth - 1)
    across_error = abs(float(tenths.T.copy().sum(axis=1)[0]) / truth - 1)
    print(f"2^21 times 0.1: off by {down_error:.0e} down, {across_error:.0e} along a row")

    assert (int_type, float_type, mixed) == ("int64", "float64", "float64")
    assert variance == 0.25 and int_mean == "1.5" and reverse == "[3 2 1 0]"
    assert wrapped == -56 and small_sum == 200 and small_plus_300 == "OverflowError"
    assert down_error > 1e-3 and across_error < 1e-5
    assert np.array_equal(columns, x.sum(axis=0)) and total == 21.0
