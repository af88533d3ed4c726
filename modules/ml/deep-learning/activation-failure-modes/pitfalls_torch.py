"""Four ways in which a count of dead units goes wrong without an error message."""

import torch
import torch.nn.functional as F
from torch import nn


def never_positive(model: nn.Module, batches: list[torch.Tensor]) -> list[float]:
    """Return the share of units that no batch makes positive, for each nn.ReLU of the model."""
    positive: dict[nn.Module, torch.Tensor] = {}

    def look(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        now = (args[0] > 0).any(dim=0)
        positive[module] = positive.get(module, torch.zeros_like(now)) | now

    relus = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    handles = [m.register_forward_pre_hook(look) for m in relus]
    with torch.no_grad():
        for x in batches:
            model(x)
    for handle in handles:
        handle.remove()
    return [1 - p.double().mean().item() for p in positive.values()]


class Functional(nn.Module):
    """The network `layers` of Linear, ReLU, Linear with F.relu in place of the module."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.first, self.last = layers[0], layers[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same outputs, (N, K)."""
        return self.last(F.relu(self.first(x)))


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 10, generator=generator)

    def linear(bias: float) -> nn.Linear:
        layer = nn.Linear(10, 10)
        with torch.no_grad():
            layer.weight.normal_(0, 0.1**0.5, generator=generator)
            layer.bias.fill_(bias)
        return layer

    first = linear(-2.0)
    model = nn.Sequential(first, nn.ReLU(), linear(0.0))
    (one_batch,) = never_positive(model, [x[:32]])
    (all_data,) = never_positive(model, list(x.split(100)))
    print(f"never positive: in one batch of 32 {one_batch:.0%}, in the data {all_data:.0%}")

    functional = Functional(model)
    same_output = torch.equal(functional(x), model(x))
    seen = len(never_positive(functional, [x]))
    print(f"F.relu in forward: same output {same_output}, activations that the hooks see: {seen}")

    shared = nn.ReLU()
    twice = nn.Sequential(first, shared, linear(-9.0), shared)
    (merged,) = never_positive(twice, [x])
    with torch.no_grad():
        h = torch.relu(first(x))
        true = [(layer <= 0).all(0).double().mean().item() for layer in (h, twice[2](h))]
    true_first, true_second = true
    print(f"one nn.ReLU used twice: {merged:.0%}; the layers: {true_first:.0%}, {true_second:.0%}")

    norm = nn.BatchNorm1d(10)
    with_norm = nn.Sequential(linear(0.0), norm, nn.ReLU())
    never_positive(with_norm, [x + 1])  # no_grad, but in training mode
    moved = norm.running_mean.abs().max().item()
    before = norm.running_mean.clone()
    never_positive(with_norm.eval(), [x + 1])
    moved_in_eval = (norm.running_mean - before).abs().max().item()
    print(f"running mean moved by measuring: {moved:.2f} in training, {moved_in_eval:.0f} in eval")

    assert one_batch > all_data + 0.1 and same_output and seen == 0
    assert true_second > 0.9 and merged < 0.5 and moved > 0.01 and moved_in_eval == 0
