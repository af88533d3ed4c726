"""PyTorch's own start has a sixth of He's variance, and its biases drown the input.

nn.Linear draws weight and bias uniformly from +-1 / sqrt(n), variance 1 / (3 n), n the
fan-in. Shapes: x (N, n); weight (K, n). The share of the input is the variance of the
pre-activations between examples, divided by their mean square, both averaged over
units.
Source: documentation of torch.nn.Linear.
"""

import numpy as np
import torch
from torch import nn


def relu_signal(layers: list[nn.Linear], x: torch.Tensor) -> tuple[float, float]:
    """Return mean square and share of the input in the last layer's pre-activations."""
    z = layers[0](x)
    for layer in layers[1:]:
        z = layer(torch.relu(z))
    mean_square = z.square().mean().item()
    return mean_square, (z.var(dim=0, correction=0).mean() / mean_square).item()


if __name__ == "__main__":
    torch.manual_seed(0)
    n, width, depth = 1000, 256, 20
    layer = nn.Linear(n, 500)
    weight_times_n = n * layer.weight.var().item()
    bias_times_n = n * layer.bias.var().item()
    bound_times_root = layer.weight.abs().max().item() * n**0.5
    he_over_default = 2.0 / weight_times_n
    print(f"nn.Linear: n Var = {weight_times_n:.3f} (weight), {bias_times_n:.3f} (bias)")
    print(
        f"largest |weight| sqrt(n) = {bound_times_root:.4f}; He / default = {he_over_default:.2f}"
    )

    x = torch.randn(64, width, dtype=torch.float64)
    layers = [nn.Linear(width, width, dtype=torch.float64) for _ in range(depth)]
    with torch.no_grad():
        default_signal, default_share = relu_signal(layers, x)
        biases = 2 / (5 * width)  # fixed point of q -> q / 6 + 1 / (3 n)
        print(f"{depth} ReLU layers, default: mean square {default_signal:.1e}")
        print(f"  the biases alone: {biases:.1e}; share of the input: {default_share:.0e}")
        for each in layers:
            nn.init.zeros_(each.bias)
        no_bias_signal, _ = relu_signal(layers, x)
        print(f"default weights, zero biases: mean square {no_bias_signal:.1e}")
        for each in layers:
            nn.init.kaiming_normal_(each.weight, nonlinearity="relu")
        he_signal, he_share = relu_signal(layers, x)
        print(f"kaiming_normal_, zero biases: {he_signal:.2f}, share of the input {he_share:.2f}")

    xi_torch, xi_keras = 1 / np.log(6), 1 / np.log(2)  # chi_1 is w_var / 2: 1/6 and 1/2
    six_torch, six_keras = 6 * xi_torch, 6 * xi_keras
    relative_spread = default_share**0.5  # between examples; float32 resolves 1e-7

    assert abs(weight_times_n * 3 - 1) < 0.01 and abs(bias_times_n * 3 - 1) < 0.2
    assert 0.999 < bound_times_root <= 1.0 + 1e-6 and abs(he_over_default - 6) < 0.1
    assert abs(default_signal / biases - 1) < 0.3 and default_share < 1e-10
    assert 0.1 < no_bias_signal / (np.exp(-(depth - 1) / xi_torch) / 3) < 10  # 6 ** -19 / 3
    assert abs(np.exp(-1 / xi_keras) - 0.5) < 1e-9 and 1e-8 < relative_spread < 1e-5
    assert 0.2 < he_signal < 10 and 0.01 < he_share < 0.5
