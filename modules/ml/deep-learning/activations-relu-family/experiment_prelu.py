"""On digits PReLU and ReLU are equally good; weight decay on the slopes pulls PReLU towards ReLU.

Claims (He et al. 2015): PReLU lowers the error of a ReLU network (Table 2, ImageNet); weight decay
must not touch the slopes, because it pulls them to zero, that is to ReLU (Section 2.1).
Setup: digits, 1200 images (N, 64) to train and 597 to test; three hidden layers of 64 units, He
initialization, zero biases, 150 steps of SGD with momentum 0.9, batches of 64, five seeds. Each
activation gets its best learning rate of the same three, chosen by the training loss.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

SEEDS, STEPS, BATCH, TRAIN = 5, 150, 64, 1200


def make_network(activation: Callable[[], nn.Module], seed: int) -> nn.Sequential:
    """Return 64 -> 64 -> 64 -> 64 -> 10 with He-normal weights and zero biases."""
    torch.manual_seed(seed)
    hidden = [layer for _ in range(3) for layer in (nn.Linear(64, 64), activation())]
    network = nn.Sequential(*hidden, nn.Linear(64, 10))
    for layer in network[::2]:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return network


def parameter_groups(network: nn.Module, decay: float, decay_slopes: bool) -> list[dict]:
    """Return optimizer groups that decay the matrices and, on request, the slopes; no biases."""
    slopes = [p for m in network.modules() if isinstance(m, nn.PReLU) for p in m.parameters()]
    matrices = [p for p in network.parameters() if p.ndim >= 2]
    biases = [m.bias for m in network.modules() if isinstance(m, nn.Linear)]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": slopes, "weight_decay": decay if decay_slopes else 0.0},
        {"params": biases, "weight_decay": 0.0},
    ]


def train(
    network: nn.Module, groups: list[dict], rate: float, x: torch.Tensor, y: torch.Tensor, seed: int
) -> None:
    """Run STEPS steps of SGD on the cross-entropy, in place."""
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()


if __name__ == "__main__":
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order], dtype=torch.float32)
    x = (x - x[:TRAIN].mean()) / x[:TRAIN].std()
    y = torch.tensor(labels[order])

    activations = {"ReLU": nn.ReLU, "Leaky ReLU": nn.LeakyReLU, "PReLU": lambda: nn.PReLU(64)}
    errors = {}
    for name, activation in activations.items():
        candidates = []
        for rate in (0.01, 0.03, 0.1):
            rows = []
            for seed in range(SEEDS):
                network = make_network(activation, seed)
                train(
                    network, parameter_groups(network, 0.0, False), rate, x[:TRAIN], y[:TRAIN], seed
                )
                with torch.no_grad():
                    loss = F.cross_entropy(network(x[:TRAIN]), y[:TRAIN]).item()
                    wrong = network(x[TRAIN:]).argmax(dim=1) != y[TRAIN:]
                rows.append((loss, 100 * wrong.double().mean().item()))
            candidates.append((np.mean([r[0] for r in rows]), rate, np.array([r[1] for r in rows])))
        loss, rate, errors[name] = min(candidates, key=lambda c: c[0])
        mean, sd = errors[name].mean(), errors[name].std(ddof=1)
        print(f"{name:10s}  rate {rate:.2f}  loss {loss:.4f}  test error {mean:.2f} ± {sd:.2f} %")

    gain = errors["ReLU"] - errors["PReLU"]  # the same seeds: same matrices, same batches
    gain_mean, gain_standard_error = gain.mean(), gain.std(ddof=1) / SEEDS**0.5
    relu_error, leaky_error, prelu_error = (e.mean() for e in errors.values())
    relu_sd, leaky_sd, prelu_sd = (e.std(ddof=1) for e in errors.values())
    paper_gain_here = (
        relu_error * 1.2 / (32.64 + 1.2)
    )  # the paper's error: 32.64 %, 1.2 points less
    verdict_error = "reproduced" if gain_mean > 3 * gain_standard_error else "not at this size"
    print(f"PReLU lowers the error by {gain_mean:.2f} ± {gain_standard_error:.2f} points", end="")
    print(f" (mean, standard error of the mean): {verdict_error}")
    print(f"the paper's relative gain would be {paper_gain_here:.2f} points here")

    slope = {}
    for decay_slopes in (False, True):
        means = []
        for seed in range(SEEDS):
            network = make_network(lambda: nn.PReLU(64), seed)
            groups = parameter_groups(network, decay=0.01, decay_slopes=decay_slopes)
            train(network, groups, 0.03, x[:TRAIN], y[:TRAIN], seed)
            means.append(np.mean([layer.weight.mean().item() for layer in network[1::2]]))
        slope[decay_slopes] = np.array(means)
        print(f"mean slope, decay on the slopes {decay_slopes!s:5s}: {np.mean(means):.3f}")
    slope_free, slope_decayed = slope[False].mean(), slope[True].mean()
    always_smaller = bool(np.all(slope[True] < slope[False]))
    verdict_decay = "reproduced" if always_smaller else "not at this size"
    print(f"decay makes the slopes smaller for every seed: {verdict_decay}")

    assert max(relu_error, leaky_error, prelu_error) < 6
    assert abs(gain_mean) < 1.5
    assert always_smaller and slope_decayed < 0.8 * slope_free
