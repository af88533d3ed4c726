"""Seven dropout bugs, each with the number that gives it away.

Shapes: x is (N, D). p is the probability of dropping, as in torch.nn.Dropout.
Sources: Li et al. (2019) for the variance shift before BatchNorm; documentation of PyTorch.
"""

from math import comb, log

import torch
from torch import nn


class AlwaysDrops(nn.Module):
    """The bug: functional dropout does not know self.training, and its default is training=True."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # right: nn.functional.dropout(x, p=0.5, training=self.training)
        return nn.functional.dropout(x, p=0.5)


def variance_shift(x: torch.Tensor, p: float) -> tuple[float, float]:
    """Return what BatchNorm stores as running variance after Dropout(p), and what evaluation has.

    x is one feature, (N, 1). The momentum of 1 keeps the last batch only.
    """
    block = nn.Sequential(nn.Dropout(p), nn.BatchNorm1d(1, momentum=1.0))
    block(x)
    return block[1].running_var.item(), block.eval()[0](x).var().item()


def scaled_again(x: torch.Tensor, layers: nn.Sequential, p: float) -> torch.Tensor:
    """The bug: evaluation with the factor 1 - p of the 2014 paper on top of inverted dropout."""
    for layer in layers:
        x = (1 - p) * layer(x)
    return x


def unused_units(fresh_mask: bool, steps: int = 100, units: int = 50) -> int:
    """Return how many of the units never get a gradient when the mask is fresh, or drawn once."""
    w = torch.ones(units, requires_grad=True)
    mask = nn.functional.dropout(torch.ones(units), p=0.5)
    for _ in range(steps):
        if fresh_mask:
            mask = nn.functional.dropout(torch.ones(units), p=0.5)
        (w * mask).sum().backward()
    return int((w.grad == 0).sum())


def logit_dropout_floor(classes: int, p: float) -> float:
    """Return the infimum of the expected cross-entropy when dropout follows the logits.

    The target's logit becomes 0 with probability p. So does that of m of the others: the loss of
    that mask is at least log(1 + m), and m is binomial.
    """
    n = classes - 1
    return p * sum(comb(n, m) * p**m * (1 - p) ** (n - m) * log(1 + m) for m in range(n + 1))


if __name__ == "__main__":
    torch.manual_seed(0)
    x = torch.randn(100_000, 1)

    linear = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)).eval()
    eval_tracks_gradients = linear(x).requires_grad
    print("output in evaluation mode requires a gradient:", eval_tracks_gradients)

    functional_zeros = float((AlwaysDrops().eval()(x) == 0).float().mean())
    print(f"functional dropout without training=: {functional_zeros:.0%} zeros in evaluation")

    p = 0.5
    layers = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(3)))
    ones = torch.ones(1, 8)
    double_scaling = (scaled_again(ones, layers, p) / layers(ones)).mean().item()
    print(f"scaling again at test time, 3 linear layers: output times {double_scaling:.3f}")

    kept_by_dropout_08 = float((nn.Dropout(0.8)(torch.ones(100_000)) > 0).float().mean())
    print(f"nn.Dropout(0.8) keeps {kept_by_dropout_08:.0%} of the units")

    train_variance, eval_variance = variance_shift(x, p)
    print(f"variance after Dropout(0.5): {train_variance:.2f} stored, {eval_variance:.2f} met")

    unused_fixed, unused_fresh = unused_units(fresh_mask=False), unused_units(fresh_mask=True)
    print(f"units of 50 that never learn: {unused_fixed} with one mask, {unused_fresh} with many")

    floor = logit_dropout_floor(classes=10, p=p)
    logits = torch.full((100_000, 10), -50.0)
    logits[:, 0] = 50.0  # as sure, and as right, as can be
    targets = torch.zeros(100_000, dtype=torch.long)
    sure_loss = nn.functional.cross_entropy(nn.functional.dropout(logits, p), targets).item()
    print(f"perfect logits, dropped: loss {sure_loss:.3f}, floor {floor:.3f}")

    assert eval_tracks_gradients
    assert abs(functional_zeros - 0.5) < 0.01
    assert abs(double_scaling - (1 - p) ** 3) < 1e-5
    assert abs(kept_by_dropout_08 - 0.2) < 0.01
    assert abs(train_variance - 2.0) < 0.05 and abs(eval_variance - 1.0) < 0.05
    assert unused_fixed > 10 and unused_fresh == 0
    assert abs(sure_loss - floor) < 0.02
