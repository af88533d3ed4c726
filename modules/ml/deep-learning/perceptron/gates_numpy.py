"""One threshold unit computes 14 of the 16 functions of two bits; two layers compute all.

Shapes: the four inputs are x (4, 2) in the order 00, 01, 10, 11; a function is a tuple of
its four outputs, 0 or 1. McCulloch and Pitts's unit: active inputs count 1 each, and one
active inhibitory input keeps the unit silent, whatever the others do.
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

X = np.array(list(product([0, 1], repeat=2)))  # (4, 2)


def mcculloch_pitts(excitatory: np.ndarray, inhibitory: np.ndarray, threshold: int) -> np.ndarray:
    """Fire, (N,), where enough of excitatory (N, E) and none of inhibitory (N, I) is 1."""
    enough = excitatory.sum(axis=1) >= threshold
    return (enough & ~inhibitory.any(axis=1)).astype(int)


def threshold_unit(x: np.ndarray, w: np.ndarray, threshold: float) -> np.ndarray:
    """Return 1 where the weighted sum of x (N, D) reaches the threshold, else 0: (N,)."""
    return (x @ w >= threshold).astype(int)  # (N, D) @ (D,) -> (N,)


def find_unit(outputs: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return small whole weights and a threshold for a function of two bits, or None."""
    for w1, w2, threshold in product((0, 1, -1), (0, 1, -1), (0, 1, -1, 2)):
        fired = threshold_unit(X, np.array([w1, w2]), threshold)
        if tuple(fired.tolist()) == outputs:
            return w1, w2, threshold
    return None


def signed_sum(outputs: tuple[int, ...]) -> np.ndarray:
    """Return the sum of y_n (1, x_n) over the inputs, with y_n = +1 or -1: (3,)."""
    y = 2 * np.array(outputs) - 1
    return y @ np.column_stack([np.ones(4, dtype=int), X])  # (4,) @ (4, 3) -> (3,)


def xor(x: np.ndarray) -> np.ndarray:
    """Compute XOR of the columns of x (N, 2) by three McCulloch-Pitts units, two layers."""
    first, second = x[:, :1], x[:, 1:]
    only_first = mcculloch_pitts(first, second, 1)
    only_second = mcculloch_pitts(second, first, 1)
    none = np.zeros((len(x), 0))
    return mcculloch_pitts(np.column_stack([only_first, only_second]), none, 1)


def _draw(units: dict[tuple[int, ...], tuple[int, int, int] | None]) -> None:
    """Draw each function: four points, and the line halfway below the threshold."""
    names = {"0001": "AND", "0111": "OR", "0110": "XOR"}
    names |= {"1110": "NAND", "1000": "NOR", "1001": "XNOR"}
    fig, axes = plt.subplots(4, 4, num="gates", figsize=(5.6, 6.2), layout="constrained")
    for ax, (outputs, unit) in zip(axes.flat, units.items(), strict=True):
        for point, output in zip(X, outputs, strict=True):
            ax.plot(*point, "o", ms=9, mec="0.5", mfc="C0" if output else "none", mew=1.5)
        if unit is not None and unit[:2] != (0, 0):
            w, offset = np.array(unit[:2]), unit[2] - 0.5
            foot, along = w * offset / (w @ w), np.array([-w[1], w[0]])
            ends = foot + np.outer([-2, 2], along)
            ax.plot(ends[:, 0], ends[:, 1], "C1-")
        digits = "".join(map(str, outputs))
        label = names.get(digits, digits)
        ax.set_xlabel(label + (": no line" if unit is None else ""))
        ax.set(xlim=(-0.6, 1.6), ylim=(-0.6, 1.6), xticks=[], yticks=[], aspect="equal")
    plt.show()


if __name__ == "__main__":
    units = {outputs: find_unit(outputs) for outputs in product([0, 1], repeat=4)}
    separable = sum(unit is not None for unit in units.values())
    total = len(units)
    left_over = [outputs for outputs, unit in units.items() if unit is None]
    print("outputs at 00, 01, 10, 11: (w1, w2, threshold)")
    entries = [f"{''.join(map(str, o))}: {u}" for o, u in units.items() if u is not None]
    for i in range(0, len(entries), 2):
        print("  ".join(f"{entry:<24}" for entry in entries[i : i + 2]).rstrip())
    for outputs in left_over:
        print(f"{''.join(map(str, outputs))}: no unit; signed sum {signed_sum(outputs)}")
    print(f"one unit computes {separable} of {total}; XOR in two layers: {xor(X)}")
    _draw(units)

    none = np.zeros((4, 0))
    assert mcculloch_pitts(X, none, 2).tolist() == [0, 0, 0, 1]  # AND
    assert mcculloch_pitts(X, none, 1).tolist() == [0, 1, 1, 1]  # OR
    assert mcculloch_pitts(none, X[:, :1], 0).tolist() == [1, 1, 0, 0]  # NOT of input 1
    assert xor(X).tolist() == [0, 1, 1, 0]
    assert separable == 14 and left_over == [(0, 1, 1, 0), (1, 0, 0, 1)]
    for outputs, unit in units.items():  # the certificate holds for exactly the other two
        assert (unit is None) == (not signed_sum(outputs).any())
