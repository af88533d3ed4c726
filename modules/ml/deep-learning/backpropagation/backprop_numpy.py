"""The four equations of backpropagation in NumPy agree with central differences.

A network of dense layers: tanh in the hidden ones, softmax and mean cross-entropy at the
end. Shapes: rows are examples. x is (N, D), layer l has w (D_{l-1}, D_l) and b (D_l,),
logits are (N, K), targets are N class numbers. A gradient has the shape of its variable.
Source: Rumelhart, Hinton and Williams (1986), Equations 4 to 7, here for whole batches.
"""

from itertools import pairwise

import numpy as np

Params = list[tuple[np.ndarray, np.ndarray]]


def init_params(sizes: list[int], rng: np.random.Generator) -> Params:
    """Return per layer random weights with variance 1 / D_{l-1}, and zero biases."""
    shapes = pairwise(sizes)
    return [(rng.normal(size=(d, k)) / np.sqrt(d), np.zeros(k)) for d, k in shapes]


def forward(x: np.ndarray, params: Params) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the logits (N, K) and the input (N, D_{l-1}) of every layer, for backward."""
    inputs = [x]
    for w, b in params[:-1]:
        inputs.append(np.tanh(inputs[-1] @ w + b))  # (N, D) @ (D, K) + (K,) -> (N, K)
    w, b = params[-1]
    return inputs[-1] @ w + b, inputs


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy and its gradient, (softmax - one-hot) / N, (N, K)."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # exp cannot overflow
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(targets))
    grad_logits = np.exp(log_probs)
    grad_logits[rows, targets] -= 1.0
    grad_logits /= len(targets)  # 1/N: only here
    return float(-log_probs[rows, targets].mean()), grad_logits


def backward(grad_logits: np.ndarray, inputs: list[np.ndarray], params: Params) -> Params:
    """Return the gradients of all weights and biases, in the order of params."""
    grads: Params = []
    delta = grad_logits  # (N, D_l): the gradient for the pre-activations of layer l
    for l in reversed(range(len(params))):
        a, (w, _) = inputs[l], params[l]
        grad_w, grad_b = a.T @ delta, delta.sum(axis=0)  # (D, N) @ (N, K) -> (D, K); (K,)
        grads.append((grad_w, grad_b))
        if l > 0:
            delta = (delta @ w.T) * (1.0 - a**2)  # (N, K) @ (K, D); tanh' = 1 - tanh^2
    return grads[::-1]


def central_differences(
    x: np.ndarray, targets: np.ndarray, params: Params, step: float = 1e-5
) -> Params:
    """Return the gradients from two forward passes per parameter."""

    def loss() -> float:
        return cross_entropy(forward(x, params)[0], targets)[0]

    grads = [(np.zeros_like(w), np.zeros_like(b)) for w, b in params]
    for layer, layer_grads in zip(params, grads, strict=True):
        for p, grad in zip(layer, layer_grads, strict=True):
            for i in np.ndindex(p.shape):
                center = p[i]
                p[i] = center + step
                above = loss()
                p[i] = center - step
                grad[i] = (above - loss()) / (2 * step)
                p[i] = center
    return grads


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    params = init_params([2, 8, 8, 2], rng)
    x = rng.normal(size=(100, 2))
    targets = (x[:, 0] * x[:, 1] > 0).astype(int)  # not linearly separable

    logits, inputs = forward(x, params)
    loss_before, grad_logits = cross_entropy(logits, targets)
    grads = backward(grad_logits, inputs, params)
    numeric = central_differences(x, targets, params)
    for (w, b), (grad_w, grad_b) in zip(params, grads, strict=True):
        print(f"w {w.shape}, its gradient {grad_w.shape}; b {b.shape}, {grad_b.shape}")
    flat = np.concatenate([g.ravel() for pair in grads for g in pair])
    flat_numeric = np.concatenate([g.ravel() for pair in numeric for g in pair])
    parameters = flat.size
    error = np.linalg.norm(flat - flat_numeric)
    relative_error = float(error / np.linalg.norm(flat_numeric))
    print(f"{parameters} derivatives, against central differences: {relative_error:.1e}")

    steps, lr = 500, 1.0
    for _ in range(steps):  # gradient descent learns, backpropagation tells it where
        logits, inputs = forward(x, params)
        loss_after, grad_logits = cross_entropy(logits, targets)
        for (w, b), (grad_w, grad_b) in zip(
            params, backward(grad_logits, inputs, params), strict=True
        ):
            w -= lr * grad_w
            b -= lr * grad_b
    print(f"{steps} steps of gradient descent: loss {loss_before:.3f} -> {loss_after:.3f}")

    assert relative_error < 1e-8
    assert loss_after < 0.1 < 0.6 < loss_before
