"""Four bugs of modern activations: two NaN gradients, two swapped halves, a wrong default.

Shapes: elementwise functions keep the shape of x; the gated layers take (N, D) to (N, H).
In the first two bugs all values of the forward pass are right.
Sources: documentation of torch.nn.functional.glu and torch.nn.TransformerEncoderLayer.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def mish_naive(x: torch.Tensor) -> torch.Tensor:
    """The bug: exp(x) overflows, and its share of the gradient is 0 * inf."""
    return x * torch.tanh(torch.log(1 + torch.exp(x)))


def silu_naive(x: torch.Tensor) -> torch.Tensor:
    """The bug: exp(-x) overflows on the left."""
    return x / (1 + torch.exp(-x))


def swiglu_gate_first(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) * value for w = [gate, value] of shape (D, 2H)."""
    gate, value = (x @ w).chunk(2, dim=-1)  # (N, D) @ (D, 2H) -> (N, 2H) -> 2 x (N, H)
    return F.silu(gate) * value


def swiglu_gate_last(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Return value * silu(gate) for w = [value, gate], the order of torch's F.glu."""
    value, gate = (x @ w).chunk(2, dim=-1)
    return value * F.silu(gate)


def value_and_slope(f: Callable, x: float) -> tuple[float, float]:
    """Return f(x) and autograd's f'(x) in float32."""
    leaf = torch.tensor(x, requires_grad=True)
    y = f(leaf)
    return y.item(), torch.autograd.grad(y, leaf)[0].item()


if __name__ == "__main__":
    mish_value, mish_slope = value_and_slope(mish_naive, 100.0)
    mish_right = value_and_slope(F.mish, 100.0)[1]
    print(f"1. naive Mish(100) = {mish_value}, slope {mish_slope}; F.mish: {mish_right}")
    silu_value, silu_slope = value_and_slope(silu_naive, -100.0)
    silu_right = value_and_slope(F.silu, -100.0)[1]
    print(f"2. naive SiLU(-100) = {silu_value}, slope {silu_slope}; F.silu: {silu_right:.1e}")

    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(200, 64, generator=g), torch.randn(64, 256, generator=g) / 8
    right, swapped = swiglu_gate_first(x, w), swiglu_gate_last(x, w)
    swap_error = ((swapped - right).norm() / right.norm()).item()
    halves = (x @ w).chunk(2, dim=-1)
    torch_order = (F.glu(x @ w) - halves[0] * torch.sigmoid(halves[1])).abs().max().item()
    print(f"3. gate and value swapped: relative error {swap_error:.2f}, and no message")

    layer = nn.TransformerEncoderLayer(d_model=8, nhead=2)
    default_name = layer.activation.__name__
    print(f"4. nn.TransformerEncoderLayer without an argument uses {default_name}")

    assert (mish_value, mish_right) == (100.0, 1.0) and mish_slope != mish_slope  # NaN
    assert silu_value == 0.0 and silu_slope != silu_slope and abs(silu_right) < 1e-40
    assert swap_error > 0.3 and torch_order < 1e-6
    assert default_name == "relu"
