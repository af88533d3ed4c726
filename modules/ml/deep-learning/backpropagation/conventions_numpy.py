"""Columns as examples give transposed gradients, and 1/N may stand in one place only.

Rows are examples:    x (N, D), w (D, K), z = x @ w + b,   b (K,).
Columns are examples: x (D, N), w (K, D), z = w @ x + b,   b (K, 1).
Loss: mean over N examples of half the squared error. One hidden layer of H tanh units.
The mixed notation of many courses starts from z - y without 1/N, and puts 1/N into the
gradients of w and b.
"""

import numpy as np


def backward_rows(
    x: np.ndarray, y: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the gradients; y (N, K), w1 (D, H), b1 (H,), w2 (H, K), b2 (K,)."""
    h = np.tanh(x @ w1 + b1)  # (N, D) @ (D, H) -> (N, H)
    delta2 = (h @ w2 + b2 - y) / len(x)  # (N, H) @ (H, K) -> (N, K)
    grad_h = delta2 @ w2.T  # (N, K) @ (K, H) -> (N, H)
    delta1 = grad_h * (1 - h**2)
    grads = {"w2": h.T @ delta2, "b2": delta2.sum(axis=0), "h": grad_h}
    return grads | {"w1": x.T @ delta1, "b1": delta1.sum(axis=0)}


def backward_columns(
    x: np.ndarray, y: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the gradients; y (K, N), w1 (H, D), b1 (H, 1), w2 (K, H), b2 (K, 1)."""
    h = np.tanh(w1 @ x + b1)  # (H, D) @ (D, N) -> (H, N)
    delta2 = (w2 @ h + b2 - y) / x.shape[1]  # (K, H) @ (H, N) -> (K, N)
    grad_h = w2.T @ delta2  # (H, K) @ (K, N) -> (H, N)
    delta1 = grad_h * (1 - h**2)
    grads = {"w2": delta2 @ h.T, "b2": delta2.sum(axis=1, keepdims=True), "h": grad_h}
    return grads | {"w1": delta1 @ x.T, "b1": delta1.sum(axis=1, keepdims=True)}


def backward_mixed(
    x: np.ndarray, y: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what the mixed notation calls dw2, db2, da (here h), dw1, db1, as columns."""
    n = x.shape[1]
    h = np.tanh(w1 @ x + b1)
    dz2 = w2 @ h + b2 - y  # N times the gradient of the mean loss
    dh = w2.T @ dz2
    dz1 = dh * (1 - h**2)
    grads = {"w2": dz2 @ h.T / n, "b2": dz2.sum(axis=1, keepdims=True) / n, "h": dh}
    return grads | {"w1": dz1 @ x.T / n, "b1": dz1.sum(axis=1, keepdims=True) / n}


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n = 8
    x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 3))
    w1, b1, w2, b2 = (rng.normal(size=s) for s in ((5, 4), 4, (4, 3), 3))
    columns_of = (x.T, y.T, w1.T, b1[:, None], w2.T, b2[:, None])

    rows = backward_rows(x, y, w1, b1, w2, b2)
    columns = backward_columns(*columns_of)
    mixed = backward_mixed(*columns_of)
    largest_difference = max(
        float(np.max(np.abs(np.atleast_2d(rows[name]).T - columns[name]))) for name in rows
    )
    print(f"rows against transposed columns: largest difference {largest_difference:.1e}")
    ratios = {name: float(np.mean(mixed[name] / columns[name])) for name in columns}
    for name, ratio in ratios.items():
        print(f"mixed notation d{name} / gradient of the mean loss = {ratio:.3f}")
    ratio_parameter, ratio_h = ratios["w1"], ratios["h"]

    assert largest_difference < 1e-14
    assert all(abs(ratios[name] - 1) < 1e-12 for name in ("w1", "b1", "w2", "b2"))
    assert abs(ratio_h - n) < 1e-12
