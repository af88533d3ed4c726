"""A float32 accumulator, or a second one for the lost digits, saves float16 sums.

Data: the three kinds of the experiment in float16, added one by one; errors relative to
the sum of |x_i|. Source of the second: compensated summation (Kahan), in Higham (1993).
"""

import numpy as np


def compensated(x: np.ndarray) -> np.floating:
    """Return the sum of x (n,), carrying along what each addition has rounded away."""
    total, lost = x.dtype.type(0), x.dtype.type(0)
    for value in x:
        corrected = value - lost
        new = total + corrected
        lost = (new - total) - corrected  # what was added, minus what should have been
        total = new
    return total


if __name__ == "__main__":
    n, worst = 2**14, {"float16": 0.0, "float32": 0.0, "compensated": 0.0}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kinds = (rng.uniform(size=n), rng.uniform(-1, 1, n), np.full(n, rng.uniform(0.1, 0.9)))
        for x in kinds:
            half = x.astype(np.float16)
            exact, scale = half.astype(np.float64).sum(), np.abs(half.astype(np.float64)).sum()
            sums = {
                "float16": np.add.accumulate(half, dtype=np.float16)[-1],
                "float32": np.add.accumulate(half, dtype=np.float32)[-1],
                "compensated": compensated(half),
            }
            for name, value in sums.items():
                worst[name] = max(worst[name], abs(float(value) - exact) / scale)
    for name, error in worst.items():
        print(f"{name:12s} largest relative error {error:.1e}")
    error_16, error_32, error_compensated = worst.values()

    assert error_16 > 0.1 and max(error_32, error_compensated) < 1e-3
