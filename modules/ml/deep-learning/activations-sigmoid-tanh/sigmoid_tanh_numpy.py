"""Sigmoid, tanh and their relatives, with derivatives: no overflow and no NaN at any finite input.

Shapes: x has any shape; results have its shape and dtype. For DyT x is (N, C), gamma and beta are
(C,), alpha is (1,). Convention at the kinks of the hard versions: derivative 0.
Sources: Howard et al. (2019) for the hard sigmoid with slope 1/6, Zhu et al. (2025) for DyT.
"""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    r = np.exp(-np.abs(x))  # in [0, 1]; exp of a positive number could overflow
    return np.where(x >= 0, 1.0, r) / (1.0 + r)


def sigmoid_derivative(x: np.ndarray) -> np.ndarray:
    """Return sigmoid(x) * sigmoid(-x); sigmoid * (1 - sigmoid) is 0 once sigmoid rounds to 1."""
    r = np.exp(-np.abs(x))
    return r / (1.0 + r) ** 2


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """Return log(sigmoid(x)); its derivative is sigmoid(-x)."""
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))


def tanh(x: np.ndarray) -> np.ndarray:
    """Return 2 * sigmoid(2 * x) - 1, with all digits for tiny x too."""
    m = np.expm1(-2.0 * np.minimum(np.abs(x), 400.0))  # r**2 - 1; 400: 2 * x stays finite
    return np.copysign(-m / (2.0 + m), x)


def tanh_derivative(x: np.ndarray) -> np.ndarray:
    """Return 1 - tanh(x) ** 2 as 4 * sigmoid'(2 * x)."""
    r_squared = np.exp(-2.0 * np.minimum(np.abs(x), 400.0))
    return 4.0 * r_squared / (1.0 + r_squared) ** 2


def hard_sigmoid(x: np.ndarray, slope: float = 1 / 6) -> np.ndarray:
    """Return slope * x + 1/2, cut off at 0 and 1."""
    return np.clip(slope * x + 0.5, 0.0, 1.0)


def hard_sigmoid_derivative(x: np.ndarray, slope: float = 1 / 6) -> np.ndarray:
    """Return slope between the kinks at -1 / (2 * slope) and 1 / (2 * slope), else 0."""
    return np.where(np.abs(x) < 0.5 / slope, np.full_like(x, slope), 0.0)


def hard_tanh(x: np.ndarray) -> np.ndarray:
    """Return x, cut off at -1 and 1."""
    return np.clip(x, -1.0, 1.0)


def hard_tanh_derivative(x: np.ndarray) -> np.ndarray:
    """Return 1 between the kinks at -1 and 1, else 0."""
    return (np.abs(x) < 1.0).astype(x.dtype)


def dyt(x: np.ndarray, alpha: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Return gamma * tanh(alpha * x) + beta: stands where a normalization layer stood."""
    return gamma * tanh(alpha * x) + beta


def dyt_backward(
    grad_output: np.ndarray, x: np.ndarray, alpha: np.ndarray, gamma: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the gradients for x, alpha, gamma and beta."""
    grad_u = grad_output * gamma * tanh_derivative(alpha * x)  # for u = alpha * x, (N, C)
    return {
        "x": grad_u * alpha,
        "alpha": np.sum(grad_u * x).reshape(1),  # one alpha collects from every entry
        "gamma": np.sum(grad_output * tanh(alpha * x), axis=0),
        "beta": np.sum(grad_output, axis=0),
    }


if __name__ == "__main__":
    x = np.linspace(-8.0, 8.0, 1601)
    family = {
        "sigmoid": (sigmoid, sigmoid_derivative),
        "tanh": (tanh, tanh_derivative),
        "hard sigmoid": (hard_sigmoid, hard_sigmoid_derivative),
        "hard tanh": (hard_tanh, hard_tanh_derivative),
    }
    step, gradient_error = 1e-6, 0.0
    extremes = np.array([-1e308, -1e4, -800.0, 800.0, 1e4, 1e308])
    print("               f(-2)    f(0)    f(2)  largest f'")
    for name, (f, derivative) in family.items():
        numeric = (f(x + step) - f(x - step)) / (2 * step)
        smooth = (np.abs(np.abs(x) - 3.0) > step) & (np.abs(np.abs(x) - 1.0) > step)  # no kink
        gradient_error = max(gradient_error, float(np.max(np.abs(numeric - derivative(x))[smooth])))
        row = [*f(np.array([-2.0, 0.0, 2.0])), derivative(x).max()]
        print(f"{name:12s}" + "".join(f"{value:8.3f}" for value in row))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            assert np.all(np.isfinite(f(extremes))) and np.all(np.isfinite(derivative(extremes)))
    print(f"error against finite differences: {gradient_error:.0e}")

    identity_error = float(np.max(np.abs(tanh(x) - (2 * sigmoid(2 * x) - 1))))
    sigmoid_at_minus_800, log_sigmoid_at_minus_800 = sigmoid(extremes)[2], log_sigmoid(extremes)[2]
    print(f"at -800: sigmoid {sigmoid_at_minus_800:.1e}, its logarithm {log_sigmoid_at_minus_800}")
    gap_sixth = float(np.max(np.abs(hard_sigmoid(x) - sigmoid(x))))
    gap_fifth = float(np.max(np.abs(hard_sigmoid(x, 0.2) - sigmoid(x))))
    hard_gap = float(np.max(np.abs(hard_sigmoid(x) - hard_sigmoid(x, 0.2))))
    print(f"hard sigmoid, distance from the sigmoid: slope 1/6 {gap_sixth:.3f}", end=", ")
    print(f"slope 0.2 {gap_fifth:.3f}; from each other {hard_gap:.3f}")
    # The derivative is 1 / cosh(x / 2) ** 2 / 4, so it is 1 % of its maximum at 2 * arccosh(10).
    sigmoid_saturation = float(2 * np.arccosh(10.0))
    tanh_saturation = sigmoid_saturation / 2

    assert gradient_error < 1e-8 and identity_error < 1e-14
    assert log_sigmoid_at_minus_800 == -800.0 and 0 < sigmoid(np.array(-700.0)) < 1e-300
    # The largest gaps lie at the kink 2.5, and for slope 1/6 where sigmoid * (1 - sigmoid) = 1/6.
    s = 0.5 + np.sqrt(1 / 12)
    assert abs(hard_gap - 1 / 12) < 1e-9 and np.isclose(gap_fifth, sigmoid(np.array(-2.5)))
    assert abs(gap_sixth - (s - 0.5 - np.log(s / (1 - s)) / 6)) < 1e-5
    assert np.isclose(sigmoid_derivative(np.array(sigmoid_saturation)), 0.01 / 4)
    assert np.isclose(tanh_derivative(np.array(tanh_saturation)), 0.01)
