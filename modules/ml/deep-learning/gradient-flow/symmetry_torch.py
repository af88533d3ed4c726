"""Zero weights get no gradient, equal units stay equal, zero biases do no harm.

A network with two hidden layers, trained by gradient descent with momentum on three
digits. A start sets weights and biases; the table counts parameters with a nonzero
gradient in the first step and the different units of the first hidden layer at the end.
Shapes: x (N, 64); a unit is a row of weight (H, 64) with its bias.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import nn

HIDDEN, STEPS = 16, 100
Start = Callable[[list[nn.Linear]], None]


def random_weights(layers: list[nn.Linear]) -> None:
    """Draw weights of variance 1 / n, and set biases to zero."""
    generator = torch.Generator().manual_seed(0)
    for layer in layers:
        std = layer.in_features**-0.5
        nn.init.normal_(layer.weight, std=std, generator=generator)
        nn.init.zeros_(layer.bias)


def constant(value: float) -> Start:
    """Return a start that sets every weight to value, and biases to zero."""

    def start(layers: list[nn.Linear]) -> None:
        for layer in layers:
            nn.init.constant_(layer.weight, value)
            nn.init.zeros_(layer.bias)

    return start


def last_layer_zero(layers: list[nn.Linear]) -> None:
    """Draw random weights, except for zeros in the output layer."""
    random_weights(layers)
    nn.init.zeros_(layers[-1].weight)


def second_layer_zero(layers: list[nn.Linear]) -> None:
    """Draw random weights, except for zeros in the second hidden layer."""
    random_weights(layers)
    nn.init.zeros_(layers[1].weight)


def different_units(layer: nn.Linear) -> int:
    """Return how many units of a layer differ in weights or bias by more than 1e-6."""
    rows = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
    seen: list[torch.Tensor] = []
    for row in rows:
        if all((row - other).abs().max() > 1e-6 for other in seen):
            seen.append(row)
    return len(seen)


def train(
    activation: type[nn.Module], start: Start, x: torch.Tensor, y: torch.Tensor
) -> tuple[int, int, float]:
    """Return nonzero gradients at the first step, different units, and the last loss."""
    sizes = (x.shape[1], HIDDEN, HIDDEN, 3)
    layers = [nn.utils.skip_init(nn.Linear, d, k).double() for d, k in pairwise(sizes)]
    start(layers)
    model = nn.Sequential(layers[0], activation(), layers[1], activation(), layers[2])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    nonzero = -1
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if nonzero < 0:
            nonzero = sum(int(p.grad.count_nonzero()) for p in model.parameters())
        optimizer.step()
    return nonzero, different_units(layers[0]), loss.item()


if __name__ == "__main__":
    images, labels = load_digits(n_class=3, return_X_y=True)
    x, y = torch.tensor(images[:180]), torch.tensor(labels[:180])
    x = (x - x.mean(dim=0)) / x.std()
    starts: list[tuple[str, type[nn.Module], Start]] = [
        ("tanh, all zero", nn.Tanh, constant(0.0)),
        ("ReLU, all zero", nn.ReLU, constant(0.0)),
        ("sigmoid, all zero", nn.Sigmoid, constant(0.0)),
        ("tanh, all 0.1", nn.Tanh, constant(0.1)),
        ("tanh, last zero", nn.Tanh, last_layer_zero),
        ("ReLU, second zero", nn.ReLU, second_layer_zero),
        ("tanh, random", nn.Tanh, random_weights),
    ]
    results = []
    print("start                nonzero gradients   different units   loss")
    for name, activation, start in starts:
        results.append(train(activation, start, x, y))
        nonzero, units, loss = results[-1]
        print(f"{name:20s} {nonzero:10d} {units:18d} {loss:14.4f}")
    zero_tanh, zero_relu, zero_sigmoid, equal, last_zero, second_zero, random = results
    gradients_zero_tanh, units_zero_tanh, loss_zero_tanh = zero_tanh
    gradients_zero_relu, units_zero_relu, loss_zero_relu = zero_relu
    gradients_zero_sigmoid, units_zero_sigmoid, loss_zero_sigmoid = zero_sigmoid
    gradients_equal, units_equal, loss_equal = equal
    gradients_last_zero, units_last_zero, loss_last_zero = last_zero
    gradients_second_zero, units_second_zero, loss_second_zero = second_zero
    gradients_random, units_random, loss_random = random
    parameters = sum(d * k + k for d, k in ((64, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 3)))
    frequencies = torch.bincount(y) / len(y)
    best_constant = -(frequencies * frequencies.log()).sum().item()
    print(f"{parameters} parameters; the best constant prediction has loss {best_constant:.4f}")

    blank = int((x == 0).all(dim=0).sum())  # such a pixel's weights get no gradient
    assert zero_tanh[0] == zero_relu[0] == second_zero[0] == 3  # the output biases
    stuck = (zero_tanh, zero_relu, zero_sigmoid, second_zero)
    assert all(abs(loss - best_constant) < 0.01 for _, _, loss in stuck)
    assert zero_sigmoid[0] == 3 * HIDDEN + 3
    assert random[0] == equal[0] == parameters - blank * HIDDEN
    assert zero_tanh[1] == zero_relu[1] == zero_sigmoid[1] == equal[1] == 1
    assert last_zero[0] == 3 * HIDDEN + 3  # the output layer only, in the first step
    assert last_zero[1] == random[1] == HIDDEN
    assert max(last_zero[2], random[2]) < 0.05 and equal[2] > 2 * random[2]
