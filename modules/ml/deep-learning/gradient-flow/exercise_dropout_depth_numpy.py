"""With dropout no weight variance is critical: the largest depth scale is finite.

Two passes of one input through a tanh network with independent masks, each unit dropped
with probability p and the others divided by 1 - p. Expectations over z ~ N(0, 1) are
sums over Gauss-Hermite nodes; q, c are numbers.
"""

from collections.abc import Callable

import numpy as np

Z, P = np.polynomial.hermite_e.hermegauss(40)
P = P / P.sum()


def mean_product(f: Callable[[np.ndarray], np.ndarray], q: float, c: float) -> float:
    """Return E[f(u) f(v)] for normal u, v of variance q and correlation c."""
    u = np.sqrt(q) * Z
    return float((f(u) * P) @ f(c * u[:, None] + np.sqrt(max(1 - c * c, 0.0)) * u) @ P)


def with_dropout(w_var: float, b_var: float, p: float) -> tuple[float, float]:
    """Return c* between the two passes and the depth scale of the correlation."""
    q, c = w_var + b_var, 1.0
    for _ in range(100):
        q = w_var * float(np.tanh(np.sqrt(q) * Z) ** 2 @ P) / (1 - p) + b_var
    for _ in range(200):
        c = (w_var * mean_product(np.tanh, q, c) + b_var) / q
    slope = w_var * mean_product(lambda z: 1 - np.tanh(z) ** 2, q, c)
    return c, float(-1 / np.log(slope))


if __name__ == "__main__":
    b_var, grid, best = 0.05, np.arange(0.8, 3.0, 0.1), {}
    for p in (0.02, 0.1, 0.5):
        results = [with_dropout(w, b_var, p) for w in grid]
        k = int(np.argmax([xi for _, xi in results]))
        assert 0 < k < len(grid) - 1  # a maximum, not an end of the grid
        best[p] = results[k]
        c, xi = best[p]
        print(f"p = {p}: largest ξ_c = {xi:.1f} at σ_w² = {grid[k]:.1f}, c* = {c:.3f}")
    xi_2, xi_10, xi_50 = (best[p][1] for p in (0.02, 0.1, 0.5))
    c_10 = best[0.1][0]

    assert np.inf > xi_2 > xi_10 > xi_50 > 1 and c_10 < 0.99
    assert abs(with_dropout(1.0, b_var, 0.0)[0] - 1) < 1e-9  # without dropout c* is 1
