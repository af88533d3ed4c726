"""nn.init.orthogonal_ is the sign-corrected QR, and muP is three parameter groups.

PyTorch stores (out, in): its weight is the transpose of ours. The muP groups follow the
same table as the NumPy version: rates against those of the base width (Yang et al. 2021).
"""

import numpy as np
import torch
from torch import nn


def orthogonal(n_in: int, n_out: int, generator: torch.Generator) -> np.ndarray:
    """Return (n_in, n_out) orthogonal weights from the normal numbers torch would draw."""
    normal = torch.randn(n_out, n_in, generator=generator, dtype=torch.float64).numpy()
    q, r = np.linalg.qr(normal if n_out >= n_in else normal.T)
    q = q * np.sign(np.diag(r))
    return q.T if n_out >= n_in else q


def mlp(d: int, n: int, k: int) -> nn.Sequential:
    """Return a network with two hidden layers of width n, without biases."""
    layers = [nn.Linear(*shape, bias=False) for shape in ((d, n), (n, n), (n, k))]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def mup_init(model: nn.Sequential, base: int, generator: torch.Generator) -> None:
    """He weights, and an output whose variance falls as 1 / n^2, in place."""
    for layer in (model[0], model[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    n = model[4].in_features
    nn.init.normal_(model[4].weight, std=(1 / n * base / n) ** 0.5, generator=generator)


def mup_groups(model: nn.Sequential, lr: float, base: int) -> list[dict]:
    """Return the parameter groups of Adam for a rate lr that was tuned at width base."""
    r = model[2].in_features / base
    rates = {0: lr, 2: lr / r, 4: lr / r}  # input, hidden, output
    return [{"params": [model[i].weight], "lr": rate} for i, rate in rates.items()]


def zero_last_gamma(block: nn.Sequential) -> None:
    """Start a residual branch at zero: set the scale of its last batch norm to 0."""
    norms = [layer for layer in block if isinstance(layer, nn.BatchNorm2d)]
    nn.init.zeros_(norms[-1].weight)


if __name__ == "__main__":
    differences = []
    for n_in, n_out in ((6, 6), (4, 7), (7, 4)):
        weight = torch.empty(n_out, n_in, dtype=torch.float64)
        nn.init.orthogonal_(weight, generator=torch.Generator().manual_seed(0))
        ours = orthogonal(n_in, n_out, torch.Generator().manual_seed(0))
        differences.append(np.abs(weight.numpy().T - ours).max())
    largest_difference = float(max(differences))
    print(f"orthogonal_: largest difference from the QR by hand {largest_difference:.0e}")

    model = mlp(64, 1024, 10)
    mup_init(model, 256, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(mup_groups(model, lr=4e-3, base=256))
    rates = [group["lr"] for group in optimizer.param_groups]
    output_std = model[4].weight.std().item()
    print(f"tuned 0.004 at width 256; rates at 1024: {rates}")
    print(f"standard deviation of the output weights: {output_std:.2g}")

    conv = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2)]
    block = nn.Sequential(conv[0], nn.BatchNorm2d(8), nn.ReLU(), conv[1], nn.BatchNorm2d(8))
    zero_last_gamma(block)
    x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(1))
    branch_output = block(x).abs().max().item()
    print(f"residual branch with its last gamma at 0: largest output {branch_output}")

    assert largest_difference < 1e-12
    assert rates == [4e-3, 1e-3, 1e-3] and abs(output_std / (0.5 / 1024**0.5) - 1) < 0.05
    assert branch_output == 0.0
