"""Six ways to spoil a perceptron, each with its symptom; none raises an error.

Shapes: x (N, D), y (N,), w (D,).
"""

import numpy as np
from sklearn.linear_model import Perceptron


def train(
    x: np.ndarray, y: np.ndarray, lr: float = 1.0, max_mistakes: int = 20_000
) -> tuple[np.ndarray, int]:
    """Return w and the number of mistakes from zero; jumps from mistake to mistake."""
    w, count, position = np.zeros(x.shape[1]), 0, 0
    while count < max_mistakes:
        wrong = np.flatnonzero(y * (x @ w) <= 0)  # (N, D) @ (D,) -> (N,)
        if len(wrong) == 0:
            break
        ahead = wrong[wrong >= position]
        n = ahead[0] if len(ahead) else wrong[0]
        w = w + lr * y[n] * x[n]
        count, position = count + 1, n + 1
    return w, count


def with_constant(x: np.ndarray) -> np.ndarray:
    """Return x (N, D) with a first column of ones."""
    return np.column_stack([np.ones(len(x)), x])


def error_rate(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """Return the share of examples on the wrong side."""
    return float(np.mean(np.where(x @ w > 0, 1, -1) != y))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, size=(300, 2))
    distances = (points @ [1.0, -2.0] + 0.8) / np.sqrt(5)
    points, distances = points[np.abs(distances) > 0.1], distances[np.abs(distances) > 0.1]
    y = np.where(distances > 0, 1, -1)

    w, right_count = train(with_constant(points), y)
    right = error_rate(with_constant(points), y, w)
    w, no_bias_count = train(points, y)
    no_bias = error_rate(points, y, w)
    print(f"with the constant: {right_count} mistakes, {right:.0%} errors at the end")
    print(f"without it: stopped after {no_bias_count:,} mistakes with {no_bias:.0%} errors")

    shifts = (0, 5, 50)
    shifted = [train(with_constant(points + shift), y)[1] for shift in shifts]
    centered = train(with_constant(points + 50 - np.mean(points + 50, axis=0)), y)[1]
    for shift, count in zip(shifts, shifted, strict=True):
        print(f"inputs shifted by {shift:2}: {count:,} mistakes")
    print(f"shifted by 50, then centered: {centered:,} mistakes")
    shifted_0, shifted_5, shifted_50 = shifted

    zero_one = (y + 1) // 2
    w, _ = train(with_constant(points), zero_one, max_mistakes=1000)
    accepted = float(np.mean(with_constant(points) @ w > 0))
    print(f"labels 0 and 1 in the rule for +1 and -1: {accepted:.0%} of all inputs get +1")

    scale = np.array([1.0, 100.0])  # the second input in other units
    w, scaled_count = train(with_constant(points * scale), y)
    print(f"second input times 100: {scaled_count:,} mistakes instead of {right_count}")

    own, theirs = [], []  # share of training errors at the end
    for seed in range(5):
        rng = np.random.default_rng(seed)
        v = rng.normal(size=(100, 19))
        v *= np.sqrt(1 - 0.01**2) / np.linalg.norm(v, axis=1, keepdims=True)
        sides = rng.choice([-1, 1], size=200)  # unit vectors, separable with margin 0.01
        x = sides[:, None] * np.insert(np.concatenate([v, -v]), 0, 0.01, axis=1)
        own.append(error_rate(x, sides, train(x, sides)[0]))
        theirs.append(1 - Perceptron(random_state=seed).fit(x, sides).score(x, sides))
    own_errors, default_errors = float(np.mean(own)), float(np.mean(theirs))
    print(f"margin 0.01: the rule ends with {own_errors:.0%} errors", end="; ")
    print(f"scikit-learn's default stops at {default_errors:.0%}")

    x = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
    gate = np.array([-1, -1, -1, 1])
    exact, rounded = train(x, gate, 1.0)[1], train(x, gate, 0.1)[1]
    print(f"AND with learning rate 1: {exact} mistakes; 0.1: {rounded}")

    assert right == 0.0 and no_bias > 0.05 and no_bias_count == 20_000
    assert shifted_5 > 10 * shifted_0 and shifted_50 == 20_000
    assert own_errors == 0.0 and default_errors > 0.1
    assert scaled_count > 10 * right_count
    assert exact != rounded and accepted == 1.0 and centered < 3 * shifted_0
