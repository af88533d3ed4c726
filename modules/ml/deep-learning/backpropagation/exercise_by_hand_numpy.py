"""Exercise 1: the four equations on a network that is small enough for paper.

Shapes: x (2, 2), w1 (2, 2), w2 (2, 1), y (2, 1), rows are examples, biases are zero. ReLU
in the hidden layer, loss = mean over the examples of half the squared error.
"""

import numpy as np


def loss(x: np.ndarray, y: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> float:
    """Return the mean over examples of half the squared error of relu(x @ w1) @ w2."""
    return float(0.5 * np.sum((np.maximum(x @ w1, 0.0) @ w2 - y) ** 2) / len(x))


def backward(x: np.ndarray, y: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> dict[str, np.ndarray]:
    """Return all values and gradients, in the order in which they are computed."""
    z1 = x @ w1  # (2, 2) @ (2, 2) -> (2, 2)
    a1 = np.maximum(z1, 0.0)
    z2 = a1 @ w2  # (2, 2) @ (2, 1) -> (2, 1)
    delta2 = (z2 - y) / len(x)
    delta1 = np.where(z1 > 0, delta2 @ w2.T, 0.0)  # (2, 1) @ (1, 2) -> (2, 2)
    values = {"Z1": z1, "A1": a1, "Z2": z2, "Delta2": delta2, "Delta1": delta1}
    values |= {"w2": a1.T @ delta2, "b2": delta2.sum(axis=0)}  # (2, 2) @ (2, 1) -> (2, 1)
    return values | {"w1": x.T @ delta1, "b1": delta1.sum(axis=0)}


if __name__ == "__main__":
    x, y = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[-1.0], [-2.0]])
    w1, w2 = np.array([[1.0, -1.0], [1.0, 2.0]]), np.array([[1.0], [-2.0]])
    results = backward(x, y, w1, w2)
    value = loss(x, y, w1, w2)
    for name, result in results.items():
        label = f"gradient {name}" if name[0] in "wb" else name
        print(f"{label:11} = {result.tolist()}")
    print(f"loss        = {value}")

    h = 1e-5
    for name, w in (("w1", w1), ("w2", w2)):
        for i in np.ndindex(w.shape):
            step = np.zeros_like(w)
            step[i] = h
            above, below = (
                loss(x, y, w1 + s, w2) if name == "w1" else loss(x, y, w1, w2 + s)
                for s in (step, -step)
            )
            assert abs(results[name][i] - (above - below) / (2 * h)) < 1e-8
