"""x[1:, ::2].T of a (4, 6) array has shape (3, 3), strides (2, 6) and offset 6."""

import numpy as np


def layout(view: np.ndarray, base: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return shape, strides and offset of a view, counted in numbers."""
    size = base.itemsize
    start, first = (a.__array_interface__["data"][0] for a in (base, view))
    return view.shape, tuple(s // size for s in view.strides), (first - start) // size


if __name__ == "__main__":
    x = np.arange(24.0).reshape(4, 6)
    y = x[1:, ::2].T
    shape, strides, offset = layout(y, x)
    flat_is_view = bool(np.shares_memory(y.reshape(-1), x))
    print(f"shape {shape}, strides {strides}, offset {offset}, flat is a view: {flat_is_view}")
    shown_strides = str(strides)
    place = offset + 2 * strides[0] + 1 * strides[1]
    print(f"y[2, 1] is at place {place} and holds {y[2, 1]:g}")

    assert (shape, strides, offset) == ((3, 3), (2, 6), 6)
    assert not flat_is_view and x.ravel()[place] == y[2, 1]
