"""Overflowing integers, lost digits, square shapes and shared memory raise no error.

Each case runs without a warning and gives a wrong result.
"""

import numpy as np


def center_in_place(x: np.ndarray) -> np.ndarray:
    """Return x minus its mean, and overwrite the caller's array."""
    x -= x.mean()
    return x


def center(x: np.ndarray) -> np.ndarray:
    """Return x minus its mean, in a new array."""
    return x - x.mean()


if __name__ == "__main__":
    dark, bright = np.array([10, 20], np.uint8), np.array([20, 20], np.uint8)
    wrapped = float((dark - bright).mean())
    signed = float((dark.astype(int) - bright).mean())
    print(f"uint8 pixels: mean difference {wrapped:g} instead of {signed:g}")

    whole = np.array([1, 2, 3])
    whole[0] = 0.9
    truncated = int(whole[0])
    print(f"0.9 written to an integer array is {truncated}")
    large, small = np.float32(1e9), np.float32(16)
    lost = float((large + small) - large)
    print(f"(1e9 + 16) - 1e9 in float32: {lost:g}; 0.1 + 0.2 == 0.3: {0.1 + 0.2 == 0.3}")

    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 3))  # square: every mistake of axes has the right shape
    per_row = x - x.mean(axis=1)  # meant: subtract from each row its mean
    left_over = float(np.abs(per_row.mean(axis=1)).max())
    kept = x - x.mean(axis=1, keepdims=True)
    largest_mean = float(np.abs(kept.mean(axis=1)).max())
    print(f"rows minus their means: up to {left_over:.2f}, with keepdims {largest_mean:.0e}")
    product_gap = float(np.abs(x * x - x @ x).max())
    print(f"x * x for x @ x: no error, off by up to {product_gap:.2f}")
    delta = rng.normal(size=(3, 8))  # (K, N): columns are examples
    python_sum, right_sum = str(np.shape(sum(delta))), str(delta.sum(axis=1).shape)
    print(f"sum(delta) has the shape {python_sum}, the bias gradient {right_sum}")

    data = np.array([1.0, 2.0, 6.0])
    center(data)
    after_center = data.tolist()
    center_in_place(data)
    after_in_place = data.tolist()
    print(f"after center: {after_center}; after center_in_place: {after_in_place}")
    rows = np.zeros((1000, 1000))
    first = rows[0]  # a view: it keeps all of rows alive
    row_entries, all_entries = first.size, first.base.size
    kept_mib = first.base.nbytes / 2**20
    print(f"a row of {first.nbytes / 2**20:.3f} MiB keeps {kept_mib:.1f} MiB in memory")

    assert wrapped == 123.0 and signed == -5.0 and truncated == 0 and lost != 16
    assert left_over > 0.1 and largest_mean < 1e-15 and product_gap > 0.1
    assert python_sum == "(8,)" and right_sum == "(3,)"
    assert after_center == [1.0, 2.0, 6.0] and after_in_place == [-2.0, -1.0, 3.0]
    assert first.base is rows and all_entries == 1000 * row_entries
    assert kept_mib == 8 * all_entries / 2**20
