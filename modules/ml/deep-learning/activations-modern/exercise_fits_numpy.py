"""The constants 1.702 and 0.044715 of GELU's approximations are fits, and not the best for GELU.

Shapes: x (M,) on [0, 6]; the error of both forms is an even function of x.
"""

import math
from collections.abc import Callable

import numpy as np

X = np.linspace(0.0, 6.0, 3001)
CDF = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in X])


def sigmoid_gate(k: float) -> np.ndarray:
    """Return sigmoid(k x) on the grid."""
    return 1 / (1 + np.exp(-k * X))


def tanh_gate(c: float) -> np.ndarray:
    """Return (1 + tanh(sqrt(2 / pi) * (x + c x**3))) / 2 on the grid."""
    return 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + c * X**3)))


def error(gate: np.ndarray, of_gelu: bool = True) -> float:
    """Return the largest error of x * gate as GELU, or of the gate as P(X <= x)."""
    return float(np.abs((gate - CDF) * (X if of_gelu else 1.0)).max())


def best(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimizer of a function with one valley, by golden-section search."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return (low + high) / 2


if __name__ == "__main__":
    k_cdf = best(lambda k: error(sigmoid_gate(k), of_gelu=False), 1.5, 2.0)
    k_gelu = best(lambda k: error(sigmoid_gate(k)), 1.5, 2.0)
    c_gelu = best(lambda c: error(tanh_gate(c)), 0.04, 0.05)
    c_taylor = 2 / (3 * math.pi) - 1 / 6
    print(f"sigmoid: best for P(X <= x) {k_cdf:.4f}, best for GELU {k_gelu:.4f}")
    k_error, k_best_error = error(sigmoid_gate(1.702)), error(sigmoid_gate(k_gelu))
    print(f"         error of GELU {k_error:.5f} with 1.702, {k_best_error:.5f} with the best")
    print(f"tanh: by Taylor {c_taylor:.6f}, best for GELU {c_gelu:.6f}")
    c_error, c_best_error = error(tanh_gate(0.044715)), error(tanh_gate(c_gelu))
    c_taylor_error = error(tanh_gate(c_taylor))
    print(f"      error {c_taylor_error:.2e}, {c_error:.2e} with 0.044715, {c_best_error:.2e}")

    assert abs(k_cdf - 1.702) < 1e-3  # the known constant of the logistic approximation
    assert abs((tanh_gate(c_taylor) - CDF)[X < 0.1]).max() < 1e-6  # cubic terms agree
    assert k_best_error < k_error and c_best_error < c_error < c_taylor_error
