"""Xavier loses signal and gradient when widths alternate; 1/n and the geometric mean do not.

A linear chain of widths D_0, ..., D_M multiplies mean squares forward by the product of
D_(l-1) * v_l and backward by the product of D_l * v_l, with v_l the variance of the weights.
"""

from itertools import pairwise
from math import prod

import numpy as np

RULES = {
    "1 / fan_in": lambda n_in, n_out: 1 / n_in,
    "1 / fan_out": lambda n_in, n_out: 1 / n_out,
    "Xavier": lambda n_in, n_out: 2 / (n_in + n_out),
    "geometric": lambda n_in, n_out: (n_in * n_out) ** -0.5,
}


def chain(widths: list[int], rule: str) -> tuple[float, float]:
    """Return the factors on mean squares, forward and backward, through the whole chain."""
    pairs = list(pairwise(widths))
    forward = prod(n_in * RULES[rule](n_in, n_out) for n_in, n_out in pairs)
    backward = prod(n_out * RULES[rule](n_in, n_out) for n_in, n_out in pairs)
    return forward, backward


def measured(widths: list[int], rule: str, rng: np.random.Generator) -> float:
    """Return the forward factor of one random chain, mean over 50 normal inputs."""
    a = rng.normal(size=(50, widths[0]))
    start = np.mean(a**2)
    for n_in, n_out in pairwise(widths):
        a = a @ (rng.normal(size=(n_in, n_out)) * RULES[rule](n_in, n_out) ** 0.5)
    return float(np.mean(a**2) / start)


if __name__ == "__main__":
    n, ratio, layers = 100, 4, 10
    widths = [n * ratio ** (i % 2) for i in range(layers + 1)]
    result = {rule: chain(widths, rule) for rule in RULES}
    seen = {rule: measured(widths, rule, np.random.default_rng(0)) for rule in RULES}
    for rule, (forward, backward) in result.items():
        print(f"{rule:12s} forward {forward:.2g}, backward {backward:.2g}", end="; ")
        print(f"one chain, forward: {seen[rule]:.2g}")
    xavier_forward, xavier_backward = result["Xavier"]
    pair = 4 * ratio / (1 + ratio) ** 2  # of a widening and a narrowing layer
    tapered_in = chain([1000, 300, 100, 10], "1 / fan_in")[1]
    print(f"Xavier, two layers: {pair:.2f}; 1000 to 10 with 1 / fan_in, backward: {tapered_in:.2g}")

    assert abs(xavier_forward - pair ** (layers / 2)) < 1e-12
    assert abs(xavier_backward / xavier_forward - 1) < 1e-12
    for rule in ("1 / fan_in", "1 / fan_out", "geometric"):
        assert np.allclose(result[rule], 1.0)
    assert abs(tapered_in - 10 / 1000) < 1e-12
    assert all(0.5 < seen[rule] / result[rule][0] < 2 for rule in RULES)
