"""Five names that promise more than they do, each computed.

Convolution kernels are (out, in, kernel, kernel); a circular convolution is diagonal in the
Fourier basis, with one (out, in) matrix per frequency, which gives its singular values.
"""

import math

import torch
from torch import nn


def convolution_singular_values(kernel: torch.Tensor, size: int) -> torch.Tensor:
    """Return all singular values of the circular convolution of size x size images."""
    spectrum = torch.fft.fft2(kernel, s=(size, size))  # (out, in, size, size)
    return torch.linalg.svdvals(spectrum.permute(2, 3, 0, 1)).flatten()


def delta_orthogonal(channels: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return a kernel that is an orthogonal matrix at its center and zero elsewhere."""
    kernel = torch.zeros(channels, channels, size, size)
    nn.init.orthogonal_(kernel[:, :, size // 2, size // 2], generator=generator)
    return kernel


if __name__ == "__main__":
    g = torch.Generator().manual_seed(0)
    kernel = nn.init.orthogonal_(torch.empty(16, 16, 3, 3), generator=g)
    flat = torch.linalg.svdvals(kernel.flatten(1))
    values = convolution_singular_values(kernel, 8)
    conv_low, conv_high = values.min().item(), values.max().item()
    delta = convolution_singular_values(delta_orthogonal(16, 3, g), 8)
    delta_error = (delta - 1).abs().max().item()
    print(f"1. flattened kernel {flat.min():.2f} to {flat.max():.2f}; as a convolution")
    print(f"   {conv_low:.2f} to {conv_high:.2f}; delta-orthogonal off by {delta_error:.0e}")

    gates = nn.init.orthogonal_(torch.empty(4 * 32, 32), generator=g)
    one_gate = torch.linalg.svdvals(gates[:32])
    gate_low, gate_high = one_gate.min().item(), one_gate.max().item()
    print(f"2. four stacked gates: singular values of one {gate_low:.2f} to {gate_high:.2f}")

    torch.manual_seed(0)
    default_variance = nn.Linear(512, 512).weight.var().item() * 512
    print(f"3. nn.Linear: variance times fan-in {default_variance:.3f} (LeCun: 1)")

    selu_gain = nn.init.calculate_gain("selu")
    weight = torch.empty(512, 512)
    nn.init.kaiming_normal_(weight, nonlinearity="selu", generator=g)
    selu_variance = weight.var().item() * 512
    nn.init.kaiming_normal_(weight, nonlinearity="linear", generator=g)
    lecun_variance = weight.var().item() * 512
    print(f"4. gain of SELU {selu_gain}: variance times fan-in {selu_variance:.2f}")
    print(f"   nonlinearity='linear' is LeCun: {lecun_variance:.2f}")

    bound = math.sqrt(3 / 512)  # uniform on [-b, b] has the variance b^2 / 3
    uniform = torch.empty(512, 512).uniform_(-bound, bound, generator=g)
    uniform_variance = uniform.var().item() * 512
    print(f"5. LeCun uniform, bound sqrt(3 / n): {uniform_variance:.2f}")

    assert (flat - 1).abs().max() < 1e-5 and conv_low < 0.5 and conv_high > 1.5
    assert delta_error < 1e-5 and gate_low < 0.3 and gate_high < 1.0
    assert abs(default_variance - 1 / 3) < 0.01 and selu_gain == 0.75
    assert abs(selu_variance - 0.5625) < 0.01 and abs(lecun_variance - 1) < 0.01
    assert abs(uniform_variance - 1) < 0.01
