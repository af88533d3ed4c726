"""A missing squeeze teaches only the base rate; AdamW decays biases unless told.

nn.Linear(D, 1) returns (N, 1). With targets (N,), products broadcast to (N, N).
"""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn


def own_loss(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy; right only if z and y have one shape."""
    return (torch.logaddexp(z, torch.zeros(())) - y * z).mean()


def train(x: torch.Tensor, y: torch.Tensor, squeeze: bool) -> tuple[nn.Linear, float]:
    """Return the neuron and its last loss after gradient descent from zero."""
    neuron = nn.Linear(x.shape[1], 1)
    nn.init.zeros_(neuron.weight)
    nn.init.zeros_(neuron.bias)
    optimizer = torch.optim.SGD(neuron.parameters(), lr=2.0)
    for _ in range(200):
        optimizer.zero_grad()
        z = neuron(x)  # (N, D) -> (N, 1)
        loss = own_loss(z.squeeze(-1) if squeeze else z, y)
        loss.backward()
        optimizer.step()
    return neuron, loss.item()


def decay_groups(model: nn.Module, decay: float) -> list[dict]:
    """Return parameter groups that decay matrices, but no vectors such as biases."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)  # nn.Linear takes no generator
    data = load_breast_cancer()
    x = data.data[:, :2]
    x = torch.tensor((x - x.mean(axis=0)) / x.std(axis=0)).float()
    y = torch.tensor(data.target == 0).float()
    base_rate = y.mean().item()
    entropy = -base_rate * np.log(base_rate) - (1 - base_rate) * np.log(1 - base_rate)
    (right, right_loss), (wrong, wrong_loss) = (train(x, y, s) for s in (True, False))
    right_length, wrong_length = (n.weight.norm().item() for n in (right, wrong))
    print(f"squeezed: loss {right_loss:.3f}, |w| = {right_length:.2f}")
    print(f"(N, 1) against (N,): loss {wrong_loss:.3f}, |w| = {wrong_length:.1e}")
    print(f"entropy of the base rate: {entropy:.3f}")
    try:
        nn.functional.binary_cross_entropy_with_logits(wrong(x), y)
        refused = ""
    except ValueError as error:
        refused = str(error)
    print(f"PyTorch's own loss refuses: {refused}")

    kept = {}
    for name in ("all parameters", "matrices only"):
        neuron = nn.Linear(3, 1)
        nn.init.ones_(neuron.weight)
        nn.init.ones_(neuron.bias)
        groups = [*neuron.parameters()] if name[0] == "a" else decay_groups(neuron, 0.1)
        optimizer = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.1)
        for _ in range(100):
            (0.0 * neuron(torch.ones(1, 3)).sum()).backward()  # no pull from any data
            optimizer.step()
        kept[name] = neuron.bias.item()
        print(f"AdamW, 100 steps, no gradient, {name}: bias 1 -> {kept[name]:.3f}")
    decayed_bias, kept_bias = kept.values()

    assert abs(wrong_loss - entropy) < 1e-4 and wrong_length < 1e-3 < 1 < right_length
    assert abs(wrong.bias.item() - np.log(base_rate / (1 - base_rate))) < 1e-3
    assert right_loss < 0.5 * wrong_loss and "must be the same as input size" in refused
    assert abs(decayed_bias - 0.99**100) < 1e-4 and kept_bias == 1.0
