"""A difference of order 4 has its best step near u^(1/5) and a smaller lowest error.

(8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h = f' - h^4 f''''' / 30 + ..., and values in
error by at most r = u |f| add at most (2 * 8 + 2) r / 12h = 3 r / 2h.
Shapes: x is a number, steps are (B, draws).
"""

from collections.abc import Callable

import numpy as np


def five_point(f: Callable[[np.ndarray], np.ndarray], x: float, h: np.ndarray) -> np.ndarray:
    """Return the slope from four values, for each step h."""
    near, far = f(x + h) - f(x - h), f(x + 2 * h) - f(x - 2 * h)
    return (8 * near - far) / (12 * h)


def best_step(value: float, fifth: float, u: float) -> float:
    """Return the h at which h^4 |f'''''| / 30 + 3 u |f| / 2h is lowest."""
    return float((45 * u * abs(value) / (4 * abs(fifth))) ** 0.2)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, u = 1.0, float(np.finfo(float).eps / 2)
    predicted = best_step(np.sin(x), np.cos(x), u)
    centers = np.geomspace(1e-5, 1.0, 51)
    steps = centers[:, None] * rng.uniform(0.9, 1.1, (51, 40))
    errors = np.sqrt(np.mean((five_point(np.sin, x, steps) - np.cos(x)) ** 2, axis=1))
    measured, lowest = float(centers[np.argmin(errors)]), float(errors.min())
    two_point = (np.sin(x + steps) - np.sin(x - steps)) / (2 * steps) - np.cos(x)
    lowest_central = float(np.sqrt(np.mean(two_point**2, axis=1)).min())
    large = centers > 0.05
    order = float(np.polyfit(np.log(centers[large]), np.log(errors[large]), 1)[0])
    print(f"best step: predicted {predicted:.1e}, measured {measured:.1e}; order {order:.2f}")
    print(f"lowest error: {lowest:.0e}, with two values {lowest_central:.0e}")

    assert 0.25 < measured / predicted < 4 and abs(order - 4) < 0.1
    central_bound = 1.5 * np.cbrt((u * np.sin(x)) ** 2 * np.cos(x) / 3)
    assert lowest < 0.1 * lowest_central and 0.1 < lowest_central / central_bound < 1
