"""Bugs of a hand-written backward pass that raise no exception, each with its symptom.

Shapes: rows are examples, x (N, D), w1 (D, H), w2 (H, K), with N = D = H = K = 4: in a
square network every wrong product and axis fits. Loss: mean softmax cross-entropy.
Errors are relative: the norm of the difference over the norm of the right gradient.
"""

import numpy as np


def loss(x: np.ndarray, onehot: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> float:
    """Return the mean cross-entropy of softmax(tanh(x @ w1) @ w2)."""
    z = np.tanh(x @ w1) @ w2
    z = z - z.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - (onehot * z).sum(axis=1)))


def error(wrong: np.ndarray, right: np.ndarray) -> float:
    """Return the relative error."""
    return float(np.linalg.norm(wrong - right) / np.linalg.norm(right))


def finite_differences(
    x: np.ndarray, onehot: np.ndarray, w1: np.ndarray, w2: np.ndarray, h: float, central: bool
) -> np.ndarray:
    """Return the gradient of the loss for w1 from differences with step h."""
    numeric = np.zeros_like(w1)
    for i in np.ndindex(w1.shape):
        step = np.zeros_like(w1)
        step[i] = h
        rise = loss(x, onehot, w1 + step, w2) - loss(x, onehot, w1 - central * step, w2)
        numeric[i] = rise / (2 * h if central else h)
    return numeric


def first_to_last(layers: int, gain: float, width: int, rng: np.random.Generator) -> float:
    """Return the norm of the gradient at the first linear layer over that at the last."""
    delta = rng.normal(size=(1, width))
    last = np.linalg.norm(delta)
    for _ in range(layers):
        delta = delta @ (gain * rng.normal(size=(width, width)) / np.sqrt(width)).T
    return float(np.linalg.norm(delta) / last)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n = 4
    x, w1, w2 = (rng.normal(size=(n, n)) for _ in range(3))
    onehot = np.eye(n)[[0, 1, 2, 1]]
    a = np.tanh(x @ w1)
    p = np.exp(a @ w2) / np.exp(a @ w2).sum(axis=1, keepdims=True)
    delta2 = (p - onehot) / n
    slope = 1 - a**2
    delta1 = (delta2 @ w2.T) * slope
    grad_w1, grad_w2, grad_b1 = x.T @ delta1, a.T @ delta2, delta1.sum(axis=0)

    wrong_axis = error(delta1.sum(axis=1), grad_b1)
    total_b2 = abs(float(delta2.sum()))  # each row of p - onehot sums to zero
    b, dz = np.zeros((3, 1)), np.ones((3, 5))  # columns are examples
    shape_after = str((b - 0.1 * sum(dz)).shape)  # Python's sum adds the rows: the units
    print(f"db1 over the wrong axis: error {wrong_axis:.2f}; db2 over both axes: {total_b2:.0e}")
    print(f"columns: b of shape {b.shape} minus lr * sum(dz) has shape {shape_after}")

    twice, never = error(grad_w1 / n, grad_w1), error(grad_w1 * n, grad_w1)
    print(f"1/N twice: error {twice:.2f}; never: error {never:.2f}")

    elementwise = error(x.T * delta1, grad_w1)
    no_transpose = error(delta2 @ w2, delta2 @ w2.T)
    print(f"* for @: error {elementwise:.2f}; w2 not transposed: error {no_transpose:.2f}")

    grad_p = -onehot / p / n
    diagonal_only = error(grad_p * p * (1 - p), delta2)
    jacobian = error(p * (grad_p - (grad_p * p).sum(axis=1, keepdims=True)), delta2)
    print(f"softmax: derivative p(1-p): error {diagonal_only:.2f}; Jacobian: {jacobian:.0e}")

    w, grad_u, grad_r = 2.0, -4.0, 1.0  # the graph of the first figure: w feeds u and r
    overwritten = grad_r * w
    overwritten = grad_u * 3.0  # right: +=
    print(f"overwriting at a fan-out: {overwritten:.0f} instead of {grad_u * 3 + grad_r * w:.0f}")

    updated_w2 = w2 - 0.5 * grad_w2  # as w2 -= 0.5 * grad_w2 would leave it
    updated_too_early = error((delta2 @ updated_w2.T) * slope, delta1)
    print(f"w2 updated before delta1 is computed: error {updated_too_early:.2f}")

    central_2, central_5, central_9 = (
        error(finite_differences(x, onehot, w1, w2, h, central=True), grad_w1)
        for h in (1e-2, 1e-5, 1e-9)
    )
    forward_6, forward_8, forward_10 = (
        error(finite_differences(x, onehot, w1, w2, h, central=False), grad_w1)
        for h in (1e-6, 1e-8, 1e-10)
    )
    print(f"central: h=1e-2 {central_2:.0e}, 1e-5 {central_5:.0e}, 1e-9 {central_9:.0e}", end="; ")
    print(f"forward: 1e-6 {forward_6:.0e}, 1e-8 {forward_8:.0e}, 1e-10 {forward_10:.0e}")

    vanished = first_to_last(layers=50, gain=0.5, width=64, rng=rng)
    print(f"50 linear layers of gain 0.5: gradient times {vanished:.0e}")

    assert central_5 < 1e-8 < central_9 < central_2 and jacobian < 1e-12
    assert central_5 < forward_8 < min(forward_6, forward_10)
    assert min(wrong_axis, twice, never, elementwise, no_transpose, diagonal_only) > 0.1
    assert total_b2 < 1e-15 and shape_after == "(3, 5)"
    assert overwritten == -12.0 and updated_too_early > 0.01
    assert 1e-17 < vanished < 1e-13
