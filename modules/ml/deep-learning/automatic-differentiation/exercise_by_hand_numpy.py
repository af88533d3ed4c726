"""Exercise 1: y1 = x1 x2, y2 = y1 + x1^2 by hand, forward and in reverse.

All values are numbers; x = (3, 2). A dual number is a pair (value, tangent).
"""

import numpy as np


def forward(x: tuple[float, float], v: tuple[float, float]) -> list[tuple[float, float]]:
    """Return y1 and y2 as dual numbers."""
    (x1, x2), (v1, v2) = x, v
    y1 = (x1 * x2, v1 * x2 + x1 * v2)
    square = (x1 * x1, 2 * x1 * v1)
    return [y1, (y1[0] + square[0], y1[1] + square[1])]


def reverse(x: tuple[float, float], u: tuple[float, float]) -> tuple[float, float]:
    """Return u J: the adjoints of x1 and x2, from the last operation to the first."""
    (x1, x2), (u1, u2) = x, u
    grad_y1 = u1 + u2  # y1 is an output, and y2 uses it
    grad_square = u2
    return 2 * x1 * grad_square + x2 * grad_y1, x1 * grad_y1


if __name__ == "__main__":
    x = (3.0, 2.0)
    y1, y2 = (pair[0] for pair in forward(x, (0.0, 0.0)))
    columns = [[t for _, t in forward(x, v)] for v in ((1.0, 0.0), (0.0, 1.0))]
    rows = [reverse(x, u) for u in ((1.0, 0.0), (0.0, 1.0))]
    (j11, j12), (j21, j22) = rows
    print(f"y = ({y1:g}, {y2:g})\ncolumns of J: {columns}\nrows of J:    {rows}")

    assert np.array_equal(np.transpose(columns), rows)
    assert np.array_equal(rows, [[2, 3], [8, 3]])
