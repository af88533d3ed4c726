"""A gated block of width 2/3 has the parameters of the plain block, but not its degree.

Shapes: plain D x H and H x D; gated D x G, D x G, G x D. Scaling the input of a gated layer
by c scales its output by about c^2 where the gate is open; a plain layer scales by c.
"""

import numpy as np


def plain_parameters(d: int, hidden: int) -> int:
    """Return the number of weights of two matrices."""
    return 2 * d * hidden


def gated_parameters(d: int, hidden: int) -> int:
    """Return the number of weights of three matrices."""
    return 3 * d * hidden


def swiglu(x: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return silu(x W) * x V, (N, D) -> (N, G)."""
    z = x @ w  # (N, D) @ (D, G) -> (N, G)
    return z / (1.0 + np.exp(-z)) * (x @ v)


if __name__ == "__main__":
    d = 768
    width = plain_parameters(d, 4 * d) / gated_parameters(d, 1)
    print(f"D = {d}: plain width {4 * d}, gated width {width:.0f}")

    rng = np.random.default_rng(0)
    x, w, v = rng.normal(size=(50, 64)), *rng.normal(size=(2, 64, 64)) / 8.0
    growth = np.linalg.norm(swiglu(20 * x, w, v)) / np.linalg.norm(swiglu(10 * x, w, v))
    plain_growth = np.linalg.norm(np.maximum(20 * x @ w, 0)) / np.linalg.norm(
        np.maximum(10 * x @ w, 0)
    )
    print(
        f"input twice as large: SwiGLU's output grows {growth:.2f}-fold, ReLU's {plain_growth:.2f}"
    )

    assert width == 2048 and abs(plain_growth - 2) < 1e-12
    assert 3.8 < growth < 4.05
