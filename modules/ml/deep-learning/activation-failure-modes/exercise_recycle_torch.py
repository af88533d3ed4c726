"""Recycling dead units leaves the function as it is and gives them a gradient again.

New incoming weights, zero bias, outgoing weights zero (Sokar et al. 2023). Network: x (N, 2) ->
32 ReLU -> 1; 24 of the 32 units are dead from the start. Full batch, SGD, 5 seeds.
"""

import torch
from torch import nn

SEEDS, STEPS, RATE, DEAD = 5, 300, 0.2, 24


@torch.no_grad()
def recycle(
    hidden: nn.Linear, out: nn.Linear, x: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Reset the units of `hidden` that are dead on x, in place; return which ones, bool (K,)."""
    dead = (hidden(x) <= 0).all(dim=0)
    fresh = torch.randn(hidden.weight.shape, generator=generator)
    hidden.weight[dead] = fresh[dead] * (2 / hidden.in_features) ** 0.5
    hidden.bias[dead] = 0.0
    out.weight[:, dead] = 0.0
    return dead


def train(seed: int, recycled: bool) -> tuple[float, float, int]:
    """Return the final loss, the change of the output by recycling, and the units recycled."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(200, 2, generator=generator) - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:]
    hidden, out = nn.Linear(2, 32), nn.Linear(32, 1)
    with torch.no_grad():
        hidden.weight.normal_(generator=generator)
        hidden.bias.zero_()
        hidden.bias[:DEAD] = -10.0
        out.weight.normal_(0, 32**-0.5, generator=generator)
        out.bias.zero_()
    change, count = 0.0, 0
    if recycled:
        before = out(torch.relu(hidden(x))).detach()
        count = int(recycle(hidden, out, x, generator).sum())
        change = (out(torch.relu(hidden(x))) - before).abs().max().item()
    params = [*hidden.parameters(), *out.parameters()]
    for _ in range(STEPS):
        loss = 0.5 * ((out(torch.relu(hidden(x))) - y) ** 2).mean()
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p.sub_(RATE * g)
    return loss.item(), change, count


if __name__ == "__main__":
    torch.set_num_threads(1)
    plain = [train(seed, recycled=False)[0] for seed in range(SEEDS)]
    losses, changes, counts = zip(*(train(s, recycled=True) for s in range(SEEDS)), strict=True)
    plain_low, plain_high = min(plain), max(plain)
    recycled_low, recycled_high = min(losses), max(losses)
    print(f"final loss with {DEAD} dead units: {plain_low:.4f} to {plain_high:.4f}")
    print(f"after recycling: {recycled_low:.4f} to {recycled_high:.4f}")
    largest_change = max(changes)
    print(f"units recycled: {set(counts)}; change of the output: {largest_change:.0e}")

    assert set(counts) == {DEAD} and largest_change < 1e-6
    assert all(a < b for a, b in zip(losses, plain, strict=True))
