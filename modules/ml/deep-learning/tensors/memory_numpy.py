"""A tensor is memory, shape, strides and offset; views change the last three.

Entry (i_0, ..., i_{r-1}) stands at memory[offset + i_0 s_0 + ... + i_{r-1} s_{r-1}].
Strides s and offset count numbers, as in PyTorch; NumPy's strides count bytes.
Source: van der Walt, Colbert and Varoquaux (2011), for the structure of an array.
"""

from itertools import pairwise
from math import prod
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

Shape = tuple[int, ...]


class View(NamedTuple):
    """How to walk through a block of memory."""

    shape: Shape
    strides: Shape
    offset: int = 0


def row_major(shape: Shape) -> View:
    """Return the view without gaps in which the last index moves fastest."""
    return View(shape, tuple(prod(shape[k + 1 :]) for k in range(len(shape))))


def addresses(view: View) -> np.ndarray:
    """Return the place of every entry in memory, in the view's shape."""
    places = np.full(view.shape, view.offset)
    for steps, stride in zip(np.indices(view.shape), view.strides, strict=True):
        places += stride * steps
    return places


def transpose(view: View, axes: Shape) -> View:
    """Return the view with its axes in another order."""
    shape, strides = (tuple(part[k] for k in axes) for part in view[:2])
    return View(shape, strides, view.offset)


def slice_axis(view: View, axis: int, part: slice) -> View:
    """Return x[start:stop:step] along one axis; the step may be negative."""
    kept = range(view.shape[axis])[part]
    shape, strides = list(view.shape), list(view.strides)
    shape[axis], strides[axis] = len(kept), view.strides[axis] * kept.step
    offset = view.offset + (view.strides[axis] * kept.start if kept else 0)
    return View(tuple(shape), tuple(strides), offset)


def expand(view: View, shape: Shape) -> View:
    """Return the view repeated to a larger shape: stride 0 reads a cell many times."""
    missing = len(shape) - len(view.shape)
    strides = [0] * missing + [s * (d > 1) for d, s in zip(*view[:2], strict=True)]
    return View(shape, tuple(strides), view.offset)


def flatten(view: View) -> View | None:
    """Return the view with a single axis, or None where that needs a copy."""
    axes = [(d, s) for d, s in zip(*view[:2], strict=True) if d != 1]
    for (_, s), (d_next, s_next) in pairwise(axes):
        if s != d_next * s_next and prod(view.shape) > 0:
            return None
    return View((prod(view.shape),), (axes[-1][1] if axes else 1,), view.offset)


def draw(views: dict[str, View], letters: str) -> None:
    """Draw the memory as a row of cells, and each view as a grid of its cells."""
    _, axes = plt.subplot_mosaic("MM;AB;CD", num="cells", figsize=(5.6, 5.0), layout="constrained")
    shown = {"memory": row_major((1, len(letters)))} | views
    for (name, view), key in zip(shown.items(), "MABCD", strict=True):
        places = addresses(view)
        ax = axes[key]
        for (i, j), place in np.ndenumerate(places):
            _draw_cell(ax, i, j, letters[place], place)
        title = name
        if name in views:
            title += f"\nshape {view.shape}\nstrides {view.strides}, offset {view.offset}"
        ax.set_title(title, size=10)
        ax.set(
            xlim=(-0.1, max(3, places.shape[1]) + 0.1),
            ylim=(places.shape[0] + 0.1, -0.1),
        )
        ax.set_aspect("equal", anchor="N")
        ax.set_axis_off()
    plt.show()


def _draw_cell(ax: Axes, i: int, j: int, letter: str, place: int) -> None:
    color = "C0" if place < 3 else "C1"
    ax.add_patch(plt.Rectangle((j, i), 1, 1, fc=color, ec="0.5", alpha=0.35))
    ax.text(j + 0.5, i + 0.45, letter, ha="center", va="center", size=12)
    ax.text(j + 0.94, i + 0.94, str(place), ha="right", va="bottom", size=7.5)


if __name__ == "__main__":
    x = row_major((2, 3))
    views = {
        "x": x,
        "x.T": transpose(x, (1, 0)),
        "x[:, ::2]": slice_axis(x, 1, slice(None, None, 2)),
        "x[1:], repeated": expand(slice_axis(x, 0, slice(1, 2)), (2, 3)),
    }
    memory = np.arange(6.0)
    actual = memory.reshape(2, 3)
    for name, view in views.items():
        flat = "a view" if flatten(view) else "a copy"
        print(f"{name:16s} {view.shape} {view.strides} offset {view.offset}, flat {flat}")
    bytes_per_number = memory.itemsize
    numpy_strides = str(actual.strides)
    print(f"NumPy counts bytes: {numpy_strides} for x, {actual.T.strides} for x.T")
    draw(views, "abcdef")

    shown = [actual, actual.T, actual[:, ::2], np.broadcast_to(actual[1:], (2, 3))]
    for view, array in zip(views.values(), shown, strict=True):
        assert np.array_equal(memory[addresses(view)], array)
        assert tuple(8 * s for s in view.strides) == array.strides
    assert flatten(x) == View((6,), (1,)) and flatten(views["x.T"]) is None
