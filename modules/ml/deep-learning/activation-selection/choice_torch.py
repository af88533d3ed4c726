"""A hidden layer takes its activation by name; an output layer takes the one its targets need.

Shapes: x is (N, D). A gated layer has three matrices, D x H, D x H and H x D; two-thirds of
the plain width give it the parameters of a plain block (Shazeer, 2020, Section 2).
"""

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,  # has a parameter: one object per layer
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
}


def matched_width(width: int, multiple: int = 1) -> int:
    """Return 2/3 of the plain hidden width, rounded up to a multiple."""
    return -(-(2 * width) // (3 * multiple)) * multiple


class GatedBlock(nn.Module):
    """SwiGLU: (silu(x W) * x V) U, without biases."""

    def __init__(self, d: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.value = (nn.Linear(d, hidden, bias=False) for _ in range(2))
        self.out = nn.Linear(hidden, d, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.silu(self.gate(x)) * self.value(x))  # (N, D) -> (N, H) -> (N, D)


def plain_block(name: str, d: int, hidden: int) -> nn.Sequential:
    """Return the two-matrix block with the activation of this name."""
    layers = nn.Linear(d, hidden, bias=False), nn.Linear(hidden, d, bias=False)
    return nn.Sequential(layers[0], HIDDEN[name](), layers[1])


def floor(low: float, high: float, y: torch.Tensor) -> float:
    """Return the smallest mean squared error of any output confined to (low, high)."""
    return (y - y.clamp(low, high)).square().mean().item()


if __name__ == "__main__":
    with torch.device("meta"):  # shapes without memory
        plain, gated = plain_block("gelu", 4096, 4 * 4096), GatedBlock(4096, 4 * 4096)
        llama_width = matched_width(4 * 4096, multiple=256)
        matched = GatedBlock(4096, llama_width)
    counts = [sum(p.numel() for p in block.parameters()) for block in (plain, gated, matched)]
    unmatched_ratio, matched_ratio = counts[1] / counts[0], counts[2] / counts[0]
    print(f"width 16384 gated: {unmatched_ratio:.2f} times the parameters of the plain block;")
    print(f"  width {llama_width}: {matched_ratio:.4f} times")

    generator = torch.Generator().manual_seed(0)
    x, block = torch.randn(64, 12, generator=generator), GatedBlock(12, 8)
    for p in block.parameters():
        nn.init.normal_(p, std=p.shape[1] ** -0.5, generator=generator)
    packed = torch.cat([block.value.weight, block.gate.weight])  # F.glu gates the first half
    first, second = F.linear(x, packed).chunk(2, dim=-1)
    by_halves = block.out(first * F.silu(second))
    packed_difference = (by_halves - block(x)).abs().max().item()
    glu_width = F.glu(x).shape[-1]  # the library's function halves the width
    print(f"one packed matrix gives the same to {packed_difference:.0e}; F.glu: 12 -> {glu_width}")

    y = torch.randn(200_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inf = float("inf")
    floor_relu, floor_tanh = floor(0.0, inf, y), floor(-1.0, 1.0, y)
    floor_sigmoid, floor_none = floor(0.0, 1.0, y), floor(-inf, inf, y)
    print(f"standard normal targets, lowest squared error: ReLU {floor_relu:.2f},", end=" ")
    print(f"sigmoid {floor_sigmoid:.2f}, tanh {floor_tanh:.2f}, none {floor_none:.2f}")
    z = torch.full((3,), -2.0, requires_grad=True)
    F.mse_loss(torch.relu(z), torch.tensor([0.5, 1.0, 2.0])).backward()
    dead_gradient = z.grad.abs().max().item()
    print(f"ReLU on the output at z = -2, positive targets: gradient {dead_gradient:.0f}")

    shared = nn.PReLU()
    reused = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    slopes_shared = sum(p.numel() for m in reused if m is shared for p in m.parameters()) // 2
    print(f"one nn.PReLU object used twice: {slopes_shared} slope, not 2")

    assert llama_width == 11008 and abs(unmatched_ratio - 1.5) < 1e-12
    assert abs(matched_ratio - 1) < 0.01 and packed_difference < 1e-5 and glu_width == 6
    assert abs(floor_relu - 0.5) < 0.01 and abs(floor_tanh - 0.1509) < 0.01
    assert abs(floor_sigmoid - 0.5754) < 0.01 and floor_none == 0.0
    assert dead_gradient == 0.0 and slopes_shared == 1
    assert len([*reused.parameters()]) == 5
