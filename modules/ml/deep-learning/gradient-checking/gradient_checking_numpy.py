"""Four numeric gradients agree with backpropagation; they differ in error and in cost.

Shapes: rows are examples. x is (N, D), targets N class numbers; all parameters of a
network with one tanh layer, w1 (D, H), b1, w2 (H, K), b2, stand in one vector theta (n,).
Sources: forward and central differences by Taylor's theorem; the complex step of Squire
and Trapp (1998). Steps are absolute, in units of the parameters.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Loss = Callable[[np.ndarray], Any]  # a number, complex for complex parameters


def forward_difference(f: Loss, theta: np.ndarray, h: float) -> np.ndarray:
    """Return the gradient (n,) from n + 1 values of f; the error is of order h."""
    here, grad = f(theta), np.zeros_like(theta)
    for i in range(theta.size):
        above = theta.copy()
        above[i] += h
        grad[i] = (f(above) - here) / (above[i] - theta[i])  # the step as it was rounded
    return grad


def central_difference(f: Loss, theta: np.ndarray, h: float) -> np.ndarray:
    """Return the gradient (n,) from 2n values of f; the error is of order h^2."""
    grad = np.zeros_like(theta)
    for i in range(theta.size):
        above, below = theta.copy(), theta.copy()
        above[i] += h
        below[i] -= h
        grad[i] = (f(above) - f(below)) / (above[i] - below[i])
    return grad


def complex_step(f: Loss, theta: np.ndarray, h: float = 1e-20) -> np.ndarray:
    """Return the gradient (n,) from n values of an analytic f, without a subtraction."""
    grad = np.zeros_like(theta)
    for i in range(theta.size):
        shifted = theta.astype(complex)
        shifted[i] += 1j * h
        grad[i] = f(shifted).imag / h
    return grad


def directional_difference(f: Loss, theta: np.ndarray, v: np.ndarray, h: float) -> float:
    """Return the derivative of f along v (n,) from 2 values of f, whatever n is."""
    return float((f(theta + h * v) - f(theta - h * v)) / (2 * h))


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Return |a - b| / max(|a|, |b|) with Euclidean norms, and 0 if both are zero."""
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / scale) if scale > 0 else 0.0


def entry_errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return |a_i - b_i| / max(|a_i|, |b_i|) for each entry, and 0 where both are zero."""
    scale = np.maximum(np.abs(a), np.abs(b))
    return np.abs(a - b) / np.where(scale > 0, scale, 1.0)


def loss(theta: np.ndarray, x: np.ndarray, targets: np.ndarray, h: int, k: int) -> complex:
    """Return the mean cross-entropy; theta may be complex."""
    d, rows = x.shape[1], np.arange(len(x))
    w1, b1, w2, b2 = np.split(theta, np.cumsum([d * h, h, h * k]))
    z = np.tanh(x @ w1.reshape(d, h) + b1) @ w2.reshape(h, k) + b2  # (N, K)
    z = z - z.real.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(z).sum(axis=1)) - z[rows, targets])


def gradient(theta: np.ndarray, x: np.ndarray, targets: np.ndarray, h: int, k: int) -> np.ndarray:
    """Return the gradient (n,) of the loss by backpropagation."""
    d, rows = x.shape[1], np.arange(len(x))
    w1, b1, w2, b2 = np.split(theta, np.cumsum([d * h, h, h * k]))
    a = np.tanh(x @ w1.reshape(d, h) + b1)  # (N, H)
    z = a @ w2.reshape(h, k) + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[rows, targets] -= 1.0
    delta2 = p / len(x)  # (N, K)
    delta1 = (delta2 @ w2.reshape(h, k).T) * (1.0 - a**2)  # (N, H)
    parts = x.T @ delta1, delta1.sum(axis=0), a.T @ delta2, delta2.sum(axis=0)
    return np.concatenate([part.ravel() for part in parts])


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n_examples, d, h, k = 20, 5, 8, 3
    x, targets = rng.normal(size=(n_examples, d)), rng.integers(0, k, n_examples)
    n = d * h + h + h * k + k
    theta = 0.5 * rng.normal(size=n)
    exact = gradient(theta, x, targets, h, k)

    def f(theta: np.ndarray) -> complex:
        """Return the loss as a function of the parameters alone."""
        return loss(theta, x, targets, h, k)

    forward = relative_error(forward_difference(f, theta, 1e-8), exact)
    central = relative_error(central_difference(f, theta, 1e-5), exact)
    exotic = relative_error(complex_step(f, theta), exact)
    v = rng.normal(size=n)
    along = directional_difference(f, theta, v, 1e-5)
    direction = abs(along - v @ exact) / abs(v @ exact)
    print(f"{n} parameters; relative error against backpropagation:")
    print(f"forward differences, h = 1e-8: {forward:.0e} from {n + 1} losses")
    print(f"central differences, h = 1e-5: {central:.0e} from {2 * n} losses")
    print(f"complex step, h = 1e-20: {exotic:.0e} from {n} complex losses")
    print(f"one random direction, h = 1e-5: {direction:.0e} from 2 losses")

    wrong = exact.copy()
    wrong[-k:] /= n_examples  # the last bias divided by N once more
    hidden, seen = relative_error(wrong, exact), float(entry_errors(wrong, exact).max())
    seen_along = abs(along - v @ wrong) / max(abs(along), abs(v @ wrong))
    print(f"last bias / N: norm {hidden:.2f}, entry {seen:.2f}, direction {seen_along:.2f}")

    at = np.array([-1.5])
    modulus = float(complex_step(lambda x: np.abs(x[0]), at)[0])
    cases = float(complex_step(lambda x: -x[0] if x[0].real < 0 else x[0], at)[0])
    conjugate = float(complex_step(lambda x: np.vdot(x, x), at)[0])  # x^2 has slope -3
    print(f"complex step of abs: {modulus:.0f}, of abs by cases: {cases:.0f}", end="; ")
    print(f"of x conj(x): {conjugate:.0f}")

    assert exotic < 1e-14 < central < 1e-9 < forward < 1e-6 and direction < 1e-8
    assert min(hidden, seen_along) > 0.001 and seen > 0.9
    assert (modulus, cases) == (0.0, -1.0) and abs(conjugate) < 1e-9
