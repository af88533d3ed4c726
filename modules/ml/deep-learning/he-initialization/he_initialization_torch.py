"""kaiming_normal_ and kaiming_uniform_ draw what the formulas say; nn.Linear alone does not.

nn.Linear stores (D_out, D_in) and nn.Conv2d (C_out, C_in, *window): the reverse of the
layout in the NumPy file. An initializer's std is read off by drawing twice from one seed.
Sources: documentation of torch.nn.init, torch.nn.Linear; pytorch issue 57109.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

DEPTH, WIDTH, EXAMPLES = 20, 256, 64
SHAPES = ((256, 512), (32, 16, 3, 3), (8, 4, 5))


def implied_std(initializer: Callable, shape: tuple[int, ...], **options: object) -> float:
    """Return the std from which the initializer draws weights of this shape."""
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    drawn = initializer(torch.empty(shape).double(), generator=generators[0], **options)
    unit = torch.empty(shape).double()  # the same draws with mean 0 and variance 1
    if "uniform" in initializer.__name__:
        unit.uniform_(-math.sqrt(3), math.sqrt(3), generator=generators[1])
    else:
        unit.normal_(generator=generators[1])
    return float((drawn * unit).sum() / unit.square().sum())


def formula(shape: tuple[int, ...], slope: float, mode: str) -> float:
    """Return sqrt(2 / ((1 + slope^2) fan)) for a weight (out, in, *window)."""
    channels = shape[1] if mode == "fan_in" else shape[0]
    return math.sqrt(2 / ((1 + slope**2) * channels * math.prod(shape[2:])))


def initialize(model: nn.Module) -> None:
    """He's weights before every ReLU, 1/n before the output, biases zero."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        following = "linear" if layer is layers[-1] else "relu"
        nn.init.kaiming_normal_(layer.weight, nonlinearity=following)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def stack(bias: bool) -> nn.Sequential:
    """Return DEPTH ReLU layers with PyTorch's own start, and a linear output."""
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10, bias=bias)).double()


def signal(model: nn.Sequential, x: torch.Tensor) -> tuple[float, float]:
    """Return the mean of h^2 after the last ReLU, and its share that varies over inputs."""
    with torch.no_grad():
        h = model[:-1](x)
    square = h.square().mean()
    return float(square), float(h.var(dim=0, correction=0).mean() / square)


if __name__ == "__main__":
    largest_difference = 0.0
    for shape in SHAPES:
        for mode in ("fan_in", "fan_out"):
            for slope in (0.0, 0.2, math.sqrt(5)):
                for initializer in (nn.init.kaiming_normal_, nn.init.kaiming_uniform_):
                    std = implied_std(initializer, shape, mode=mode, a=slope)
                    relative = abs(std / formula(shape, slope, mode) - 1)
                    largest_difference = max(largest_difference, relative)
    print(f"kaiming_*_ against the formula: largest relative difference {largest_difference:.0e}")

    torch.manual_seed(0)
    layer = nn.Linear(512, 256)
    bound = float(layer.weight.detach().abs().max()) * math.sqrt(512)
    default_ratio = (2 / 512) / float(layer.weight.detach().var())
    print(f"nn.Linear(512, 256): max |w| = {bound:.4f} / sqrt(512), ", end="")
    print(f"He's variance is {default_ratio:.2f} times its variance")

    x = torch.randn(EXAMPLES, WIDTH, dtype=torch.float64)
    no_bias, _ = signal(stack(bias=False), x)
    model = stack(bias=True)
    with_bias, share_default = signal(model, x)
    fixed_point = 0.2 / WIDTH  # exercise 3
    initialize(model)
    he, share_he = signal(model, x)
    print(f"mean of h^2 after {DEPTH} ReLU layers of {WIDTH} units; share varying over inputs:")
    print(f"  default, bias=False {no_bias:.1e}")
    print(f"  default             {with_bias:.1e} (theory {fixed_point:.1e}); {share_default:.0e}")
    print(f"  initialize(model)   {he:.2f}; {share_he:.2f}")

    assert largest_difference < 1e-12
    assert 0.99 < bound < 1.0001 and abs(default_ratio - 6) < 0.2
    assert no_bias < 1e-14 and 0.5 < with_bias / fixed_point < 2 and share_default < 1e-6
    assert 0.1 < he < 10 and 0.02 < share_he < 0.3
