"""Exercise 3: with zero weights only the output bias learns; equal units stay equal.

Shapes: x is (N, 2), 8 hidden tanh units, two classes; mean cross-entropy. Every step uses
the whole batch.
"""

import torch
from torch import nn


def network(start: str) -> nn.Sequential:
    """Return a network with zero biases and "zero", "equal" or "random" weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.zero_()
            if start == "zero":
                layer.weight.zero_()
        if start == "equal":  # all hidden units are equal, the two outputs are not
            model[0].weight.fill_(0.5)
            model[2].weight.copy_(torch.tensor([[0.1], [0.5]]).expand(2, 8))
    return model


def train(
    model: nn.Sequential, x: torch.Tensor, targets: torch.Tensor
) -> tuple[dict[str, float], float]:
    """Return each parameter's largest gradient in the first step, and the final loss."""
    optimizer, largest = torch.optim.SGD(model.parameters(), lr=1.0), {}
    for _ in range(300):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), targets)
        loss.backward()
        if not largest:
            largest = {name: float(p.grad.abs().max()) for name, p in model.named_parameters()}
        optimizer.step()
    return largest, loss.item()


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    targets = (x[:, 0] * x[:, 1] > 0).long()
    final, spread, first_gradients = {}, {}, {}
    for start in ("zero", "equal", "random"):
        model = network(start)
        first_gradients[start], final[start] = train(model, x, targets)
        weight = model[0].weight.detach()  # (8, 2), a row per hidden unit
        spread[start] = float((weight - weight[0]).abs().max())
        print(f"{start} weights: final loss {final[start]:.3f}", end=", ")
        print(f"hidden units differ by at most {spread[start]:.2g}")
    nonzero = [name for name, largest in first_gradients["zero"].items() if largest > 0]
    print("zero weights, parameters with a gradient in the first step:", ", ".join(nonzero))
    loss_zero, loss_equal, loss_random = (final[start] for start in ("zero", "equal", "random"))
    spread_equal, with_gradient = spread["equal"], ", ".join(nonzero)

    assert nonzero == ["2.bias"]
    assert spread["zero"] == 0.0 and spread_equal < 1e-4 < spread["random"]
    assert loss_random < 0.2 and loss_equal > 0.4 and loss_zero > 0.6
