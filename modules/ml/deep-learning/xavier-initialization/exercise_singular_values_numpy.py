"""The 0.8 and 0.5 of the paper fit the quarter-circle law: 8/(3 pi) times the gain.

For a wide square matrix of independent weights with variance gain**2 / n the singular values
have the density sqrt(4 - s**2) / pi on [0, 2], times the gain. J of a tanh layer is w.T * f'(z).
"""

import numpy as np


def averages(j: np.ndarray) -> tuple[float, float, float]:
    """Return mean, rms and geometric mean of the singular values of a square matrix."""
    s = np.linalg.svd(j, compute_uv=False)
    return float(s.mean()), float(np.sqrt(np.mean(s**2))), float(np.exp(np.log(s).mean()))


def jacobian(bound: float, a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return da_next/da for one example a (n,), outputs by inputs, of one tanh layer."""
    w = rng.uniform(-bound, bound, size=(len(a), len(a)))
    return (w * (1 - np.tanh(a @ w) ** 2)).T


if __name__ == "__main__":
    n, rng = 300, np.random.default_rng(0)
    law = 8 / (3 * np.pi)
    linear = averages(rng.uniform(-1, 1, size=(n, n)) * np.sqrt(3 / n))
    print(f"linear, variance 1/n: mean {linear[0]:.3f}, rms {linear[1]:.3f}", end=", ")
    print(f"geometric {linear[2]:.3f}; law {law:.3f}, 1, {np.exp(-0.5):.3f}")
    mean, rms, geometric = linear
    standard_law, volume_law = law / np.sqrt(3), float(np.exp(-0.5))
    a = 0.4 * rng.normal(size=n)
    tanh_normalized = averages(jacobian(np.sqrt(6 / (n + n)), a, rng))[0]
    tanh_standard = averages(jacobian(1 / np.sqrt(n), a, rng))[0]
    print(f"tanh layer: normalized {tanh_normalized:.2f}, standard {tanh_standard:.2f}")

    assert abs(mean - law) < 0.02 and abs(rms - 1) < 0.02 and abs(geometric - volume_law) < 0.03
    assert 0.65 < tanh_normalized < law and 0.4 < tanh_standard < standard_law
