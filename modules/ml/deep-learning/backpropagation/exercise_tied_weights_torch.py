"""Exercise 4: a matrix that is used twice gets the sum of two gradients.

Shapes: x is (N, D), w (D, H). Autoencoder with tied weights: a = tanh(x @ w), r = a @ w.T;
loss = half the squared reconstruction error, mean over the examples.
"""

import numpy as np
import torch


def tied_gradient(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients from the encoder's and the decoder's use of w, both (D, H)."""
    a = np.tanh(x @ w)  # (N, D) @ (D, H) -> (N, H)
    delta2 = (a @ w.T - x) / len(x)  # (N, H) @ (H, D) -> (N, D)
    delta1 = (delta2 @ w) * (1 - a**2)  # (N, D) @ (D, H) -> (N, H)
    return x.T @ delta1, delta2.T @ a


def autograd_gradient(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return what autograd finds."""
    inputs, weight = torch.tensor(x), torch.tensor(w, requires_grad=True)
    reconstruction = torch.tanh(inputs @ weight) @ weight.T
    (0.5 * (reconstruction - inputs).square().sum() / len(x)).backward()
    return weight.grad.numpy()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(20, 6)), 0.5 * rng.normal(size=(6, 3))
    encoder, decoder = tied_gradient(x, w)
    right = autograd_gradient(x, w)
    largest_difference = float(np.max(np.abs(encoder + decoder - right)))
    share_lost = float(np.linalg.norm(decoder - right) / np.linalg.norm(right))
    print(f"encoder + decoder against autograd: largest difference {largest_difference:.1e}")
    print(f"with the decoder's part only, the gradient is off by {share_lost:.0%}")

    assert largest_difference < 1e-12 and share_lost > 0.1
