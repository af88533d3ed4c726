"""Autograd, nn.Linear and scikit-learn agree with the formulas of one neuron.

nn.Linear(D, 1) keeps its weight as (1, D) and returns (N, 1): squeeze the last axis.
scikit-learn penalizes the weights unless C is infinite.
"""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from torch import nn


def formulas(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    b: float,
) -> tuple[np.ndarray, ...]:
    """Return the mean loss, dL/dw and dL/db by the formulas of the page."""
    z = x @ w + b  # (N, D) @ (D,) -> (N,)
    delta = (1.0 / (1.0 + np.exp(-z)) - y) / len(y)  # z is small here
    return np.mean(np.logaddexp(0.0, z) - y * z), delta @ x, delta.sum()


def train(x: torch.Tensor, y: torch.Tensor, lr: float, steps: int) -> nn.Linear:
    """Return a neuron after gradient descent from zero on the mean cross-entropy."""
    neuron = nn.Linear(x.shape[1], 1, dtype=x.dtype)
    nn.init.zeros_(neuron.weight)
    nn.init.zeros_(neuron.bias)
    optimizer = torch.optim.SGD(neuron.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        z = neuron(x).squeeze(-1)  # (N, 1) -> (N,)
        nn.functional.binary_cross_entropy_with_logits(z, y).backward()
        optimizer.step()
    return neuron


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)  # nn.Linear takes no generator
    data = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(data.target))[:400]
    x, y = data.data[order, :2], (data.target[order] == 0).astype(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    x_torch, y_torch = torch.tensor(x), torch.tensor(y)

    w, b = torch.tensor([0.3, -0.8]).double(), torch.tensor(0.5).double()
    w.requires_grad_()
    b.requires_grad_()
    value = nn.functional.binary_cross_entropy_with_logits(x_torch @ w + b, y_torch)
    value.backward()
    ours = formulas(x, y, w.detach().numpy(), b.item())
    theirs = [value.detach(), w.grad, b.grad]
    pairs = zip(ours, theirs, strict=True)
    largest_difference = float(max(np.abs(a - t.numpy()).max() for a, t in pairs))
    print(f"loss, gradients: autograd differs from NumPy by {largest_difference:.1e}")

    neuron = train(x_torch, y_torch, lr=2.0, steps=500)
    trained = np.append(neuron.weight.detach().numpy(), neuron.bias.item())
    exact = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    default = LogisticRegression().fit(x, y)  # C = 1: a penalty on the weights
    solution = np.append(exact.coef_, exact.intercept_)
    shrunk = np.append(default.coef_, default.intercept_)
    solver_difference = float(np.abs(trained - solution).max())
    penalty_difference = float(np.abs(shrunk - solution).max())
    print(f"w1, w2, b: nn.Linear {trained.round(4)}")
    print(f"           scikit-learn without penalty {solution.round(4)}")
    print(f"           scikit-learn's default {shrunk.round(4)}")
    bound = 1 / np.sqrt(9)
    wide = nn.Linear(9, 10_000)  # a layer of 10,000 neurons, as PyTorch initializes it
    largest_bias = float(wide.bias.detach().abs().max())
    print(f"initial biases for 9 inputs: up to {largest_bias:.4f} in size")

    assert largest_difference < 1e-14 and solver_difference < 1e-5
    assert penalty_difference > 0.05 and 0.99 * bound < largest_bias <= bound + 1e-6
