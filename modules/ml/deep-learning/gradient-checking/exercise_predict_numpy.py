"""A float32 check of a loss near 2.3 errs by less than 1 % at entries of 0.01, not of 0.0001.

Also the budget of a check: time for every coordinate, and for a few random directions.
"""

from math import erf, pi, sqrt

import numpy as np


def central_step(value: float, third: float, u: float) -> tuple[float, float]:
    """Return the best step of a central difference and the bound on its error there."""
    r = u * abs(value)
    h = float(np.cbrt(3 * r / abs(third)))
    return h, 1.5 * r / h


if __name__ == "__main__":
    u = float(np.finfo(np.float32).eps) / 2
    h, bound = central_step(2.3, 2.3, u)
    middle, small = bound / 1e-2, bound / 1e-4
    print(f"float32: h = {h:.0e}, error {bound:.0e}, relative {middle:.1%} and {small:.0%}")

    parameters, arrays, directions = 1e8, 200, 3
    years = 2 * parameters / (365 * 24 * 3600)
    minutes = 2 * arrays * directions / 60
    hidden = 0.01 * sqrt(2 / pi)  # looks 100 times better along one direction
    print(f"every coordinate: {years:.1f} years; {directions} directions: {minutes:.0f} minutes")
    print(f"a wrong gradient hides with probability {hidden:.3f}, or {hidden**directions:.0e}")

    steps = np.linspace(0.2 * h, 5 * h, 4801)
    errors = steps**2 / 6 * 2.3 + u * 2.3 / steps
    assert abs(steps[np.argmin(errors)] / h - 1) < 0.01
    assert abs(errors.min() / bound - 1) < 1e-3
    assert u == 2.0**-24 and erf(0.01 / sqrt(2)) < hidden < 1.001 * erf(0.01 / sqrt(2))
    assert 6 < years < 7 and minutes == 20 and small > 0.1 and middle < 0.01
