"""All windows of a series are one view with two equal strides.

Shapes: x (T,), kernel (k,), windows (T - k + 1, k).
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided


def windows(x: np.ndarray, k: int) -> np.ndarray:
    """Return every window of k neighbors, as a read-only view of x."""
    (step,) = x.strides
    return as_strided(x, (len(x) - k + 1, k), (step, step), writeable=False)


def cross_correlate(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the sums of kernel times window, (T - k + 1,)."""
    return windows(x, len(kernel)) @ kernel  # (T - k + 1, k) @ (k,)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=1000), rng.normal(size=100)
    view = windows(x, 100)
    shared = bool(np.shares_memory(view, x))
    entries, cells = view.size, x.size
    print(f"{entries:,} entries shown from {cells:,} cells, strides {view.strides} bytes")
    error = float(np.abs(cross_correlate(x, kernel) - np.correlate(x, kernel)).max())
    print(f"filtered series: differs from np.correlate by {error:.0e}")

    assert shared and not view.flags.writeable and entries == 901 * 100 and error < 1e-12
