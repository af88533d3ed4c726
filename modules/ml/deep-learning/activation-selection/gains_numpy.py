"""Two integrals of an activation predict which deep plain networks can start to learn.

For z ~ N(0, 1): the weight variance gain / n with gain = 1 / E[f(z)^2] keeps pre-activations
at second moment 1. Then chi = gain * E[f'(z)^2] multiplies, layer by layer, the squared
gradient and the squared distance of two similar inputs (Schoenholz et al., 2017).
Shapes: every function acts on each entry. Overflow-free for all finite inputs.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import erf

Function = Callable[[np.ndarray], np.ndarray]
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    r = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, r) / (1.0 + r)


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x))."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def elu(x: np.ndarray) -> np.ndarray:
    """Return x where x > 0, exp(x) - 1 elsewhere."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def selu(x: np.ndarray) -> np.ndarray:
    """Return SELU_SCALE times x or SELU_ALPHA (exp(x) - 1)."""
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0.0)))


ACTIVATIONS: dict[str, Function] = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "softplus": softplus,
    "ReLU": lambda x: np.maximum(x, 0.0),
    "Leaky ReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "PReLU at its start": lambda x: np.where(x > 0, x, 0.25 * x),
    "ELU": elu,
    "SELU": selu,
    "GELU": lambda x: x * 0.5 * (1.0 + erf(x / np.sqrt(2.0))),
    "SiLU": lambda x: x * sigmoid(x),
    "Mish": lambda x: x * np.tanh(softplus(x)),
}


def gaussian_mean(f: Function) -> float:
    """Return E[f(z)] for standard normal z, by the midpoint rule (0 is no node)."""
    step = 1e-3
    z = np.arange(-12.0 + step / 2, 12.0, step)
    return float(np.sum(f(z) * np.exp(-z * z / 2)) * step / np.sqrt(2 * np.pi))


def gain(f: Function) -> float:
    """Return 1 / E[f(z)^2], the weight variance times fan-in that keeps the signal."""
    return 1.0 / gaussian_mean(lambda z: f(z) ** 2)


def chi(f: Function) -> float:
    """Return gain * E[f'(z)^2], with f' by central differences."""
    h = 1e-5
    return gain(f) * gaussian_mean(lambda z: ((f(z + h) - f(z - h)) / (2 * h)) ** 2)


if __name__ == "__main__":
    gains = {name: gain(f) for name, f in ACTIVATIONS.items()}
    chis = {name: chi(f) for name, f in ACTIVATIONS.items()}
    print("                      gain    chi   chi^7, from hidden layer 8 to 1")
    for name in ACTIVATIONS:
        print(f"{name:18s} {gains[name]:7.3f} {chis[name]:6.3f}   {chis[name] ** 7:.1e}")
    gain_sigmoid, gain_tanh, gain_softsign, gain_softplus = [*gains.values()][:4]
    gain_relu, gain_leaky, gain_prelu, gain_elu, gain_selu = [*gains.values()][4:9]
    gain_gelu, gain_silu, gain_mish = [*gains.values()][9:]
    chi_sigmoid, chi_tanh, chi_softsign, chi_softplus = [*chis.values()][:4]
    chi_relu, chi_leaky, chi_prelu, chi_elu, chi_selu = [*chis.values()][4:9]
    chi_gelu, chi_silu, chi_mish = [*chis.values()][9:]
    left_sigmoid, left_softplus = chi_sigmoid**7, chi_softplus**7

    # a random network of 8 layers: does the gradient follow chi?
    rng, n, measured = np.random.default_rng(0), 500, {}
    for name in ("sigmoid", "tanh", "ReLU", "SELU"):
        f, z, zs = ACTIVATIONS[name], rng.normal(size=(20, n)), []
        weights = rng.normal(size=(7, n, n)) * (gains[name] / n) ** 0.5
        for w in weights:
            zs.append(z)
            z = f(z) @ w  # (N, D) @ (D, D) -> (N, D)
        g = start = rng.normal(size=z.shape)  # gradient for the last pre-activations
        for w, before in zip(weights[::-1], zs[::-1], strict=True):
            g = (g @ w.T) * (f(before + 1e-5) - f(before - 1e-5)) / 2e-5
        moved = zs[0] + 1e-6 * g  # a step along the gradient must change the output by it
        for w in weights:
            moved = f(moved) @ w
        assert abs(np.sum(start * (moved - z)) / (1e-6 * np.sum(g * g)) - 1) < 0.02
        measured[name] = float((np.sum(g * g) / np.sum(start * start)) ** (1 / 7))
    worst = max(abs(measured[name] / chis[name] - 1) for name in measured)
    print(f"random networks of width {n}: factor per layer within {worst:.0%} of chi")

    assert abs(gain_relu - 2) < 1e-5 and abs(chi_relu - 1) < 1e-5
    assert abs(gain_leaky - 2 / 1.0001) < 1e-5 and abs(gain_selu - 1) < 1e-5
    assert chi_sigmoid < 0.2 and worst < 0.1
