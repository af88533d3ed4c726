"""Every rectifier has its own weight variance, 1 / (n E[f(z)^2]), that holds pre-activations at 1.

Setup: 50 dense layers of width 300, 300 Gaussian inputs (N, 300), weights of variance gain / n, no
training. z is the pre-activation of the last layer; E[f(z)^2] is for z ~ N(0, 1).
"""

from collections.abc import Callable

import numpy as np


def leaky_relu(z: np.ndarray, slope: float) -> np.ndarray:
    """Return z where z > 0, else slope * z."""
    return np.where(z > 0, z, slope * z)


def elu(z: np.ndarray) -> np.ndarray:
    """Return z where z > 0, else exp(z) - 1."""
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0.0)))


def second_moment(f: Callable[[np.ndarray], np.ndarray], variance: float = 1.0) -> float:
    """Return E[f(z)^2] for z ~ N(0, variance), by the trapezoidal rule on 20,001 points."""
    u = np.linspace(-10.0, 10.0, 20_001)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.trapezoid(f(np.sqrt(variance) * u) ** 2 * density, u))


def last_pre_activation(
    f: Callable[[np.ndarray], np.ndarray], gain: float, input_std: float, depth: int = 50
) -> np.ndarray:
    """Return the pre-activations (N, 300) of the last of depth layers."""
    rng = np.random.default_rng(0)
    h = input_std * rng.normal(size=(300, 300))
    for _ in range(depth):
        z = h @ rng.normal(0.0, np.sqrt(gain / 300), size=(300, 300))  # (N, n) @ (n, n) -> (N, n)
        h = f(z)
    return z


if __name__ == "__main__":
    leaky_gain = 1 / second_moment(lambda z: leaky_relu(z, 0.3))
    leaky_formula = 2 / (1 + 0.3**2)
    elu_gain = 1 / second_moment(elu)
    print(
        f"leaky ReLU, slope 0.3: gain {leaky_gain:.4f}, formula 2 / (1 + a^2) {leaky_formula:.4f}"
    )
    print(f"ELU: gain {elu_gain:.4f}")

    # One layer sends the variance v of z to elu_gain * E[elu(z)^2], which is 1 for v = 1.
    h = 1e-4
    slope = elu_gain * (second_moment(elu, 1 + h) - second_moment(elu, 1 - h)) / (2 * h)
    print(f"ELU: an error of the variance shrinks by {slope:.3f} per layer")

    small, large = (last_pre_activation(elu, elu_gain, std) for std in (0.5, 2.0))
    elu_from_small, elu_from_large = float(np.mean(small**2)), float(np.mean(large**2))
    elu_mean = float(np.mean(elu(large)))
    print(
        f"ELU, 50 layers: E[z^2] {elu_from_small:.2f} from 1/4, {elu_from_large:.2f} from 4", end=""
    )
    print(f"; mean activation {elu_mean:.2f}")
    leaky = [
        last_pre_activation(lambda z: leaky_relu(z, 0.3), leaky_gain, std) for std in (0.5, 2.0)
    ]
    leaky_ratio = float(np.mean(leaky[1] ** 2) / np.mean(leaky[0] ** 2))
    print(f"leaky ReLU, 50 layers: the two starts are still {leaky_ratio:.1f} apart")

    assert abs(leaky_gain - leaky_formula) < 1e-6
    assert slope < 1.0
    assert 0.5 < elu_from_small < 1.5 and 0.5 < elu_from_large < 1.5
    assert abs(elu_from_small - elu_from_large) < 0.3  # both starts meet
    assert 0.05 < elu_mean < 0.25  # theory, at variance 1: 0.16
    assert abs(leaky_ratio - 16.0) < 1e-6  # homogeneous: the scale of the input is never forgotten
