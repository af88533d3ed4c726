"""A saturated unit comes back, in about exp(z) steps; only rounding makes its derivative zero.

Shapes: x is (N, D), a layer of width K has pre-activations z (N, K). A unit counts as saturated for
an example where its derivative is below 1 % of the maximum. Recovery: one sigmoid unit a with
pre-activation z, target 0, gradient descent on z with learning rate 1.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch


def first_at(value: float, f: str, dtype: torch.dtype, sign: float = 1.0) -> float:
    """Return, by bisection, the smallest x from which PyTorch's f(sign * x) is the given value."""
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        x = torch.tensor(sign * middle, dtype=dtype)
        reached = getattr(torch, f)(x).item() == value
        low, high = (low, middle) if reached else (middle, high)
    return high


def derivative(f: str, x: float) -> float:
    """Return autograd's derivative in float32."""
    leaf = torch.tensor(x, requires_grad=True)
    return torch.autograd.grad(getattr(torch, f)(leaf), leaf)[0].item()


def steps_to_recover(start: float, loss: str, limit: int = 100_000) -> int:
    """Return the steps until sigmoid(z) < 1/2 for half the squared error or for cross-entropy."""
    z, steps = start, 0
    while z > 0 and steps < limit:
        a = 1 / (1 + np.exp(-z))
        z -= a * a * (1 - a) if loss == "squared" else a  # dL/dz with target 0
        steps += 1
    return steps


def saturated(gain: float, examples: int = 1000, width: int = 200) -> tuple[float, float, float]:
    """Return saturated entries, units saturated for every example, E[f'(z)^2] of a tanh layer."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(examples, width, generator=generator)
    w = gain * torch.randn(width, width, generator=generator) / width**0.5
    slope = 1 - torch.tanh(x @ w) ** 2  # (N, D) @ (D, K) -> (N, K)
    flat = slope < 0.01
    return flat.double().mean().item(), flat.all(0).double().mean().item(), (slope**2).mean().item()


if __name__ == "__main__":
    dtypes = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
    ones = {(f, n): first_at(1.0, f, d) for f in ("sigmoid", "tanh") for n, d in dtypes.items()}
    for name in dtypes:
        print(f"{name}: exactly 1 from sigmoid({ones['sigmoid', name]:.2f})", end=", ")
        print(f"tanh({ones['tanh', name]:.2f})")
    sigmoid64, sigmoid32, sigmoid16 = (ones["sigmoid", name] for name in dtypes)
    tanh64, tanh32, tanh16 = (ones["tanh", name] for name in dtypes)
    zero32 = first_at(0.0, "sigmoid", torch.float32, sign=-1.0)
    subnormal32 = float(126 * np.log(2))  # exp(-x) = 2^-126, the smallest normal number
    lost32 = float(150 * np.log(2))  # exp(-x) = 2^-150, half the smallest number
    print(f"float32: sigmoid(-x) exactly 0 from {zero32:.2f}; exp(-x) only from {lost32:.2f}")
    right, left = derivative("sigmoid", 17.0), derivative("sigmoid", -17.0)
    print(f"float32, sigmoid' by autograd: at 17 {right:.1e}, at -17 {left:.1e}")

    gains = (1.0, 3.0, 10.0)
    shares, all_shares, squares = zip(*(saturated(gain) for gain in gains), strict=True)
    for gain, *row in zip(gains, shares, all_shares, squares, strict=True):
        print(f"weights of std {gain:2.0f}/sqrt(n): saturated {row[0]:.1%}", end=", ")
        print(f"for every example {row[1]:.1%}, mean squared slope {row[2]:.3f}")

    share_1, share_3, share_10 = shares
    square_1, square_3, square_10 = squares
    every_1, every_3, every_10 = all_shares

    starts = np.arange(1, 11)
    squared = [steps_to_recover(float(z), "squared") for z in starts]
    cross_entropy = [steps_to_recover(float(z), "cross-entropy") for z in starts]
    squared_from_10, cross_entropy_from_10 = squared[-1], cross_entropy[-1]
    ratio = squared_from_10 / np.exp(10)
    print(f"from z = 10: {squared_from_10:,} steps ({ratio:.2f} exp(10))", end="; ")
    print(f"with cross-entropy {cross_entropy_from_10}")

    fig, ax = plt.subplots(num="recovery", figsize=(6.4, 3.8))
    ax.semilogy(starts, squared, "o-", color="C0")
    ax.semilogy(starts, np.exp(starts), ":", color="0.5", lw=2)
    ax.semilogy(starts, cross_entropy, "s--", color="C1")
    ax.text(6.6, 2500, "squared error", color="C0", ha="right")
    ax.text(8.7, 2000, "exp(z)", ha="left")
    ax.text(7.0, 14, "cross-entropy", color="C1")
    ax.set_xlabel("pre-activation z at the start")
    ax.set_ylabel("steps until σ(z) < 1/2")
    plt.show()

    assert abs(sigmoid32 - 24 * np.log(2)) < 0.1 and abs(tanh32 - 13 * np.log(2)) < 0.5
    assert abs(sigmoid64 - 53 * np.log(2)) < 0.1 and 3 < tanh16 < sigmoid16 < 8
    assert np.exp(np.float32(-lost32 + 0.1)) > 0 == np.exp(np.float32(-lost32 - 0.1))
    assert np.exp(-subnormal32 + 0.1) > np.finfo(np.float32).tiny > np.exp(-subnormal32 - 0.1)
    assert subnormal32 - 0.1 < zero32 < lost32 + 0.1 and left > 0
    assert right == 0.0 and abs(left / np.exp(-17) - 1) < 1e-3
    assert shares[0] < 0.02 and shares[2] > 0.7 and max(all_shares) == 0.0
    assert 0.9 < ratio < 1.1 and cross_entropy_from_10 < 20
