"""Mean and variance of a rectified Gaussian, and the two SELU constants that keep them at 0 and 1.

All inputs and outputs are scalars. z is Gaussian with mean 0 and variance nu (1 where not given).
Every closed form is compared with numerical integration, which shares no algebra with it.
Sources: He et al. (2015), Section 2.2; Klambauer et al. (2017), Eqs. 3 to 6 (omega = 0, tau = 1).
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import fsolve

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def gaussian_mean(f: Callable[[np.ndarray], np.ndarray], nu: float = 1.0) -> float:
    """Return E[f(z)] by Gauss-Legendre quadrature, one panel for each side of the kink at 0."""
    u = 6.5 * (NODES + 1)  # from 0 to 13 standard deviations, beyond which exp(-u^2 / 2) < 1e-36
    density = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    both_sides = f(math.sqrt(nu) * u) + f(-math.sqrt(nu) * u)
    return float(6.5 * np.sum(WEIGHTS * density * both_sides))


def elu(x: np.ndarray, alpha: float) -> np.ndarray:
    """Return x where x > 0, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def tail_mean(k: float, nu: float = 1.0) -> float:
    """Return E[exp(k z); z < 0] = exp(k^2 nu / 2) Phi(-k sqrt(nu))."""
    return math.exp(k**2 * nu / 2) * math.erfc(k * math.sqrt(nu / 2)) / 2


def selu_constants() -> tuple[float, float]:
    """Return (alpha, scale), the closed-form solution of E[selu(z)] = 0 and E[selu(z)^2] = 1."""
    alpha = 1 / math.sqrt(2 * math.pi) / (0.5 - tail_mean(1))
    scale = (0.5 + alpha**2 * (tail_mean(2) - 2 * tail_mean(1) + 0.5)) ** -0.5
    return alpha, scale


def selu_moments(nu: float) -> tuple[float, float]:
    """Return the mean and the variance of selu(z), in closed form."""
    alpha, scale = selu_constants()
    mean = scale * (math.sqrt(nu / (2 * math.pi)) + alpha * (tail_mean(1, nu) - 0.5))
    left_square = alpha**2 * (tail_mean(2, nu) - 2 * tail_mean(1, nu) + 0.5)
    return mean, scale**2 * (nu / 2 + left_square) - mean**2


if __name__ == "__main__":

    def fixed_point_residual(constants: np.ndarray) -> list[float]:
        alpha, scale = constants
        mean = gaussian_mean(lambda z: scale * elu(z, alpha))
        return [mean, gaussian_mean(lambda z: (scale * elu(z, alpha)) ** 2) - 1.0]

    alpha, scale = selu_constants()
    solved = fsolve(fixed_point_residual, [1.0, 1.0], xtol=1e-12)  # from plain ELU
    constants_error = float(np.max(np.abs(solved - [alpha, scale])))
    print(f"SELU  alpha {alpha:.15f}  scale {scale:.15f}")
    print(f"      solved numerically, from (1, 1): differs by {constants_error:.0e}")

    relu_mean = gaussian_mean(lambda z: np.maximum(z, 0))
    relu_second_moment = gaussian_mean(lambda z: np.maximum(z, 0) ** 2)
    relu_variance = relu_second_moment - relu_mean**2
    elu_mean = gaussian_mean(lambda z: elu(z, 1.0))
    elu_second_moment = gaussian_mean(lambda z: elu(z, 1.0) ** 2)
    elu_gain = 1 / elu_second_moment
    print("      mean    E[f(z)^2]  variance of f(z)")
    print(f"ReLU  {relu_mean:.4f}  {relu_second_moment:.4f}     {relu_variance:.4f}")
    print(
        f"ELU   {elu_mean:.4f}  {elu_second_moment:.4f}     {elu_second_moment - elu_mean**2:.4f}"
    )

    small, large = 0.25, 4.0
    print("variance of a SELU layer's outputs, layer after layer (weights of variance 1 / n):")
    for start in (small, large):
        path = [start]
        for _ in range(20):
            path.append(selu_moments(path[-1])[1])
        print("     ", "  ".join(f"{path[layer]:.3f}" for layer in (0, 1, 2, 4, 8, 16, 20)))
    h = 1e-5
    variance_slope = (selu_moments(1 + h)[1] - selu_moments(1 - h)[1]) / (2 * h)
    gradient_growth = scale**2 * (0.5 + alpha**2 * tail_mean(2))  # E[selu'(z)^2]
    print(f"a small error of the variance shrinks by {variance_slope:.6f} per layer,")
    print(f"the squared gradient grows by {gradient_growth:.4f} per layer")
    growth_in_30_layers, growth_in_100_layers = gradient_growth**30, gradient_growth**100

    assert constants_error < 1e-12
    assert abs(alpha - 1.6732632423543772) < 1e-14 and abs(scale - 1.0507009873554805) < 1e-14
    assert abs(relu_second_moment - 0.5) < 1e-13
    assert abs(relu_variance - (0.5 - 1 / (2 * math.pi))) < 1e-13
    for nu in (0.1, 1.0, 3.0):
        mean = gaussian_mean(lambda z: scale * elu(z, alpha), nu)
        variance = gaussian_mean(lambda z: (scale * elu(z, alpha)) ** 2, nu) - mean**2
        assert np.allclose(selu_moments(nu), (mean, variance), rtol=0, atol=1e-12)
    assert abs(elu_mean - (1 / math.sqrt(2 * math.pi) + tail_mean(1) - 0.5)) < 1e-13
    assert abs(1 / elu_gain - (1 + tail_mean(2) - 2 * tail_mean(1))) < 1e-13
    slope_square = gaussian_mean(
        lambda z: (scale * np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0.0)))) ** 2
    )
    assert abs(gradient_growth - slope_square) < 1e-12
    assert abs(path[-1] - 1.0) < 0.01
    assert abs(variance_slope - 0.782648) < 1e-6  # Klambauer et al. (2017), Eq. 6
