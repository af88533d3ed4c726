"""Four weights that PyTorch reads the wrong way round, and a residual sum that He doubles.

torch.nn.init takes axis 1 as inputs and axis 0 as outputs, whatever the weight belongs to.
Printed: mean of z^2 behind the layer over its target of 2 for inputs of variance 1 (exact
expectation: inputs per output times the variance), where 1 is right.
Sources: documentation of torch.nn.init; pytorch issue 23854 and pull request 24315 (groups).
"""

import torch
from torch import nn

BLOCKS, WIDTH = 10, 128


def measured(z: torch.Tensor) -> float:
    """Return the mean of z^2 over 2, what He's weights aim at for inputs of variance 1."""
    return float(z.detach().square().mean() / 2)


if __name__ == "__main__":
    g = torch.Generator().manual_seed(0)

    x = torch.randn(200, 512, generator=g)
    w = nn.init.kaiming_normal_(torch.empty(512, 128), generator=g)  # used as x @ w
    swapped = measured(x @ w)
    nn.init.kaiming_normal_(w.T, generator=g)  # the remedy that the documentation gives
    repaired = measured(x @ w)
    print(f"x @ w with w (512, 128): {swapped:.2f}; initialized through w.T: {repaired:.2f}")

    up = nn.ConvTranspose2d(64, 32, kernel_size=4, stride=2, bias=False)
    nn.init.kaiming_normal_(up.weight, nonlinearity="relu", generator=g)
    images = torch.randn(8, 64, 12, 12, generator=g)
    transposed = measured(up(images)[..., 3:-3, 3:-3])
    print(f"ConvTranspose2d(64, 32, 4, stride=2): {transposed:.2f}")

    depthwise = nn.Conv2d(64, 64, kernel_size=3, groups=64, bias=False)
    nn.init.kaiming_normal_(depthwise.weight, mode="fan_out", nonlinearity="relu", generator=g)
    grouped = measured(depthwise(images))
    print(f"depthwise Conv2d(64, 64, 3, groups=64), fan_out: {grouped:.3f}")

    stds = []
    for name in ("relu", "leaky_relu"):
        same = torch.Generator().manual_seed(1)  # the same draws for both
        weight = nn.init.kaiming_normal_(
            torch.empty(9, 9), a=0.5, nonlinearity=name, generator=same
        )
        stds.append(float(weight.std()))
    ignored = stds[0] / stds[1]
    print(f"a=0.5: std with 'relu' is {ignored:.3f} times that with 'leaky_relu'")
    gains = [nn.init.calculate_gain("leaky_relu", a) for a in (None, 0)]
    print(f"gain of 'leaky_relu' without a slope {gains[0]:.5f}, with slope 0 {gains[1]:.5f}")

    h = torch.randn(200, WIDTH, generator=g)
    start = h.square().mean()
    for _ in range(BLOCKS):
        first, second = (torch.empty(WIDTH, WIDTH) for _ in range(2))
        nn.init.kaiming_normal_(first, nonlinearity="relu", generator=g)
        nn.init.kaiming_normal_(second, nonlinearity="linear", generator=g)  # no ReLU follows
        branch = torch.relu(h @ first.T) @ second.T  # mean square as h
        h = h + branch
    residual, expected = float(h.square().mean() / start), 2.0**BLOCKS
    print(f"{BLOCKS} blocks h + branch(h): mean square grows {residual:.0f}-fold", end="")
    print(f" (2^{BLOCKS} = {expected:.0f})")

    assert 3.5 < swapped < 4.5 and 0.9 < repaired < 1.1
    assert 0.4 < transposed < 0.6 and abs(grouped * 64 - 1) < 0.4
    assert abs(ignored**2 - 1.25) < 1e-5 and gains[0] < gains[1]
    assert 0.5 < residual / expected < 2
