"""Orthogonal layers keep every singular value of a linear product at 1, normal ones none.

Weights are (n_in, n_out), rows are examples. The Jacobian of z^(M) for z^(0) of one example
is the product of W^T diag(f'(z)), (n, n). Uniform ("Haar") orthogonal matrices come from a
QR decomposition with the signs of R's diagonal moved to Q (Mezzadri 2007).
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

WIDTH, LAYERS = 100, 50


def orthogonal(n_in: int, n_out: int, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Return (n_in, n_out) weights: gain times orthonormal rows or columns, the fewer."""
    normal = rng.normal(size=(max(n_in, n_out), min(n_in, n_out)))
    q, r = np.linalg.qr(normal)
    q = q * np.sign(np.diag(r))  # makes the decomposition unique, and Q uniform
    return gain * (q if n_in >= n_out else q.T)


def gaussian(n_in: int, n_out: int, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Return (n_in, n_out) independent normal weights of variance gain^2 / n_in."""
    return rng.normal(size=(n_in, n_out)) * (gain / np.sqrt(n_in))


def relu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return max(z, 0) and its slope."""
    return np.maximum(z, 0.0), (z > 0).astype(z.dtype)


def tanh(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tanh(z) and its slope."""
    a = np.tanh(z)
    return a, 1.0 - a**2


def identity(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z and its slope, 1."""
    return z, np.ones_like(z)


def jacobian(z: np.ndarray, weights: list[np.ndarray], f: Callable) -> np.ndarray:
    """Return the Jacobian (n_out, n_in) of z^(M) for z = z^(0), with z^(l) = f(z^(l-1)) W."""
    product = np.eye(len(z))
    for w in weights:
        a, slope = f(z)
        product = w.T @ (slope[:, None] * product)  # (k, d) @ (d, n_in) -> (k, n_in)
        z = a @ w
    return product


def singular_values(init: Callable, gain: float, f: Callable, scale: float) -> np.ndarray:
    """Return the singular values of the Jacobian of LAYERS layers, largest first."""
    rng = np.random.default_rng(0)
    weights = [init(WIDTH, WIDTH, rng, gain) for _ in range(LAYERS)]
    z = scale * rng.normal(size=WIDTH)
    return np.linalg.svd(jacobian(z, weights, f), compute_uv=False)


CASES = {
    "linear, orthogonal": (orthogonal, 1.0, identity, 1.0),
    "tanh, orthogonal": (orthogonal, 1.0, tanh, 0.05),
    "ReLU, orthogonal": (orthogonal, np.sqrt(2.0), relu, 1.0),
    "linear, normal": (gaussian, 1.0, identity, 1.0),
    "tanh, normal": (gaussian, 1.0, tanh, 0.05),
}


def _draw_spectra(spectra: dict[str, np.ndarray]) -> None:  # the last two coincide
    _, ax = plt.subplots(num="spectra", figsize=(6.0, 4.2), layout="constrained")
    rank = np.arange(1, WIDTH + 1)
    styles = zip(list(spectra.items())[:4], ("o-", "s--", "^-.", "D:"), strict=True)
    for i, ((name, values), style) in enumerate(styles):
        shown = np.where(values > 1e-9, values, np.nan)
        ax.semilogy(rank, shown, style, color=f"C{i}", markevery=12, markersize=5, label=name)
    ax.set(xlabel="rank of the singular value", ylabel="singular value", ylim=(1e-10, 1e2))
    ax.legend(loc="lower right")
    plt.show()


if __name__ == "__main__":
    spectra = {name: singular_values(*case) for name, case in CASES.items()}
    for name, s in spectra.items():
        print(f"{name:19s} largest {s[0]:8.2g}, median {np.median(s):8.2g}, least {s[-1]:8.2g}")
    _draw_spectra(spectra)
    isometry_error = float(np.abs(spectra["linear, orthogonal"] - 1).max())
    tanh_top, tanh_bottom = (float(spectra["tanh, orthogonal"][i]) for i in (0, -1))
    linear_top, linear_bottom = (float(spectra["linear, normal"][i]) for i in (0, -1))
    relu_top = float(spectra["ReLU, orthogonal"][0])
    relu_small = float(np.mean(spectra["ReLU, orthogonal"] < 1e-3))

    wide = orthogonal(3, 5, np.random.default_rng(1), 2.0)
    shape_error = float(np.abs(wide @ wide.T - 4 * np.eye(3)).max())

    rng = np.random.default_rng(2)  # the QR decomposition alone is not uniform
    draws = 400
    plain = [np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(draws)]
    fixed = [orthogonal(4, 4, rng) for _ in range(draws)]
    plain_negative, fixed_negative = (
        float(np.mean([q[0, 0] < 0 for q in qs])) for qs in (plain, fixed)
    )
    plain_reflections, fixed_reflections = (
        float(np.mean(np.linalg.det(qs) < 0)) for qs in (plain, fixed)
    )
    print(f"first entry negative: QR alone {plain_negative:.0%}, signs {fixed_negative:.0%}")
    print(f"determinant -1: QR alone {plain_reflections:.0%}, signs {fixed_reflections:.0%}")

    assert isometry_error < 1e-12 and shape_error < 1e-12
    assert tanh_bottom > 0.5 and tanh_top < 1.0
    assert linear_top > 5 and linear_bottom < 1e-6 and relu_top > 5 and relu_small > 0.4
    assert 0.4 < fixed_negative < 0.6 and 0.4 < fixed_reflections < 0.6
    assert plain_negative > 0.9
