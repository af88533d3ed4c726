"""nn.Linear is the layer with a transposed weight; five losses are five output layers.

Shapes: rows are examples, x (N, D). nn.Linear(D_{l-1}, D_l).weight has the shape of the
column layout, (D_l, D_{l-1}). Every loss gets the last pre-activation.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def network(sizes: list[int]) -> nn.Sequential:
    """Return linear layers with ReLU between them and none behind the last."""
    layers: list[nn.Module] = []
    for d, k in pairwise(sizes):
        layers += [nn.Linear(d, k, dtype=torch.float64), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def by_hand(x: np.ndarray, model: nn.Sequential) -> np.ndarray:
    """Return the outputs by the row formulas in NumPy, with the model's own weights."""
    a, linear = x, [m for m in model if isinstance(m, nn.Linear)]
    for layer in linear:
        z = a @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        a = np.maximum(z, 0.0)
    return z


# for each task: number of outputs, mean of the target, PyTorch's loss
BINARY, COUNTS = F.binary_cross_entropy_with_logits, F.poisson_nll_loss
HEADS: dict[str, tuple[int, Callable, Callable]] = {
    "regression": (3, lambda z: z, lambda z, y, **o: F.mse_loss(z, y, **o) / 2),
    "binary": (1, torch.sigmoid, BINARY),
    "multi-class": (3, lambda z: torch.softmax(z, dim=1), F.cross_entropy),
    "multi-label": (3, torch.sigmoid, BINARY),
    "counts": (3, torch.exp, COUNTS),
}


def targets_of(task: str, n: int, k: int, generator: torch.Generator) -> Tensor:
    """Return targets (n, k) of the kind that the task has."""
    whole = torch.randint(6, (n, k), generator=generator).double()
    if task == "regression":
        return torch.randn(n, k, generator=generator, dtype=torch.float64)
    if task == "multi-class":
        return F.one_hot(whole[:, 0].long() % k, k).double()
    return whole if task == "counts" else (whole > 2).double()


if __name__ == "__main__":
    torch.manual_seed(0)  # nn.Linear takes no generator
    generator, sizes, n = torch.Generator().manual_seed(0), [5, 4, 7, 3], 6
    model = network(sizes)
    x = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    difference = np.abs(model(x).detach().numpy() - by_hand(x.numpy(), model)).max()
    largest_difference = float(difference)
    print(f"nn.Sequential against NumPy: largest difference {largest_difference:.1e}")
    counted = sum(p.numel() for p in model.parameters())
    formula = sum((d + 1) * k for d, k in pairwise(sizes))
    weight_shape = str(tuple(model[0].weight.shape))
    print(f"parameters {counted}, by formula {formula}; first weight {weight_shape}")

    gradient_difference = 0.0
    for task, (k, mean, loss) in HEADS.items():
        z = torch.randn(n, k, generator=generator, dtype=torch.float64)
        z.requires_grad_()
        y = targets_of(task, n, k, generator)
        # F.cross_entropy takes one-hot rows too; the usual target is the class number
        (loss(z, y, reduction="sum") / n).backward()
        error = float((z.grad - (mean(z.detach()) - y) / n).abs().max())
        gradient_difference = max(gradient_difference, error)
        print(f"{task:12s} autograd against (mean - target) / N: {error:.1e}")

    assert largest_difference < 1e-14 and gradient_difference < 1e-14
    assert counted == formula and weight_shape == "(4, 5)"
