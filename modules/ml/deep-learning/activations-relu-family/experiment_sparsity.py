"""Half of all ReLU outputs are zero: that is sparsity. Zero for every example: that is a dead unit.

Claims: about half of the outputs are real zeros after initialization (Glorot et al. 2011), and a
learning rate that is too high kills units (CS231n notes, "Neural Networks Part 1").
Setup: digits, 1200 images (N, 64) to train and 597 to test; three hidden layers of 128 units, He
initialization, zero biases, 200 steps of SGD with momentum 0.9, batches of 64, five seeds.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

SEEDS, STEPS, BATCH, TRAIN = 5, 200, 64, 1200


def make_network(activation: type[nn.Module], seed: int) -> nn.Sequential:
    """Return 64 -> 128 -> 128 -> 128 -> 10 with He-normal weights and zero biases."""
    torch.manual_seed(seed)
    hidden = [layer for d in (64, 128, 128) for layer in (nn.Linear(d, 128), activation())]
    network = nn.Sequential(*hidden, nn.Linear(128, 10))
    for layer in network[::2]:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return network


@torch.no_grad()
def inactive(network: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Return which hidden units have an input z <= 0, for each example: bool, (N, 3, 128)."""
    off = []
    for layer in network:
        x = layer(x)
        if not isinstance(layer, nn.Linear):
            off.append(x <= 0)  # same sign before and after the activation
    return torch.stack(off, dim=1)


def train(network: nn.Sequential, rate: float, x: torch.Tensor, y: torch.Tensor, seed: int) -> None:
    """Run STEPS steps of SGD on the cross-entropy, in place."""
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
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

    def run(activation: type[nn.Module], rate: float) -> tuple[np.ndarray, np.ndarray, int]:
        """Return percentages per seed, units revived per layer, and how many seeds diverged.

        The percentages, (SEEDS, 5): z <= 0 at start, end; dead units at start, end; test error.
        NaN for the end of a seed that diverged: NaN is neither active nor inactive.
        """
        rows, revived, diverged = [], np.zeros(3, dtype=int), 0
        for seed in range(SEEDS):
            network = make_network(activation, seed)
            before = inactive(network, x[:TRAIN])
            dead_before = before.all(dim=0)  # (3, 128)
            train(network, rate, x[:TRAIN], y[:TRAIN], seed)
            with torch.no_grad():
                z = network(x[TRAIN:])
            if z.isfinite().all():
                after = inactive(network, x[:TRAIN])
                dead_after, wrong = after.all(dim=0), z.argmax(dim=1) != y[TRAIN:]
                revived += (dead_before & ~dead_after).sum(dim=1).numpy()
            else:
                after = dead_after = wrong = torch.tensor(torch.nan)
                diverged += 1
            parts = (before, after, dead_before, dead_after, wrong)
            rows.append([100 * t.double().mean().item() for t in parts])
        return np.array(rows), revived, diverged

    print("ReLU, rate   z <= 0 (%)    dead units (%)   test error (%)")
    mean, cells, revived_by_layer = {}, {}, np.zeros(3, dtype=int)
    for rate in (0.01, 0.1, 0.3):
        rows, revived, relu_diverged = run(nn.ReLU, rate)
        revived_by_layer += revived
        mean[rate], sd = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0, ddof=1)
        cells[rate] = [f"{m:.1f} ± {s:.1f}" for m, s in zip(mean[rate], sd, strict=True)]
        if rate == 0.01:  # the start is the same for all rates
            zeros_start, _, dead_start, _, _ = cells[rate]
            print(f"at start   {zeros_start:>12s}  {dead_start:>14s}")
        print(f"{rate:8.2f}   {cells[rate][1]:>12s}  {cells[rate][3]:>14s}  {cells[rate][4]:>14s}")
    *_, leaky_diverged = run(nn.LeakyReLU, 0.3)
    print(f"NaN at 0.3, of {SEEDS} seeds: ReLU {relu_diverged}, Leaky ReLU {leaky_diverged}")
    print("units dead at the start and alive at the end, by layer:", revived_by_layer.tolist())

    _, zeros_low, _, dead_low, error_low = cells[0.01]  # texts for the page's table
    _, zeros_middle, _, dead_middle, error_middle = cells[0.1]
    _, zeros_high, _, dead_high, error_high = cells[0.3]
    revived_first, revived_later = int(revived_by_layer[0]), int(revived_by_layer[1:].sum())
    half_at_start = 45 < mean[0.01][0] < 55
    high_rate_kills = mean[0.3][3] > 30 and mean[0.01][3] < 10
    verdict = "reproduced" if half_at_start and high_rate_kills else "not at this size"
    print("verdict:", verdict)

    assert verdict == "reproduced"
    assert mean[0.1][1] > mean[0.01][1] + 10  # sparser
    assert mean[0.1][3] < 15 and mean[0.1][4] < 8  # neither dead nor bad
    assert mean[0.3][4] > 50 and relu_diverged < 4 and leaky_diverged > 2
    assert revived_first == 0  # its inputs never change and its gradient is zero: dead for good
    assert revived_later > 0
