"""Half a point of error needs thousands of test digits to show."""

import numpy as np


def standard_error(p: float, n: int) -> float:
    """Return the standard deviation of an error rate p measured on n independent examples."""
    return float(np.sqrt(p * (1 - p) / n))


def examples_needed(p: float, q: float) -> int:
    """Return the size of each of two test sets at which the gap is two standard errors."""
    return int(np.ceil(4 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2))


if __name__ == "__main__":
    mistakes, n = 13, 360
    worse, better = 0.031, 0.026
    p = mistakes / n
    se = standard_error(p, n)
    low, high = 100 * (p - 2 * se), 100 * (p + 2 * se)
    needed = examples_needed(worse, better)
    print(f"{mistakes} of {n}: {p:.1%}, plus or minus two standard errors {2 * se:.1%}")
    print(f"{worse:.1%} against {better:.1%}, two test sets: {needed:,} digits each")

    rng = np.random.default_rng(0)
    simulated = rng.binomial(n, p, size=100_000) / n
    first, second = (rng.binomial(needed, q, size=100_000) / needed for q in (worse, better))
    assert abs(simulated.std() / se - 1) < 0.01
    assert abs((first - second).mean() / (first - second).std() - 2) < 0.02
