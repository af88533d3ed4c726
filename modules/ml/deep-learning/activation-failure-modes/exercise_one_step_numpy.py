"""Centering the input multiplies the learning rate that kills this unit by six.

One ReLU unit, half the mean squared error on its own output, all targets 0. x is (3,).
"""

import numpy as np


def lowest_killing_rate(x: np.ndarray, w: float, b: float) -> float:
    """Return the rate at which one step brings the last active example to z = 0."""
    z = w * x + b
    delta = np.maximum(z, 0) / len(x)
    shift = delta.sum() + x * (delta @ x)  # the bias, and the weight
    return float((z / shift)[z > 0].max())


if __name__ == "__main__":
    x = np.array([1.0, 2.0, 3.0])
    raw = lowest_killing_rate(x, 1.0, 0.0)
    centered = lowest_killing_rate(x - 2, 1.0, 2.0)  # the same z
    print(f"raw {raw}, centered {centered}, ratio {centered / raw:.0f}")
    for rate in (raw - 0.001, raw + 0.001):
        grad_w, grad_b = (x * x).mean(), x.mean()  # z = x
        z = (1 - rate * grad_w) * x - rate * grad_b
        print(f"rate {rate:.4f}: largest z {z.max():+.4f}")

    assert abs(raw - 3 / 16) < 1e-12 and abs(centered - 9 / 8) < 1e-12
