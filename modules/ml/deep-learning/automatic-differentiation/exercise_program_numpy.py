"""Exercise 5: autodiff differentiates the program, which may lag behind its value.

Newton's iteration t <- (t + x/t) / 2 from t = 1 tends to sqrt(x). All values are numbers.
"""

import math


def root(x: float, steps: int) -> tuple[float, float]:
    """Return the iterate and its derivative for x, by forward mode from tangent 1."""
    t, tangent = 1.0, 0.0  # the start does not depend on x
    for _ in range(steps):
        quotient, quotient_tangent = x / t, (1.0 - x / t * tangent) / t
        t, tangent = (t + quotient) / 2, (tangent + quotient_tangent) / 2
    return t, tangent


if __name__ == "__main__":
    for x in (1.0, 2.0):
        exact = math.sqrt(x), 0.5 / math.sqrt(x)
        for steps in (0, 1, 3, 5):
            value, slope = root(x, steps)
            errors = f"{abs(value - exact[0]):.0e}, slope {abs(slope - exact[1]):.0e}"
            print(f"x = {x:g}, {steps} steps: error of the value {errors}")
    value_0, slope_0 = root(1.0, 0)
    slope_1 = root(1.0, 1)[1]
    value_error = abs(root(2.0, 3)[0] - math.sqrt(2.0))
    slope_error = abs(root(2.0, 3)[1] - 0.5 / math.sqrt(2.0))

    assert (value_0, slope_0, slope_1) == (1.0, 0.0, 0.5)
    assert value_error < slope_error < 1e-3
    assert abs(root(2.0, 6)[1] - 0.5 / math.sqrt(2.0)) < 1e-12
