"""GELU, Swish and Mish in stable form: no overflow, and digits kept far to the left.

Shapes: every function is elementwise and keeps shape and dtype of the array x. NumPy has no
error function, so math.erfc of the standard library is applied entry by entry.
Sources: Hendrycks and Gimpel (2016), Section 2; Ramachandran et al. (2017); Misra (2020).
"""

import math

import numpy as np

CUBIC = 0.044715
ERFC = np.vectorize(math.erfc, otypes=[float])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    r = np.exp(-np.abs(x))  # in (0, 1]
    return np.where(x >= 0, 1.0, r) / (1 + r)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Return P(X <= x) for X ~ N(0, 1); (1 + erf) / 2 would cancel on the left."""
    return (0.5 * ERFC(-x / math.sqrt(2))).astype(x.dtype)


def gelu(x: np.ndarray) -> np.ndarray:
    """Return x * P(X <= x)."""
    return x * normal_cdf(x)


def gelu_derivative(x: np.ndarray) -> np.ndarray:
    """Return P(X <= x) + x * density(x)."""
    t = np.clip(x, -40.0, 40.0)  # the density is 0 beyond, where x * x might overflow
    return normal_cdf(x) + t * np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)


def _gate_argument(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return v = 2 * sqrt(2 / pi) * (x + 0.044715 * x**3) and dv/dx."""
    t = np.clip(x, -40.0, 40.0)  # the gate is 0 or 1 beyond, where x**3 might overflow
    c = 2 * math.sqrt(2 / math.pi)
    return c * (t + CUBIC * t * t * t), c * (1 + 3 * CUBIC * t * t)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """Return x / 2 * (1 + tanh(v / 2)) as x * sigmoid(v), which does not cancel."""
    return x * sigmoid(_gate_argument(x)[0])


def gelu_tanh_derivative(x: np.ndarray) -> np.ndarray:
    """Return s + x * s * (1 - s) * dv/dx with s = sigmoid(v)."""
    v, slope = _gate_argument(x)
    return sigmoid(v) * (1 + x * sigmoid(-v) * slope)


def swish(x: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return x * sigmoid(beta * x): SiLU for beta = 1, a rough GELU for 1.702."""
    return x * sigmoid(beta * x)


def swish_derivative(x: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return s + beta * x * s * (1 - s) with s = sigmoid(beta * x)."""
    return sigmoid(beta * x) * (1 + beta * x * sigmoid(-beta * x))


def _mish_gate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return w = tanh(log(1 + exp(x))) and 1 - w * w from one exponential."""
    r = np.exp(-np.abs(x))
    m = np.where(x >= 0, r, 1.0)  # where x >= 0, fractions are divided by exp(2x)
    u2 = (1 + r) ** 2  # stands for (1 + exp(x)) ** 2
    w = np.where(x >= 0, 1 + 2 * r, r * (r + 2)) / (u2 + m * m)
    return w, 4 * u2 * (m / (u2 + m * m)) ** 2


def mish(x: np.ndarray) -> np.ndarray:
    """Return x * tanh(log(1 + exp(x)))."""
    return x * _mish_gate(x)[0]


def mish_derivative(x: np.ndarray) -> np.ndarray:
    """Return w + x * (1 - w * w) * sigmoid(x) with the gate w."""
    w, one_minus_w2 = _mish_gate(x)
    return w + x * one_minus_w2 * sigmoid(x)


if __name__ == "__main__":
    family = {
        "GELU": (gelu, gelu_derivative),
        "GELU, tanh": (gelu_tanh, gelu_tanh_derivative),
        "SiLU": (swish, swish_derivative),
        "Mish": (mish, mish_derivative),
    }
    x, h, gradient_error = np.linspace(-8.0, 8.0, 161), 1e-5, 0.0
    probe = np.array([-1.0, 1.0, -10.0])
    extremes = np.array([-1e300, -1e4, -40.0, 40.0, 1e4, 1e300])
    print("              f(-1)     f(1)   f'(-1)    f'(1)      f(-10)")
    for name, (f, df) in family.items():
        error = np.abs((f(x + h) - f(x - h)) / (2 * h) - df(x)).max()
        gradient_error = max(gradient_error, float(error))
        row = (*f(probe)[:2], *df(probe)[:2], f(probe)[2])
        print(f"{name:10s}" + "{:9.4f}{:9.4f}{:9.4f}{:9.4f}{:12.1e}".format(*row))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            assert np.allclose(f(extremes), np.maximum(extremes, 0.0), atol=1e-10)
            assert np.allclose(df(extremes), extremes > 0, atol=1e-10)
    print(f"largest error against finite differences: {gradient_error:.1e}")
    gelu_minus, gelu_plus, gelu_left = (float(v) for v in gelu(probe)[[0, 1, 2]])
    silu_minus, silu_plus = (float(v) for v in swish(probe)[:2])
    six, half = np.float32(-6.0), np.float32(0.5)  # 32 bits, as on most hardware
    erf_of_six = np.float32(math.erf(-6.0 / math.sqrt(2)))
    cancelled, kept = float(six * half * (1 + erf_of_six)), float(gelu(np.array(six)))
    print(f"GELU(-6) in 32 bits: {cancelled:.1e} with 1 + erf, {kept:.1e} with erfc")

    assert gradient_error < 1e-8
    for f in (gelu, gelu_tanh, swish, lambda v: swish(v, 1.702)):
        assert np.allclose(f(x) - f(-x), x, atol=1e-12)  # F(-x) = 1 - F(x)
    assert np.allclose(swish(x, 3.0), swish(3.0 * x) / 3.0, atol=1e-12)
    assert cancelled == 0.0 and abs(kept / -5.919e-9 - 1) < 1e-3
