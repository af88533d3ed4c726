"""torch.nn.init draws exactly these numbers; packed and depthwise weights fool its fans.

PyTorch stores (fan_out, fan_in) and (C_out, C_in / groups, height, width), and reads both fans
from the shape. Only the shape counts: groups, stride and packed matrices are unknown to it.
"""

from math import prod, sqrt

import torch
from torch import nn


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """Return fan-in and fan-out as PyTorch reads them from the shape."""
    area = prod(weight.shape[2:])
    return weight.shape[1] * area, weight.shape[0] * area


def variance(weight: torch.Tensor, gain: float = 1.0) -> float:
    """Return the variance of Xavier weights of this shape."""
    return gain**2 * 2.0 / sum(fans(weight))


def true_fans(conv: nn.Conv2d) -> tuple[int, int]:
    """Return the inputs of an output and the outputs that an input feeds, on average."""
    fan_in, fan_out = fans(conv.weight)
    return fan_in, fan_out // (conv.groups * prod(conv.stride))


def rms_after(layers: int, std: float, width: int) -> float:
    """Return the rms activation of a tanh network whose weights have this std."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(50, width, generator=g)
    for _ in range(layers):
        a = torch.tanh(a @ (std * torch.randn(width, width, generator=g)))  # (N, n) @ (n, n)
    return a.square().mean().sqrt().item()


if __name__ == "__main__":
    largest_difference = 0.0
    for shape in ((256, 512), (32, 16, 3, 3), (8, 4, 5)):
        for gain in (1.0, nn.init.calculate_gain("tanh")):
            ours, theirs = torch.empty(shape), torch.empty(shape)
            std = sqrt(variance(theirs, gain))
            g = torch.Generator()
            nn.init.xavier_uniform_(theirs, gain, generator=g.manual_seed(0))
            ours.uniform_(-sqrt(3) * std, sqrt(3) * std, generator=g.manual_seed(0))
            differences = [(ours - theirs).abs().max().item()]
            nn.init.xavier_normal_(theirs, gain, generator=g.manual_seed(0))
            ours.normal_(0.0, std, generator=g.manual_seed(0))
            differences.append((ours - theirs).abs().max().item())
            largest_difference = max(largest_difference, *differences)
    print(f"formulas against nn.init, same seed: {largest_difference:.0e}")

    conv_in, conv_out = fans(nn.Conv2d(16, 32, 3).weight)
    tanh_gain, sigmoid_gain = (float(nn.init.calculate_gain(f)) for f in ("tanh", "sigmoid"))
    print(f"Conv2d(16, 32, 3): fans {conv_in}, {conv_out}; gains {tanh_gain:.3f}, {sigmoid_gain:g}")

    depthwise = nn.Conv2d(64, 64, 3, groups=64)
    read_in, read_out = fans(depthwise.weight)
    real_in, real_out = true_fans(depthwise)
    depthwise_factor = real_in * variance(depthwise.weight)
    print(f"depthwise: fans read as {read_in}, {read_out}, really {real_in}, {real_out};", end=" ")
    print(f"mean square x {depthwise_factor:.3f} forward")

    torch.manual_seed(0)  # modules draw from the global generator
    width = 256
    packed = nn.MultiheadAttention(width, 4).in_proj_weight.detach()
    separate = nn.MultiheadAttention(width, 4, kdim=width, vdim=width + 1).q_proj_weight.detach()
    packed_factor = (width * packed.var(correction=0)).item()
    separate_factor = (width * separate.var(correction=0)).item()
    print(f"attention: packed weights x {packed_factor:.2f}, separate x {separate_factor:.2f}")

    n, layers = 512, 3
    right_std = sqrt(2 / (n + n))
    wrong_std = 2 / (n + n)  # the variance where the standard deviation belongs
    right, wrong = rms_after(layers, right_std, n), rms_after(layers, wrong_std, n)
    print(f"{layers} tanh layers of {n}: rms {right:.2f}; with the variance as std {wrong:.0e}")

    default = nn.Linear(n, n).weight.detach()
    default_variance = (n * default.var(correction=0)).item()  # times n
    print(f"nn.Linear({n}, {n}) itself: variance {default_variance:.3f} / n")

    assert largest_difference < 1e-6  # uniform_ may round the bounds in another order
    for layer in (nn.Linear(512, 256), nn.Conv2d(16, 32, 3), depthwise):
        assert fans(layer.weight) == nn.init._calculate_fan_in_and_fan_out(layer.weight)
    assert abs(packed_factor - 0.5) < 0.02 and abs(separate_factor - 1.0) < 0.05
    assert abs(depthwise_factor - 9 * 2 / (9 + 9 * 64)) < 1e-12
    assert abs(wrong_std - right_std**2) < 1e-12 and right > 0.3 and wrong < 1e-3
    assert abs(default_variance - 1 / 3) < 0.01
