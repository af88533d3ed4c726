"""Exercise 4: the perceptron decides which of the 65,536 functions of 4 bits are separable.

All functions of n bits are trained side by side: w (F, n + 1) whole numbers, y (F, 2^n).
A function is separable if the weights after a pass make no mistake, and not separable if
they equal the weights after an earlier pass: then the rule repeats itself forever.
"""

from itertools import product

import numpy as np


def count_separable(n: int) -> tuple[int, int]:
    """Return the number of separable and of repeating functions of n bits."""
    x = np.array([(1, *bits) for bits in product([0, 1], repeat=n)], dtype=np.int16)
    y = 2 * np.array(list(product([0, 1], repeat=2**n)), dtype=np.int16) - 1
    w = np.zeros((len(y), n + 1), dtype=np.int16)
    saved, separable, repeating, epoch = w.copy(), 0, 0, 0
    while len(y):
        for n_th, x_n in enumerate(x):
            wrong = y[:, n_th] * (w @ x_n) <= 0  # (F, n + 1) @ (n + 1,) -> (F,)
            w += np.outer(wrong * y[:, n_th], x_n)
        done = (y * (w @ x.T) > 0).all(axis=1)  # (F, n + 1) @ (n + 1, 2^n) -> (F, 2^n)
        cycle = (w == saved).all(axis=1) & ~done
        separable, repeating = separable + int(done.sum()), repeating + int(cycle.sum())
        keep = ~(done | cycle)
        y, w, saved, epoch = y[keep], w[keep], saved[keep], epoch + 1
        if epoch & (epoch - 1) == 0:  # at powers of two, remember the state (Brent)
            saved = w.copy()
    return separable, repeating


if __name__ == "__main__":
    counts = {}
    for n in (1, 2, 3, 4):
        counts[n], others = count_separable(n)
        share = counts[n] / 2 ** (2**n)
        print(f"n = {n}: {counts[n]:5,} of {2**2**n:6,} separable ({share:.1%})", end="")
        print(f", {others:,} repeat")
        assert counts[n] + others == 2 ** (2**n)
    count_3, count_4 = counts[3], counts[4]
    share_4 = count_4 / 2**16

    assert list(counts.values()) == [4, 14, 104, 1882]  # OEIS A000609
