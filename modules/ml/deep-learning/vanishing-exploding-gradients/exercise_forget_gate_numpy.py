"""A forget gate sets how long a gradient lives: its bias is a half-life.

An LSTM's cell c_t = f_t c_{t-1} + ... passes on the factor f_t = sigmoid(bias) per step
if the rest of the gate's input is 0.
"""

import numpy as np


def half_life(bias: float) -> float:
    """Return the number of steps after which sigmoid(bias)^k is 1/2."""
    return float(np.log(2) / np.log1p(np.exp(-bias)))


def bias_for(steps: float) -> float:
    """Return the bias with that half-life."""
    return float(-np.log(np.expm1(np.log(2) / steps)))


if __name__ == "__main__":
    life_0, life_1, bias_100 = half_life(0.0), half_life(1.0), bias_for(100.0)
    print(f"half-life: {life_0:.1f} steps for bias 0, {life_1:.1f} for bias 1")
    print(f"half-life of 100 steps: bias {bias_100:.2f}")

    assert abs(life_0 - 1) < 1e-12 and abs(half_life(bias_100) - 100) < 1e-9
    assert abs((1 / (1 + np.exp(-1.0))) ** life_1 - 0.5) < 1e-12
