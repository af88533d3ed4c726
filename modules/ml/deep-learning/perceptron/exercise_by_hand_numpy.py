"""Exercise 1: the perceptron learns AND from zero weights, correction by correction.

Shapes: x (4, 3) with the constant first, inputs in the order 00, 01, 10, 11; w (3,).
"""

import numpy as np


def corrections(x: np.ndarray, y: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return (example, weights afterwards) for each correction from zero, to the end."""
    w, path, clean = np.zeros(x.shape[1], dtype=int), [], 0
    while clean < len(x):
        for n in range(len(x)):
            clean += 1
            if y[n] * (x[n] @ w) <= 0:
                w, clean = w + y[n] * x[n], 0
                path.append((n, w))
    return path


if __name__ == "__main__":
    x = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
    y = np.array([-1, -1, -1, 1])
    path = corrections(x, y)
    text = [f"{''.join(map(str, x[n, 1:]))} -> {tuple(w.tolist())}" for n, w in path]
    for i in range(0, len(text), 3):
        print("   ".join(text[i : i + 3]))
    w = path[-1][1]
    scores = x @ w
    count = len(path)
    bias, weight_1, weight_2 = w.tolist()
    u = np.array([-1.5, 1.0, 1.0])  # the line halfway between 11 and the others
    best = float(np.min(y * (x @ u)) / np.linalg.norm(u))
    bound = float(np.max(np.sum(x**2, axis=1)) / best**2)
    print(f"{count} corrections; scores {scores}; bound with u = (-3/2, 1, 1): {bound:.0f}")

    assert (y * scores > 0).all() and count <= bound
