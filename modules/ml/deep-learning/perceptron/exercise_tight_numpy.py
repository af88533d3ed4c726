"""Exercise 3: orthonormal examples make Novikoff's bound an equality, in every order.

Shapes: a (D, D) has the rows y_n x_n, here the unit vectors; w (D,).
"""

import numpy as np


def mistakes(a: np.ndarray) -> int:
    """Return the mistakes of cyclic training from zero on separable rows a (N, D)."""
    w, count, clean = np.zeros(a.shape[1]), 0, 0
    while clean < len(a):
        for a_n in a:
            clean += 1
            if a_n @ w <= 0:
                w, count, clean = w + a_n, count + 1, 0
    return count


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for d in (1, 4, 25, 100):
        a = rng.permutation(np.eye(d))
        u = np.ones(d) / np.sqrt(d)
        bound = float((1.0 / np.min(a @ u)) ** 2)
        count = mistakes(a)
        print(f"D = {d:3}: margin {np.min(a @ u):.3f}, bound {bound:.0f}, mistakes {count}")
        assert count == d == round(bound)
    dimension, largest_count = d, count
