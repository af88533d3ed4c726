"""Random products shrink some directions and stretch others, at rates of closed form.

Matrices J are (n, n) with independent normal entries of mean 0 and variance g^2 / n: the
Jacobians of linear layers. The product of k of them has singular values that behave as
exp(k * lambda_i). lambda_1 >= ... >= lambda_n are the Lyapunov exponents (Newman 1986).
"""

import matplotlib.pyplot as plt
import numpy as np


def digamma_half(m: int) -> float:
    """Return digamma(m / 2) for natural m, by digamma(x + 1) = digamma(x) + 1 / x."""
    value = -np.euler_gamma - (2 * np.log(2) if m % 2 else 0.0)
    return float(value + sum(2.0 / j for j in range(2 - m % 2, m, 2)))


def exact_exponents(n: int, g: float) -> np.ndarray:
    """Return the n Lyapunov exponents, largest first."""
    digammas = np.array([digamma_half(n - i) for i in range(n)])
    return np.log(g) + 0.5 * (np.log(2 / n) + digammas)


def random_factors(k: int, n: int, g: float, rng: np.random.Generator) -> np.ndarray:
    """Return k matrices (k, n, n) with entries of variance g^2 / n."""
    return rng.normal(size=(k, n, n)) * (g / np.sqrt(n))


def log_stretches(factors: np.ndarray) -> np.ndarray:
    """Return log |diag R| summed over the QR steps, (k, n), one row per factor.

    The product itself, formed in floating point, would lose every singular value below
    1e-16 of the largest one.
    """
    q = np.eye(factors.shape[1])
    rows = []
    for factor in factors:
        q, r = np.linalg.qr(factor @ q)
        rows.append(np.log(np.abs(np.diag(r))))
    return np.cumsum(rows, axis=0)


if __name__ == "__main__":
    n, depth, g = 32, 100, 1.5
    exact = exact_exponents(n, g)
    rng = np.random.default_rng(0)
    factors = random_factors(2000, n, g, rng)
    measured = log_stretches(factors)[-1] / len(factors)
    exponent_error = float(np.abs(measured - exact).max())
    top, bottom = float(exact[0]), float(exact[-1])
    growing = int((exact > 0).sum())
    print(f"n = {n}, g = {g}: exponents from {top:.3f} to {bottom:.3f}, {growing} positive")
    print(f"2000 factors: largest deviation from the formula {exponent_error:.3f}")

    first = factors[:depth]
    logs = log_stretches(first)
    norms = np.linalg.norm(first, 2, axis=(1, 2))
    bound = np.cumsum(np.log(norms))
    mean_norm, log10 = float(norms.mean()), float(np.log(10))
    bound_decades = float(bound[-1]) / log10
    top_decades, bottom_decades = float(logs[-1, 0]) / log10, float(logs[-1, -1]) / log10
    print(f"mean norm of one factor {mean_norm:.2f}: bound 10^{bound_decades:.0f}")
    print(f"largest, smallest stretch 10^{top_decades:.0f}, 10^{bottom_decades:.0f}")
    formed = np.linalg.svd(np.linalg.multi_dot(first[::-1]), compute_uv=False)
    formed_decades = float(np.log10(formed[-1]))
    print(f"smallest singular value of the product as formed: 10^{formed_decades:.0f}")

    runs, k = 2000, 50  # a typical gradient against the mean, g = 1: E |J v|^2 = |v|^2
    v = np.zeros((runs, n))
    v[:, 0] = 1.0
    for _ in range(k):
        v = np.einsum("sij,sj->si", rng.normal(size=(runs, n, n)) / np.sqrt(n), v)
    squares = np.sum(v**2, axis=1)
    mean_square, median_square = float(squares.mean()), float(np.median(squares))
    typical_square = float(np.exp(2 * k * exact_exponents(n, 1.0)[0]))
    below, above = (float(q) for q in np.quantile(squares, [0.05, 0.95]))
    print(f"g = 1, {k} factors, squared norm: mean {mean_square:.2f}, median {median_square:.2f}")
    print(f"  predicted median {typical_square:.2f}; 90 % lie in {below:.3f} to {above:.2f}")

    fig, ax = plt.subplots(num="spectrum", figsize=(5.4, 4.2), layout="constrained")
    steps = np.arange(1, depth + 1)
    ax.plot(steps, bound / log10, color="0.5", linestyle="--")
    labels = {0: "direction 1", n // 2 - 1: f"direction {n // 2}", n - 1: f"direction {n}"}
    for color, marker, (i, label) in zip(("C0", "C1", "C2"), "os^", labels.items(), strict=True):
        ax.plot(steps, logs[:, i] / log10, color=color, marker=marker, markevery=20)
        ax.plot(steps, steps * exact[i] / log10, color="0.5", linewidth=0.8)
        up = -16 if i == n // 2 - 1 else 9
        ax.annotate(label, (60, logs[59, i] / log10), (0, up), textcoords="offset points")
    ax.annotate("product of norms", (40, bound[39] / log10), (-95, 8), textcoords="offset points")
    ax.set(xlabel="number of factors", ylabel="log10 of the stretch")
    plt.show()

    assert exponent_error < 0.15 and growing > 1 and bottom < -1
    assert bound_decades > top_decades + 10 and bottom_decades < -60
    assert formed_decades > bottom_decades + 20  # rounding has eaten the small directions
    assert 0.6 < median_square / typical_square < 1.6 and 0.7 < mean_square < 1.4
