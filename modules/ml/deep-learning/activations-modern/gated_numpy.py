"""A gated layer has three matrices, and its backward pass sends a gradient down both branches.

Shapes: x (N, D), w_gate and w_value (D, H), w_out (H, D), no biases. The gate gets the function f,
the value branch none: y = (f(x @ w_gate) * (x @ w_value)) @ w_out.
Source: Shazeer (2020), Equations 5 and 6; he writes W, V and W2 for the three matrices.
"""

import math
from collections.abc import Callable

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
Weights = tuple[np.ndarray, np.ndarray, np.ndarray]


def sigmoid(z: np.ndarray) -> Pair:
    """Return the sigmoid of z and its derivative."""
    r = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, r) / (1 + r), r / (1 + r) ** 2


def identity(z: np.ndarray) -> Pair:
    """Return z and ones."""
    return z, np.ones_like(z)


def relu(z: np.ndarray) -> Pair:
    """Return max(z, 0) and its derivative, 0 at 0."""
    return np.maximum(z, 0.0), (z > 0).astype(z.dtype)


def gelu(z: np.ndarray) -> Pair:
    """Return z * P(X <= z) for X ~ N(0, 1), and its derivative."""
    cdf = 0.5 * np.vectorize(math.erfc, otypes=[float])(-z / math.sqrt(2))
    t = np.clip(z, -40.0, 40.0)
    return z * cdf, cdf + t * np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)


def silu(z: np.ndarray) -> Pair:
    """Return z * sigmoid(z) and its derivative."""
    s, slope = sigmoid(z)
    return z * s, s + z * slope


GATES: dict[str, Callable[[np.ndarray], Pair]] = {
    "GLU": sigmoid,
    "Bilinear": identity,
    "ReGLU": relu,
    "GEGLU": gelu,
    "SwiGLU": silu,
}


def forward(x: np.ndarray, weights: Weights, gate: Callable) -> np.ndarray:
    """Return the outputs (N, D) of the gated layer."""
    w_gate, w_value, w_out = weights
    z = x @ w_gate  # (N, D) @ (D, H) -> (N, H)
    v = x @ w_value  # (N, D) @ (D, H) -> (N, H)
    return (gate(z)[0] * v) @ w_out  # (N, H) @ (H, D) -> (N, D)


def backward(
    grad_y: np.ndarray, x: np.ndarray, weights: Weights, gate: Callable
) -> tuple[np.ndarray, Weights]:
    """Return the gradients for x and for the three matrices."""
    w_gate, w_value, w_out = weights
    z, v = x @ w_gate, x @ w_value
    a, slope = gate(z)
    grad_h = grad_y @ w_out.T  # (N, D) @ (D, H) -> (N, H)
    grad_v = grad_h * a  # each factor of the product receives the other one
    grad_z = grad_h * v * slope
    grad_x = grad_z @ w_gate.T + grad_v @ w_value.T  # x is used twice: add
    return grad_x, (x.T @ grad_z, x.T @ grad_v, (a * v).T @ grad_y)


def matched_width(ungated: int, multiple_of: int = 1) -> int:
    """Return 2/3 of the ungated hidden width, rounded up to a multiple."""
    return -(-(2 * ungated // 3) // multiple_of) * multiple_of


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n, d, h = 5, 4, 6
    x, grad_y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    weights = rng.normal(size=(d, h)) / 2, rng.normal(size=(d, h)) / 2, rng.normal(size=(h, d)) / 2
    gradient_error, step, growth = 0.0, 1e-5, {}
    for name, gate in GATES.items():
        grad_x, grads = backward(grad_y, x, weights, gate)
        for array, grad in zip((x, *weights), (grad_x, *grads), strict=True):
            for index in np.ndindex(array.shape):  # L = sum(grad_y * y)
                kept = array[index]
                losses = []
                for value in (kept + step, kept - step):
                    array[index] = value
                    losses.append((grad_y * forward(x, weights, gate)).sum())
                array[index] = kept
                error = abs((losses[0] - losses[1]) / (2 * step) - grad[index])
                gradient_error = max(gradient_error, float(error))
        far = np.linalg.norm(forward(200 * x, weights, gate))
        growth[name] = float(far / np.linalg.norm(forward(100 * x, weights, gate)))
    print(f"all five variants: error against finite differences {gradient_error:.1e}")
    print("twice a large input:", ", ".join(f"{k} {v:.2f}x" for k, v in growth.items()))
    glu_growth, swiglu_growth = growth["GLU"], growth["SwiGLU"]

    d_model, d_ff = 768, 3072  # Shazeer (2020), Section 3.1
    d_gated = matched_width(d_ff)
    plain, gated = 2 * d_model * d_ff, 3 * d_model * d_gated
    print(f"ungated width {d_ff}: {plain:,} weights; gated width {d_gated}: {gated:,}")
    llama_width = matched_width(4 * 4096, multiple_of=256)
    llama_ratio = 3 * llama_width / (2 * 4 * 4096)
    print(f"width 4096, rounded to a multiple of 256: {llama_width}, ratio {llama_ratio:.4f}")

    assert gradient_error < 1e-7
    assert d_gated == 2048 and plain == gated and llama_width == 11008
    assert abs(growth["Bilinear"] - 4) < 1e-9 and abs(growth["ReGLU"] - 4) < 1e-9
    assert growth["GLU"] < 2.2 and growth["SwiGLU"] > 3.8
