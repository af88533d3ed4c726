"""Weights rank features by their units: another unit, another ranking, the same neuron.

Data: breast-cancer set, mean area and mean smoothness, label 1 = malignant.
Shapes: x (N, D), y (N,), theta (D + 1,) with the bias last.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer


def fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return w and b of lowest mean cross-entropy, by Newton's method: (D + 1,)."""
    ones = np.column_stack([x, np.ones(len(x))])
    theta = np.zeros(ones.shape[1])
    for _ in range(30):
        p = 0.5 * (1.0 + np.tanh(0.5 * (ones @ theta)))  # sigmoid
        curvature = (ones * (p * (1.0 - p))[:, None]).T @ ones
        theta = theta - np.linalg.solve(curvature, (p - y) @ ones)
    return theta


if __name__ == "__main__":
    data = load_breast_cancer()
    x, y = data.data[:, 3:5], (data.target == 0).astype(float)
    mean, std = x.mean(axis=0), x.std(axis=0)
    raw, standardized = fit(x, y), fit((x - mean) / std, y)
    raw_area, raw_smoothness = (float(v) for v in raw[:2])
    std_area, std_smoothness = (float(v) for v in standardized[:2])
    ratio_raw, ratio_std = raw_smoothness / raw_area, std_area / std_smoothness
    print(f"raw:          area {raw_area:.4f}, smoothness {raw_smoothness:.1f}")
    print(f"standardized: area {std_area:.2f}, smoothness {std_smoothness:.2f}")
    z = x @ raw[:2] + raw[2]
    other_z = (x - mean) / std @ standardized[:2] + standardized[2]
    same = float(np.abs(other_z - z).max())
    print(f"largest difference of the pre-activations: {same:.1e}")

    steep = 100.0 * z  # 100 w and 100 b
    same_decisions = bool(np.array_equal(steep > 0, z > 0))
    losses = [np.mean(np.logaddexp(0.0, v) - y * v) for v in (z, steep)]
    loss_fitted, loss_steep = (float(v) for v in losses)
    print(f"w and b times 100: same decisions {same_decisions}", end=", ")
    print(f"loss {loss_fitted:.3f} -> {loss_steep:.1f}")

    assert ratio_raw > 1000 and ratio_std > 2 and same < 1e-7
    assert np.allclose(raw[:2] * std, standardized[:2])
    assert np.allclose(steep, x @ (100 * raw[:2]) + 100 * raw[2])
    assert same_decisions and loss_steep > 10 * loss_fitted
