"""A penalty on the bias makes a neuron depend on where the inputs have their zero.

Data: breast-cancer set, mean radius and mean texture. Objective: mean cross-entropy
+ (decay_w |w|^2 + decay_b b^2) / 2, solved by Newton's method.
Shapes: x (N, D), y (N,), w (D,), b a number.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def fit(
    x: np.ndarray, y: np.ndarray, decay_w: float, decay_b: float, use_bias: bool = True
) -> tuple[np.ndarray, float]:
    """Return the w and b that minimize the objective; b = 0 without a bias."""
    ones = np.column_stack([x, np.full(len(x), float(use_bias))])  # (N, D + 1)
    penalty = np.append(np.full(x.shape[1], decay_w), decay_b if use_bias else 1.0)
    theta = np.zeros(len(penalty))
    for _ in range(50):
        p = sigmoid(ones @ theta)
        grad = (p - y) @ ones / len(y) + penalty * theta
        curvature = (ones * (p * (1.0 - p))[:, None]).T @ ones / len(y)
        curvature = curvature + np.diag(penalty)
        theta = theta - np.linalg.solve(curvature, grad)
    return theta[:-1], float(theta[-1])


def probabilities(x: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    """Return sigmoid(x w + b), (N,)."""
    return sigmoid(x @ w + b)


if __name__ == "__main__":
    data = load_breast_cancer()
    raw, y = data.data[:, :2], (data.target == 0).astype(float)
    x = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    examples, base_rate = len(y), float(y.mean())
    majority = 1 - base_rate

    with_bias = probabilities(raw, *fit(raw, y, 0.0, 0.0))
    without = probabilities(raw, *fit(raw, y, 0.0, 0.0, use_bias=False))
    accuracy_with = float(np.mean((with_bias > 0.5) == y))
    accuracy_without = float(np.mean((without > 0.5) == y))
    print(f"raw inputs: accuracy {accuracy_with:.3f} with bias", end=", ")
    print(f"{accuracy_without:.3f} without; always benign {majority:.3f}")

    shifted, moved, means = x + np.array([2.0, 2.0]), {}, {}
    for name, decay_b in (("weights only", 0.0), ("weights and bias", 0.1)):
        here = probabilities(x, *fit(x, y, 0.1, decay_b))
        there = probabilities(shifted, *fit(shifted, y, 0.1, decay_b))
        moved[name], means[name] = float(np.abs(here - there).max()), float(here.mean())
        print(f"decay on {name}: mean probability {means[name]:.4f}", end=", ")
        print(f"shifted inputs change a prediction by up to {moved[name]:.1e}")
    moved_free, moved_decayed = moved.values()
    mean_free, mean_decayed = means.values()
    print(f"share of malignant tumors: {base_rate:.4f}")

    w, b = fit(x, y, 0.1, 0.1)
    residual = float(np.mean(probabilities(x, w, b) - y) + 0.1 * b)
    assert abs(residual) < 1e-12  # the optimality condition for a decayed bias
    assert moved_free < 1e-9 and moved_decayed > 0.05
    assert abs(mean_free - base_rate) < 1e-12 and abs(mean_decayed - base_rate) > 0.01
    assert accuracy_without < accuracy_with - 0.1 and np.allclose(shifted - x, 2.0)
    assert 0.5 < majority < accuracy_without < majority + 0.05
    decided = [raw @ v + c > 0 for v, c in (fit(raw, y, 0, 0), fit(raw, y, 0, 0, False))]
    accuracies = [np.mean(d == y) for d in decided]  # z > 0 is p > 1/2
    assert np.allclose(accuracies, [accuracy_with, accuracy_without])
