"""Softmax's Jacobian is the curvature of cross-entropy and the brake of squared error.

Shapes: logits (K,), one example. J = diag(p) - p p^T is (K, K), symmetric, of rank K - 1.
Squared error here is sum_k (p_k - y_k)^2 on the softmax's outputs, y one-hot.
Source of the bound J <= 1/2: Boehning (1992).
"""

import matplotlib.pyplot as plt
import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, shaped like logits."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_jacobian(logits: np.ndarray) -> np.ndarray:
    """Return dp_i / dz_j, (K, K): also the Hessian of the cross-entropy for the logits."""
    p = softmax(logits)
    return np.diag(p) - np.outer(p, p)


def squared_error(logits: np.ndarray, target: int) -> np.floating:
    """Return sum_k (p_k - y_k)^2 for the softmax p of logits (K,) and the one-hot y of target."""
    return np.sum((softmax(logits) - np.eye(len(logits))[target]) ** 2)


def squared_error_grad(logits: np.ndarray, target: int) -> np.ndarray:
    """Return the gradient (K,) of the squared error of the softmax: 2 J (p - y)."""
    error = softmax(logits)
    error[target] -= 1.0
    return 2.0 * softmax_jacobian(logits) @ error  # (K, K) @ (K,) -> (K,)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    logits, step = rng.normal(size=4), 1e-6
    jacobian = softmax_jacobian(logits)
    columns = [softmax(logits + s) - softmax(logits - s) for s in step * np.eye(4)]
    jacobian_error = float(np.max(np.abs(np.stack(columns, axis=1) / (2 * step) - jacobian)))
    steps = step * np.eye(4)
    change = [squared_error(logits + s, 2) - squared_error(logits - s, 2) for s in steps]
    slope = np.array(change) / (2 * step)
    slope_error = float(np.max(np.abs(slope - squared_error_grad(logits, 2))))
    rank = int(np.linalg.matrix_rank(jacobian))
    print(f"errors against central differences: J {jacobian_error:.1e}, gradient {slope_error:.1e}")
    print(f"rank of J: {rank} of 4")
    spectrum_size = 2000
    samples = 10.0 * rng.normal(size=(spectrum_size, 5))
    spectra = np.array([np.linalg.eigvalsh(softmax_jacobian(sample)) for sample in samples])
    smallest_eigenvalue, largest_eigenvalue = float(spectra.min()), float(spectra.max())
    print(f"{spectrum_size} random J: ", end="")
    print(f"eigenvalues from {smallest_eigenvalue:.1e} to {largest_eigenvalue:.4f}")

    brakes = {}
    for num_classes in (10, 100):
        start = np.zeros(num_classes)  # an untrained network: equal logits
        cross_entropy_grad = softmax(start) - np.eye(num_classes)[0]
        squared = squared_error_grad(start, 0)
        brakes[num_classes] = np.linalg.norm(squared) / np.linalg.norm(cross_entropy_grad)
    brake_10, brake_100 = float(brakes[10]), float(brakes[100])
    print("equal logits, gradient of squared error over that of cross-entropy:", end=" ")
    print(f"{brake_10:.3f} for K = 10, {brake_100:.3f} for K = 100")

    z = np.linspace(-8, 6, 281)  # logit of the true class; the other class has logit 0
    p = softmax(np.stack([np.zeros_like(z), z], axis=1))[:, 1]
    slope = np.array([squared_error_grad(np.array([0.0, t]), 1)[1] for t in z])
    wrong_slope = float(-squared_error_grad(np.array([0.0, -8.0]), 1)[1])
    fig, (top, bottom) = plt.subplots(
        2, 1, num="saturation", figsize=(5.4, 5.2), sharex=True, layout="constrained"
    )
    for axis, curves in ((top, (-np.log(p), 2 * (1 - p) ** 2)), (bottom, (1 - p, -slope))):
        axis.plot(z, curves[0], "C0-", label="cross-entropy")
        axis.plot(z, curves[1], "C1--", label="squared error")
        axis.axvline(0.0, color="0.5", lw=0.8)
    top.set_ylabel("loss (cross-entropy: nats)")
    bottom.set_ylabel("|gradient| in the logit")
    bottom.set_xlabel("logit of the true class (the other class: 0)")
    top.text(-5.0, 5.5, "cross-entropy")
    top.text(-7.9, 2.35, "squared error")
    bottom.text(-1.2, 0.85, "cross-entropy")
    bottom.text(-7.2, 0.14, "squared error")
    plt.show()

    assert jacobian_error < 1e-9 and slope_error < 1e-9 and rank == 3
    assert smallest_eigenvalue > -1e-14 and largest_eigenvalue <= 0.5 + 1e-12
    assert abs(brake_10 - 2 / 10) < 1e-12 and abs(brake_100 - 2 / 100) < 1e-12
    assert np.allclose(slope, -4 * p * (1 - p) ** 2)  # the closed form for two classes
    assert wrong_slope < 1e-2 < 0.999 < 1 - p[0]
