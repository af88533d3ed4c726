"""On XOR the perceptron repeats itself forever; the pocket keeps its best weights.

Shapes: x (4, 3) with the constant first, y (4,) is +1 or -1, w (3,) whole numbers, so
that equal states can be recognized exactly.
Sources: cycling, Minsky and Papert (1969); pocket, Gallant (1990).
"""

import matplotlib.pyplot as plt
import numpy as np

X = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])  # (4, 3)
Y = np.array([-1, 1, 1, -1])


def one_epoch(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
    """Return w after each mistake of one pass over the examples; empty if there is none."""
    path = []
    for x_n, y_n in zip(x, y, strict=True):
        if y_n * (x_n @ w) <= 0:
            w = w + y_n * x_n
            path.append(w)
    return path


def find_cycle(x: np.ndarray, y: np.ndarray) -> tuple[int, int]:
    """Return (first epoch, length in epochs) of the cycle from zero; length 0 if it ends."""
    w, seen, epoch = np.zeros(x.shape[1], dtype=int), {}, 0
    while tuple(w) not in seen:
        seen[tuple(w)] = epoch
        path = one_epoch(x, y, w)
        if not path:
            return epoch, 0
        w, epoch = path[-1], epoch + 1
    return seen[tuple(w)], epoch - seen[tuple(w)]


def errors(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> int:
    """Return the number of examples that w does not put strictly on their side."""
    return int(np.sum(y * (x @ w) <= 0))


def pocket(
    x: np.ndarray, y: np.ndarray, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw examples at random; return the weights passed with the fewest errors (ratchet)."""
    w = best = np.zeros(x.shape[1], dtype=int)
    fewest = errors(x, y, w)
    for n in rng.integers(len(x), size=steps):
        if y[n] * (x[n] @ w) <= 0:
            w = w + y[n] * x[n]
            if errors(x, y, w) < fewest:
                best, fewest = w, errors(x, y, w)
    return best, fewest


def _draw(states: np.ndarray, length: int) -> None:
    """Draw the three weights over the corrections, with the repeats marked."""
    fig, axes = plt.subplots(
        3, 1, num="cycle", figsize=(5.6, 4.6), layout="constrained", sharex=True, sharey=True
    )
    names = ("bias", "weight 1", "weight 2")
    for i, (ax, name) in enumerate(zip(axes, names, strict=True)):
        ax.step(np.arange(len(states)), states[:, i], f"C{i}-", where="post")
        for start in range(0, len(states), length):
            ax.axvline(start, color="0.5", ls=":")
        ax.set(ylabel=name, yticks=[-1, 0, 1], xlim=(0, len(states) - 1))
    axes[-1].set_xlabel("corrections")
    plt.show()


if __name__ == "__main__":
    start, length = find_cycle(X, Y)
    path = [np.zeros(3, dtype=int)]
    for _ in range(12):
        path += one_epoch(X, Y, path[-1])
    states = np.array(path)  # (corrections + 1, 3)
    corrections = len(one_epoch(X, Y, path[-1]))
    period = next(p for p in range(1, len(states)) if np.array_equal(states[p:], states[:-p]))
    largest = int(np.abs(states).max())
    print(f"XOR: cycle from epoch {start}, {length} epoch(s) long, {period} corrections")
    print("one round:", " ".join(str(w) for w in states[: period + 1]))
    print(f"the sum of y_n x_n is {Y @ X}: scores y_n x_n w always add to zero")

    w, fewest = pocket(X, Y, 100, np.random.default_rng(0))
    scores = Y * (X @ w)
    print(f"pocket: w = {w} with {fewest} errors, scores {scores}, sum {scores.sum()}")
    product_feature = np.column_stack([X, X[:, 1] * X[:, 2]])
    solved, never = find_cycle(product_feature, Y)
    print(f"with the product of the inputs as a feature: no error after {solved} epochs")
    _draw(states[: 4 * period + 1], period)

    assert length > 0 and never == 0 and not (Y @ X).any()
    assert np.array_equal(states[period:], states[:-period]) and largest <= 2
    assert period == length * corrections
    assert errors(X, Y, w) == fewest < errors(X, Y, np.zeros(3))
    every_w = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3), axis=-1).reshape(-1, 3)
    assert min(errors(X, Y, other) for other in every_w) == 1  # one error is the best
