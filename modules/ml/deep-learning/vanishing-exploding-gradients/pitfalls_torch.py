"""Four checks of common sentences about vanishing and exploding gradients.

Shapes: x (N, D). Clipping is torch.nn.utils; norms are over all parameters together.
"""

import torch
from torch import nn


def clipped(grad: torch.Tensor, by_value: float = 0.0, by_norm: float = 0.0) -> torch.Tensor:
    """Return a copy of the gradient after torch's clipping by value or by norm."""
    p = nn.Parameter(torch.zeros_like(grad))
    p.grad = grad.clone()
    if by_value:
        nn.utils.clip_grad_value_(p, by_value)
    if by_norm:
        nn.utils.clip_grad_norm_(p, by_norm)
    return p.grad


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    grad = normal(1, 100)  # "vanishing comes from the sigmoid": 50 linear layers, gain 1/2
    start = grad.norm().item()
    for _ in range(50):
        grad = grad @ normal(100, 100) * 0.05
    linear_factor = grad.norm().item() / start
    print(f"50 linear layers of gain 1/2: {linear_factor:.0e}")

    x = normal(256, 512)  # "ReLU solves it": the second moment after 20 layers
    moments = []
    for gain in (1.0, 2.0):
        h = x
        for _ in range(20):
            h = torch.relu(h @ normal(512, 512) * (gain / 512) ** 0.5)
        moments.append(h.square().mean().item())
    xavier_moment, he_moment = moments
    print(f"20 ReLU layers: E[h^2] = {xavier_moment:.0e} with 1/n, {he_moment:.1f} with 2/n")

    p = nn.Parameter(torch.zeros(2))  # clipping
    p.grad = torch.tensor([3.0, 40.0])
    returned = nn.utils.clip_grad_norm_(p, 1.0).item()
    after = p.grad.norm().item()
    tilt = p.grad[1].item() / p.grad[0].item()
    value_tilt = clipped(torch.tensor([3.0, 40.0]), by_value=1.0).tolist()
    same_slope = value_tilt[1] / value_tilt[0]
    print(f"clip_grad_norm_ returns {returned:.1f}, the norm is then {after:.2f}")
    print(f"second over first entry: {tilt:.1f}; after clipping by value: {same_slope:.0f}")
    poisoned = clipped(torch.tensor([1.0, torch.nan]), by_norm=1.0)
    print("one nan in the gradient, after clipping by norm:", poisoned.tolist())

    logit = torch.tensor([200.0], requires_grad=True)  # nan without explosion
    loss = -torch.log(1 - torch.sigmoid(logit)).mean()
    root = torch.zeros(1, requires_grad=True)
    root.square().mean().sqrt().backward()
    rmse_grad = root.grad.item()
    log_loss = loss.item()
    print(f"log(0): loss {log_loss}; root of a zero squared error: gradient {rmse_grad}")

    assert 1e-17 < linear_factor < 1e-13
    assert 1e-8 < xavier_moment < 1e-4 and 0.2 < he_moment < 5
    assert abs(returned - 1609**0.5) < 1e-4 and abs(after - 1) < 1e-4
    assert abs(tilt - 40 / 3) < 1e-4 and same_slope == 1.0 and poisoned.isnan().all()
    assert log_loss == float("inf") and rmse_grad != rmse_grad
