"""One sigmoid neuron, trained by gradient descent, finds the optimum of a convex loss.

Data: scikit-learn's breast-cancer set, two features (mean radius, mean texture of the
cell nuclei), label 1 = malignant. Loss: mean cross-entropy, p = sigmoid(x w + b).
Shapes: x (N, D) standardized, y (N,), w (D,), b a number.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def loss(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: float) -> float:
    """Return the mean of log(1 + exp(z)) - y z."""
    z = x @ w + b  # (N, D) @ (D,) -> (N,)
    return float(np.mean(np.logaddexp(0.0, z) - y * z))


def gradient(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    b: float,
) -> tuple[np.ndarray, float]:
    """Return dL/dw (D,) and dL/db."""
    delta = (sigmoid(x @ w + b) - y) / len(y)  # dL/dz, (N,)
    return delta @ x, float(delta.sum())  # (N,) @ (N, D) -> (D,)


def train(
    x: np.ndarray,
    y: np.ndarray,
    lr: float,
    steps: int,
) -> tuple[np.ndarray, float]:
    """Return w and b after gradient descent from zero."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(steps):
        grad_w, grad_b = gradient(x, y, w, b)
        w, b = w - lr * grad_w, b - lr * grad_b
    return w, b


def _draw(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: float) -> None:
    """Draw the tumors and the lines of equal probability, in the units of the data."""
    _, ax = plt.subplots(num="boundary", figsize=(5.6, 4.2), layout="constrained")
    for label, marker, name in ((0, "o", "benign"), (1, "^", "malignant")):
        color = f"C{label}"
        ax.plot(*x[y == label].T, marker, ms=4, mfc="none", color=color, label=name)
    texture = np.array([9.0, 40.0])
    for p, style in ((0.1, ":"), (0.5, "-"), (0.9, "--")):
        radius = (np.log(p / (1 - p)) - b - w[1] * texture) / w[0]
        ax.plot(radius, texture, style, color="0.5", lw=2, label=f"p = {p:g}")
    ax.legend(frameon=False, ncols=2, loc="upper right")
    ax.set(xlabel="mean radius", ylabel="mean texture", xlim=(6, 29), ylim=(9, 52))
    plt.show()


if __name__ == "__main__":
    data = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(data.target))
    raw, y = data.data[order, :2], (data.target[order] == 0).astype(float)
    train_part = raw[:400]
    mean, std = train_part.mean(axis=0), train_part.std(axis=0)
    x = (raw - mean) / std
    w, b = train(x[:400], y[:400], lr=2.0, steps=1000)
    first_loss, final_loss = np.log(2.0), loss(x[:400], y[:400], w, b)
    print(f"w = {w.round(4)}, b = {b:.4f}; loss {first_loss:.4f} -> {final_loss:.4f}")
    right = (x @ w + b > 0) == (y == 1)
    train_accuracy, test_accuracy = float(right[:400].mean()), float(right[400:].mean())
    base_accuracy = float(1 - y[400:].mean())
    print(f"accuracy: train {train_accuracy:.3f}, test {test_accuracy:.3f}", end=", ")
    print(f"always benign {base_accuracy:.3f}")
    base_rate = float(y[:400].mean())
    mean_probability = float(sigmoid(x[:400] @ w + b).mean())
    print(f"malignant {base_rate:.6f}, mean probability {mean_probability:.6f}")

    here, step, gradient_error = np.array([0.3, -0.8, 0.5]), 1e-5, 0.0  # w1, w2, b
    grad_w, grad_b = gradient(x, y, here[:2], here[2])
    for i, exact in enumerate([*grad_w, grad_b]):
        up, down = (here + s * step * np.eye(3)[i] for s in (1, -1))
        change = loss(x, y, up[:2], up[2]) - loss(x, y, down[:2], down[2])
        numeric = change / (2 * step)
        gradient_error = max(gradient_error, float(abs(numeric - exact)))
    print(f"gradient: largest error against central differences {gradient_error:.1e}")

    raw_w = w / std  # the same neuron for data that is not standardized
    raw_b = float(b - raw_w @ mean)
    same_neuron = float(np.abs(raw @ raw_w + raw_b - (x @ w + b)).max())
    _draw(raw, y, raw_w, raw_b)

    assert data.target_names[0] == "malignant" and w[0] > w[1] > 0 > b
    assert np.allclose(x[:400].mean(axis=0), 0) and np.allclose(x[:400].std(axis=0), 1)
    assert gradient_error < 1e-9 and same_neuron < 1e-12
    assert np.abs(gradient(x[:400], y[:400], w, b)[0]).max() < 1e-8  # at the optimum
    assert abs(mean_probability - base_rate) < 1e-8  # what dL/db = 0 says
    assert final_loss < 0.3 and test_accuracy > 0.8 > 0.7 > base_accuracy
