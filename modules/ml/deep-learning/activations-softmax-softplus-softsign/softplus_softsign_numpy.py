"""Softplus, its inverse, and softsign: all digits at both ends, in float64 and in float32.

Shapes: x has any shape; results have its shape and dtype. beta > 0 sharpens softplus towards ReLU.
Sources: Dugas et al. (2001) for softplus, Glorot and Bengio (2010, Section 3.3) for softsign.
"""

import matplotlib.pyplot as plt
import numpy as np


def _decay(x: np.ndarray, beta: float) -> np.ndarray:
    """Return exp(-beta * |x|), in [0, 1]; at the cut it is 0 in float64 already."""
    return np.exp(-beta * np.minimum(np.abs(x), 800.0 / beta))


def softplus(x: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return log(1 + exp(beta * x)) / beta."""
    return np.maximum(x, 0.0) + np.log1p(_decay(x, beta)) / beta


def softplus_derivative(x: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return sigmoid(beta * x)."""
    r = _decay(x, beta)
    return np.where(x >= 0, np.ones_like(r), r) / (1.0 + r)


def softplus_inverse(y: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return the x with softplus(x) = y for y > 0; log(exp(y) - 1) would overflow."""
    return y + np.log(-np.expm1(-beta * np.minimum(y, 800.0 / beta))) / beta


def softsign(x: np.ndarray) -> np.ndarray:
    """Return x / (1 + |x|)."""
    return x / (1.0 + np.abs(x))


def softsign_derivative(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + |x|) ** 2 as a square: the power of a large number could overflow."""
    r = 1.0 / (1.0 + np.abs(x))
    return r * r


def _draw_curves() -> None:
    x = np.linspace(-5.0, 5.0, 401)
    fig, (top, bottom) = plt.subplots(
        2,
        1,
        num="curves",
        figsize=(6.4, 6.6),
        sharex=True,
        height_ratios=[5.4, 1.4],  # to the same scale
        layout="constrained",
    )
    top.plot(x, np.maximum(x, 0.0), color="0.5", lw=1.4, ls="--")
    top.plot(x, np.tanh(x), color="0.5", lw=1.4, ls=":")
    bottom.plot([-5.0, 0.0, 0.0, 5.0], [0.0, 0.0, 1.0, 1.0], color="0.5", lw=1.4, ls="--")
    bottom.plot(x, 1.0 / np.cosh(x) ** 2, color="0.5", lw=1.4, ls=":")
    for f, style in ((softplus, "C0-"), (softsign, "C1-.")):
        top.plot(x, f(x), style, lw=2.4)
    for f, style in ((softplus_derivative, "C0-"), (softsign_derivative, "C1-.")):
        bottom.plot(x, f(x), style, lw=2.4)
    top.text(0.9, 1.7, "softplus", color="C0", ha="right")
    top.text(2.7, 2.2, "ReLU")
    top.text(3.2, 0.45, "softsign", color="C1")
    top.text(3.2, 1.1, "tanh")
    bottom.text(2.3, 0.68, "softplus", color="C0")
    bottom.text(-1.7, 0.4, "softsign", color="C1", ha="right")
    for axis in (top, bottom):
        axis.axhline(0.0, color="0.5", lw=0.8)
    top.set(ylabel="f(x)", ylim=(-1.2, 4.2))
    bottom.set(xlabel="x", ylabel="f′(x)", ylim=(-0.2, 1.2))
    plt.show()


if __name__ == "__main__":
    x, h = np.linspace(-5.0, 5.0, 1000), 1e-6  # an even number: 0, where softsign'' jumps, is out
    pairs = ((softplus, softplus_derivative), (softsign, softsign_derivative))
    slopes = [(f(x + h) - f(x - h)) / (2 * h) - derivative(x) for f, derivative in pairs]
    gradient_error = float(np.abs(slopes).max())
    there_and_back = float(np.abs(softplus_inverse(softplus(x)) - x).max())
    print(f"errors: derivatives {gradient_error:.0e}, inverse {there_and_back:.0e}")

    gap = float((softplus(x) - np.maximum(x, 0.0)).max())
    print(f"softplus is at most {softplus(np.zeros(1))[0]:.4f} above ReLU, with beta = 5", end=" ")
    print(f"{softplus(np.zeros(1), 5.0)[0]:.4f}")
    rho = float(softplus_inverse(np.array(0.1)))
    slope_at_rho = float(softplus_derivative(np.array(rho)))
    print(f"softplus(rho) = 0.1 for rho = {rho:.4f}; slope there {slope_at_rho:.4f}")
    at_ten = float(softsign_derivative(np.array(10.0)))
    tanh_at_ten = float(1 / np.cosh(10.0) ** 2)
    print(f"slope at 10: softsign {at_ten:.1e}, tanh {tanh_at_ten:.1e}")
    extremes = np.array([-3e38, -1e4, -100.0, 1e-30, 100.0, 3e38], dtype=np.float32)
    print("float32 softplus:", softplus(extremes))
    print("float32 softsign:", softsign(extremes))
    for f in (softplus, softplus_derivative, softsign, softsign_derivative):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            assert np.isfinite(f(extremes)).all() and f(extremes).dtype == np.float32

    _draw_curves()

    assert gradient_error < 1e-8 and there_and_back < 1e-12 and gap < np.log(2)
    assert (
        np.allclose(softplus(x) - softplus(-x), x)
        and abs(slope_at_rho - (1 - np.exp(-0.1))) < 1e-12
    )
    assert np.allclose(softplus(np.array([-700.0])), np.exp(-700.0), rtol=1e-9)
    assert np.allclose(softplus_inverse(np.array([1e-300, 1e4])), [np.log(1e-300), 1e4])
    assert np.allclose(softsign_derivative(x), (1 - np.abs(softsign(x))) ** 2)
