"""nn.Linear holds the constructed weights, and training leaves them where they are.

The widths and the target are those of the NumPy page; nn.Linear(D, K) stores its weight
transposed, (K, D).
"""

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)


def build(knots: torch.Tensor, values: torch.Tensor) -> nn.Sequential:
    """Return ReLU units, one per interval, that interpolate the values at the knots."""
    slopes = torch.diff(values) / torch.diff(knots)
    model = nn.Sequential(nn.Linear(1, len(slopes)), nn.ReLU(), nn.Linear(len(slopes), 1))
    model = model.to(knots.dtype)
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # (H, 1)
        model[0].bias.copy_(-knots[:-1])
        model[2].weight[0].copy_(torch.diff(slopes, prepend=slopes.new_zeros(1)))  # (1, H)
        model[2].bias.fill_(values[0])
    return model


if __name__ == "__main__":
    knots = torch.linspace(0, 1, 33, dtype=torch.float64)
    x = torch.linspace(0, 1, 3001, dtype=torch.float64)
    values = torch.sin(2 * torch.pi * knots)
    model = build(knots, values)
    with torch.no_grad():
        outputs = model(x[:, None])[:, 0]
    polygon = np.interp(x.numpy(), knots.numpy(), values.numpy())
    largest_difference = float(np.max(np.abs(outputs.numpy() - polygon)))
    single = build(knots.float(), values.float())
    with torch.no_grad():
        rounding = float((single(x.float()[:, None])[:, 0] - outputs).abs().max())
    print(f"nn.Sequential against np.interp: {largest_difference:.1e} (float64)")
    print(f"the same weights in float32: {rounding:.1e}")

    at_knots = knots[:, None]
    loss = (model(at_knots)[:, 0] - values).square().mean()
    loss.backward()
    gradient = max(float(p.grad.abs().max()) for p in model.parameters())
    print(f"loss at the knots {loss.item():.1e}, largest gradient {gradient:.1e}")

    assert largest_difference < 1e-13 and rounding < 1e-4
    assert loss.item() < 1e-28 and gradient < 1e-12
