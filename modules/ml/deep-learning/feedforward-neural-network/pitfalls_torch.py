"""Five mistakes with layers and outputs; none of them raises an error.

Shapes: rows are examples.
"""

import torch
from torch import Tensor, nn


class Lost(nn.Module):
    """A network that keeps its layers in a plain list."""

    def __init__(self, container: type = list) -> None:
        super().__init__()
        self.layers = container([nn.Linear(64, 32), nn.Linear(32, 10)])


def numbers(model: nn.Module) -> int:
    """Return how many parameters an optimizer would get."""
    return sum(p.numel() for p in model.parameters())


def silent_shares(nets: int, n: int, generator: torch.Generator) -> tuple[float, float]:
    """Return the share of silent examples, and of networks silent for all of them."""
    x = torch.randn(n, 8, generator=generator)
    w1 = torch.randn(nets, 8, 16, generator=generator) * (2 / 8) ** 0.5
    w2 = torch.randn(nets, 16, 1, generator=generator) * (2 / 16) ** 0.5
    z = torch.relu(x @ w1) @ w2  # (N, 8) @ (nets, 8, 16) @ (nets, 16, 1) -> (nets, N, 1)
    silent = z <= 0  # output 0 and gradient 0, whatever the target
    return float(silent.float().mean()), float(silent.all(dim=1).float().mean())


def fit(head: str, targets: Tensor, steps: int = 2000) -> Tensor:
    """Return the best constant probabilities, (K,), for labels (N, K)."""
    z = torch.zeros(targets.shape[1], dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        if head == "softmax":  # the loss of one class, added up over the labels that hold
            loss = -(targets * torch.log_softmax(z, 0)).sum(dim=1).mean()
        else:
            rows = z.expand_as(targets)
            loss = nn.functional.binary_cross_entropy_with_logits(rows, targets)
        (grad,) = torch.autograd.grad(loss, z)
        z = (z - grad).detach().requires_grad_()
    z = z.detach()
    return torch.softmax(z, 0) if head == "softmax" else torch.sigmoid(z)


if __name__ == "__main__":
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)

    in_list, in_module_list = numbers(Lost(list)), numbers(Lost(nn.ModuleList))
    print(f"layers in a list: {in_list} parameters, in nn.ModuleList: {in_module_list}")

    square, row = (
        torch.randn(4, 4, generator=generator),
        torch.randn(1, 4, generator=generator),
    )
    right, wrong = row @ square, row @ square.T
    transposed_error = float((right - wrong).norm() / right.norm())
    print(f"square weight, transposed by mistake: relative error {transposed_error:.2f}")

    images = torch.randn(5, 8, 8, generator=generator)
    unflattened = tuple(nn.Linear(8, 10)(images).shape)
    flattened = tuple(nn.Linear(64, 10)(images.flatten(1)).shape)
    unflattened_shape, flattened_shape = str(unflattened), str(flattened)
    print(f"images (5, 8, 8): {unflattened_shape}, flattened {flattened_shape}")

    silent_examples, silent_networks = silent_shares(4000, 50, generator)
    print(
        f"ReLU output: {silent_examples:.0%} of examples start silent",
        end=", ",
    )
    print(f"{silent_networks:.1%} of networks wholly")

    labels = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0]]).double()
    with_softmax, with_sigmoid = (fit(h, labels) for h in ("softmax", "sigmoid"))
    first_softmax, first_sigmoid = float(with_softmax[0]), float(with_sigmoid[0])
    third_sigmoid = float(with_sigmoid[2])
    print(f"a label that always holds: softmax {first_softmax:.2f}, sigmoid {first_sigmoid:.2f}")

    assert in_list == 0 and in_module_list == 65 * 32 + 33 * 10
    assert transposed_error > 0.5
    assert unflattened == (5, 8, 10) and flattened == (5, 10)
    assert 0.45 < silent_examples < 0.55 and 0.004 < silent_networks < 0.03
    assert abs(first_softmax - 4 / 9) < 1e-3 and first_sigmoid > 0.95
    assert abs(third_sigmoid - 0.25) < 1e-3
