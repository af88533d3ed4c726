"""Hooks show the gradient of every layer; nn.Linear's own start lets ReLU nets vanish.

nn.Linear draws weights of variance 1 / (3 n); a ReLU halves the second moment; so the
squared norm of signal and gradient shrinks by about 6 per layer. Shapes: x (N, D), the
output of layer l is z (N, D_l) and its gradient delta has the same shape.
"""

import numpy as np
import torch
from torch import nn


def relu_network(depth: int, width: int, outputs: int) -> nn.Sequential:
    """Return depth hidden layers with ReLU and a linear output layer."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def layer_gradients(
    model: nn.Sequential, x: torch.Tensor, targets: torch.Tensor
) -> list[torch.Tensor]:
    """Return dL/dz of every linear layer, first layer first, L the mean cross-entropy."""
    outputs: list[torch.Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _layer, _inputs, z: outputs.append(z))
        for layer in model
        if isinstance(layer, nn.Linear)
    ]
    loss = nn.functional.cross_entropy(model(x), targets)
    for handle in handles:
        handle.remove()
    return list(torch.autograd.grad(loss, outputs))


if __name__ == "__main__":
    torch.manual_seed(0)
    depth, width = 20, 256
    x = torch.randn(64, width, dtype=torch.float64)
    targets = torch.arange(64) % 10
    model = relu_network(depth, width, 10).double()
    deltas = layer_gradients(model, x, targets)
    default_ratio = (deltas[0].norm() / deltas[-2].norm()).item()
    print(f"{depth} layers, default start: first over last hidden delta {default_ratio:.0e}")

    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    a, slopes = x.numpy(), []
    weights = [layer.weight.detach().numpy().T for layer in linear]
    for w, layer in zip(weights[:-1], linear, strict=False):
        z = a @ w + layer.bias.detach().numpy()  # (N, D) @ (D, K)
        a, slopes = np.maximum(z, 0), [*slopes, z > 0]
    delta, largest_difference = deltas[-1].numpy(), 0.0
    for w, slope, theirs in zip(weights[:0:-1], slopes[::-1], deltas[-2::-1], strict=True):
        delta = (delta @ w.T) * slope
        error = np.abs(delta - theirs.numpy()).max() / np.abs(delta).max()
        largest_difference = max(largest_difference, float(error))
    print(f"against the NumPy recursion: largest relative difference {largest_difference:.0e}")

    for layer in linear[:-1]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    deltas = layer_gradients(model, x, targets)
    he_ratio = (deltas[0].norm() / deltas[-2].norm()).item()
    print(f"after kaiming_normal_: {he_ratio:.1f}")

    rnn = nn.RNN(128, 128)
    torch_radius = torch.linalg.eigvals(rnn.weight_hh_l0.detach()).abs().max().item()
    torch_norm = torch.linalg.matrix_norm(rnn.weight_hh_l0.detach(), 2).item()
    print(
        f"nn.RNN(128, 128): recurrent weights of radius {torch_radius:.2f}, norm {torch_norm:.2f}"
    )

    assert largest_difference < 1e-12
    assert 1e-9 < default_ratio < 1e-6 and 0.1 < he_ratio < 10  # 6 ** -9.5 = 4e-8
    assert 0.45 < torch_radius < 0.7 and 1.0 < torch_norm < 1.3  # 1 / sqrt(3), 2 / sqrt(3)
