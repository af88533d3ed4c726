"""Backward, a gradient is a product of layer Jacobians, so its norm moves exponentially.

Rows are examples: x (N, D), weights w (D_in, D_out), z = a @ w without biases. delta of a
layer is dL/dz, (N, D_out). The last layer has no activation function; its delta is given.
Jacobians are outputs by inputs: of layer l + 1, w.T * f'(z), (D_out, D_in).
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np


def activate(z: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return f(z) and f'(z) of sigmoid, tanh or relu, or of the identity."""
    if name == "relu":
        return np.maximum(z, 0.0), (z > 0).astype(z.dtype)
    if name == "identity":
        return z, np.ones_like(z)
    a = np.tanh(z) if name == "tanh" else 0.5 * (1.0 + np.tanh(0.5 * z))  # cannot overflow
    return a, 1.0 - a**2 if name == "tanh" else a * (1.0 - a)


def init_weights(sizes: list[int], gain: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Return weights with variance gain / D_in."""
    return [rng.normal(size=(d, k)) * np.sqrt(gain / d) for d, k in pairwise(sizes)]


def forward(
    x: np.ndarray, weights: list[np.ndarray], name: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the inputs of all layers and f'(z) of all hidden layers."""
    inputs, slopes = [x], []
    for w in weights[:-1]:
        a, slope = activate(inputs[-1] @ w, name)  # (N, D_in) @ (D_in, D_out)
        inputs.append(a)
        slopes.append(slope)
    return inputs, slopes


def backward(
    delta: np.ndarray, weights: list[np.ndarray], slopes: list[np.ndarray]
) -> list[np.ndarray]:
    """Return delta of every layer, first layer first; delta (N, K) is that of the last."""
    deltas = [delta]
    for w, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        deltas.append((deltas[-1] @ w.T) * slope)  # (N, D_out) @ (D_out, D_in)
    return deltas[::-1]


def jacobian(weights: list[np.ndarray], slopes: list[np.ndarray], n: int) -> np.ndarray:
    """Return dz_last / dz_first of example n as the product of the layers' Jacobians."""
    product = np.eye(weights[0].shape[1])
    for w, slope in zip(weights[1:], slopes, strict=True):
        product = (w.T * slope[n]) @ product  # (D_out, D_in) @ (D_in, D_1)
    return product


if __name__ == "__main__":
    width, depths, examples = 100, [5, 10, 20, 50], 20
    styles = {
        "sigmoid, 1/n": ("C0", "o"),
        "tanh, 1/n": ("C1", "s"),
        "ReLU, 1/n": ("C2", "^"),
        "ReLU, 2/n": ("C3", "D"),
        "tanh, 4/n": ("C4", "v"),
    }
    ratio: dict[tuple[str, int], float] = {}
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for recipe in styles:
        name, gain = recipe.lower().split(",")[0], float(recipe[-3])
        for depth in depths:
            rng = np.random.default_rng(0)  # the same draws for all activation functions
            weights = init_weights([width] * (depth + 1), gain, rng)
            inputs, slopes = forward(rng.normal(size=(examples, width)), weights, name)
            last = rng.normal(size=(examples, width)) / width**0.5
            deltas = backward(last, weights, slopes)
            norms = np.array([np.linalg.norm(d) for d in deltas])
            pairs = zip(inputs, deltas, strict=True)
            w_norms = np.array([np.linalg.norm(a.T @ d) for a, d in pairs])
            ratio[recipe, depth] = norms[0] / norms[-1]
            curves[recipe] = norms / norms[-1], w_norms / w_norms[-1]
        shown = "  ".join(f"{ratio[recipe, depth]:7.0e}" for depth in depths)
        print(f"{recipe:12s} first over last delta at depth 5, 10, 20, 50: {shown}")
    sigmoid_5, sigmoid_10, sigmoid_20, sigmoid_50 = (ratio["sigmoid, 1/n", d] for d in depths)
    tanh_5, tanh_10, tanh_20, tanh_50 = (ratio["tanh, 1/n", d] for d in depths)
    relu_5, relu_10, relu_20, relu_50 = (ratio["ReLU, 1/n", d] for d in depths)
    he_5, he_10, he_20, he_50 = (ratio["ReLU, 2/n", d] for d in depths)
    large_5, large_10, large_20, large_50 = (ratio["tanh, 4/n", d] for d in depths)
    w_ratio_relu = float(curves["ReLU, 1/n"][1][0])
    print(f"ReLU, 1/n: first over last gradient of the *weights*: {w_ratio_relu:.1f}")

    rng = np.random.default_rng(1)
    weights = init_weights([6] * 9, 1.0, rng)
    x, last = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    inputs, slopes = forward(x, weights, "tanh")
    deltas, product = backward(last, weights, slopes), jacobian(weights, slopes, 2)
    product_error = float(np.abs(deltas[0][2] - last[2] @ product).max())
    h, z1, direction = 1e-5, x @ weights[0], rng.normal(size=(4, 6))
    ends = []
    for sign in (1, -1):  # move z of the first layer, run the rest
        a = activate(z1 + sign * h * direction, "tanh")[0]
        rest, _ = forward(a, weights[1:], "tanh")
        ends.append(float(np.sum(last * (rest[-1] @ weights[-1]))))
    numeric = (ends[0] - ends[1]) / (2 * h)
    gradient_error = abs(float(np.sum(deltas[0] * direction)) / numeric - 1)
    print(f"delta against the product of Jacobians: {product_error:.0e}")
    print(f"delta against central differences: {gradient_error:.0e}")

    fig, ax = plt.subplots(num="depth", figsize=(5.4, 4.2), layout="constrained")
    for recipe, (color, marker) in styles.items():
        layers = np.arange(1, depths[-1] + 1)
        ax.semilogy(layers, curves[recipe][0], color=color, marker=marker, markevery=7)
        at, offset = {
            "ReLU, 2/n": (12, (0, 5)),
            "tanh, 1/n": (12, (0, -14)),
            "tanh, 4/n": (5, (8, 5)),
        }.get(recipe, (8, (10, -12)))
        ax.annotate(recipe, (at, curves[recipe][0][at - 1]), offset, textcoords="offset points")
    ax.axhline(1.0, color="0.5", linewidth=0.8)
    ax.set_ylim(top=1e7)
    ax.set(xlabel="layer (the gradient comes from the right)", ylabel="norm, relative to layer 50")
    plt.show()

    assert product_error < 1e-12 and gradient_error < 1e-7
    assert sigmoid_50 < 1e-25 and 1e-9 < relu_50 < 1e-6  # 2 ** -24.5 = 4e-8
    assert 0.02 < he_50 < 50 and 0.001 < tanh_50 < 10 and large_50 > 100
    assert all(ratio[recipe, 50] == curve[0] for recipe, (curve, _) in curves.items())
    assert 0.2 < w_ratio_relu < 5  # the signal shrinks forward as delta does backward
