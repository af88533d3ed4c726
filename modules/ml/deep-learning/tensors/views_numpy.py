"""Slices, transposes and most reshapes are views: what is written to them reaches x.

Indexing with a list or a mask, arithmetic and astype copy. The test writes through.
Source: the section "Copies and views" of the NumPy user guide.
"""

from collections.abc import Callable

import numpy as np


def effect(operation: Callable[[np.ndarray], np.ndarray]) -> str:
    """Return "view" if writing to the result changes the input, else another word."""
    x = np.arange(6.0).reshape(2, 3)
    result = operation(x)
    try:
        result[...] = 99.0
    except ValueError:
        return "read-only"
    return "view" if (x == 99.0).any() else "copy"


if __name__ == "__main__":
    effects = {
        "x[0]": effect(lambda x: x[0]),
        "x[:, 1:]": effect(lambda x: x[:, 1:]),
        "x[::-1]": effect(lambda x: x[::-1]),
        "x.T": effect(lambda x: x.T),
        "x.reshape(3, 2)": effect(lambda x: x.reshape(3, 2)),
        "x.T.reshape(-1)": effect(lambda x: x.T.reshape(-1)),
        "x.flatten()": effect(lambda x: x.flatten()),
        "x[[0, 1]]": effect(lambda x: x[[0, 1]]),
        "x[x > 2]": effect(lambda x: x[x > 2]),
        "np.broadcast_to": effect(lambda x: np.broadcast_to(x, (4, 2, 3))),
        "x.astype(float)": effect(lambda x: x.astype(float)),
    }
    for name, kind in effects.items():
        print(f"{name:16s} {kind}")
    row, columns, flip, turned, reshaped, turned_flat = [*effects.values()][:6]
    flat, listed, masked, repeated, cast = [*effects.values()][6:]

    x = np.zeros((2, 3))
    x[[0, 1]] += 1.0  # this writes to x: an assignment with an index on its left
    x[[0, 1]][:] += 10.0  # this writes to a copy, which is then lost
    after_list = float(x.max())
    print(f"after x[[0, 1]] += 1 and x[[0, 1]][:] += 10, x holds {after_list:g}")

    assert [row, columns, flip, turned, reshaped] == ["view"] * 5
    assert [turned_flat, flat, listed, masked, cast] == ["copy"] * 5
    assert repeated == "read-only" and after_list == 1.0
