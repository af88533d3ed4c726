"""With thirty plain layers SELU learns far faster than ReLU, which gets there with more steps.

Claim (Klambauer et al. 2017, abstract): self-normalization makes it possible to train networks with
many layers.
Setup: digits, 1200 images to train and 597 to test; dense layers of width 48, no normalization, no
skip connections; 200 steps of SGD with momentum 0.9 on batches of 64, and 800 for ReLU once more.
Each recipe gets the weight variance that keeps the pre-activations at variance 1, and its own best
learning rate out of the same four, chosen by the training loss. Five seeds draw the weights; the
batches are the same for all. Seeds and rates train side by side: weights are (S, D, K), a network
per index of S.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

WIDTH, STEPS, MORE_STEPS, BATCH, SEEDS, TRAIN = 48, 200, 800, 64, 5, 1200


def init_networks(depth: int, gain: float, inputs: int, copies: int) -> list[torch.Tensor]:
    """Return [w, b, w, b, ...] of copies x SEEDS networks; all copies hold the same SEEDS draws."""
    sizes = [inputs] + [WIDTH] * depth + [10]
    params = []
    for layer, (d, k) in enumerate(pairwise(sizes)):
        generator = torch.Generator().manual_seed(layer)
        variance = (gain if layer < depth else 1.0) / d  # the logits have no rectifier
        w = torch.randn(SEEDS, d, k, generator=generator) * variance**0.5
        params += [w.repeat(copies, 1, 1), torch.zeros(copies * SEEDS, 1, k)]
    return [p.requires_grad_() for p in params]


def logits(params: list[torch.Tensor], activation: Callable, x: torch.Tensor) -> torch.Tensor:
    """Return the logits (S, N, 10) of all S networks for the images x of shape (N, D)."""
    h = x.expand(len(params[0]), -1, -1)
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        h = activation(torch.baddbmm(b, h, w))  # (S, N, D) @ (S, D, K) -> (S, N, K)
    return torch.baddbmm(params[-1], h, params[-2])


def losses(z: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each network, (S,), for logits z (S, N, 10)."""
    per_image = F.cross_entropy(z.flatten(0, 1), targets.repeat(len(z)), reduction="none")
    return per_image.view(len(z), -1).mean(dim=1)


def train(
    activation: Callable,
    gain: float,
    depth: int,
    rates: list[float],
    steps: int,
    x: torch.Tensor,
    y: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return training loss and test error in percent, both (len(rates), SEEDS)."""
    params = init_networks(depth, gain, x.shape[1], len(rates))
    velocities = [torch.zeros_like(p) for p in params]
    rate = torch.tensor(rates).repeat_interleave(SEEDS)[:, None, None]
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = torch.randint(TRAIN, (BATCH,), generator=generator)
        loss = losses(logits(params, activation, x[batch]), y[batch])
        gradients = torch.autograd.grad(loss.sum(), params)  # the networks are independent
        with torch.no_grad():
            for p, v, g in zip(params, velocities, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.sub_(rate * v)
    with torch.no_grad():
        loss = losses(logits(params, activation, x[:TRAIN]), y[:TRAIN]).nan_to_num(nan=torch.inf)
        wrong = logits(params, activation, x[TRAIN:]).argmax(dim=2) != y[TRAIN:]
        error = 100 * wrong.double().mean(dim=1)
    return loss.view(len(rates), SEEDS), error.view(len(rates), SEEDS)


if __name__ == "__main__":
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, y = images[order], torch.tensor(labels[order])
    images = images[:, images[:TRAIN].std(axis=0) > 0.1]  # drop pixels that are nearly always empty
    images = (images - images[:TRAIN].mean(axis=0)) / images[:TRAIN].std(axis=0)
    x = torch.tensor(np.clip(images, -3, 3), dtype=torch.float32)

    # n times the weight variance: 1 / E[f(z)^2] for z ~ N(0, 1) keeps pre-activations at variance 1
    recipes = {"SELU": (F.selu, 1.0), "ReLU": (F.relu, 2.0), "ELU": (F.elu, 1.5505)}
    grids = {4: [0.003, 0.01, 0.03, 0.1], 30: [0.0003, 0.001, 0.003, 0.01]}
    loss_of, error_of, best_rate, best_rate_inside = {}, {}, {}, True
    print("layers  recipe        rate   training loss     test error (%)")
    for depth, rates in grids.items():
        for name, (activation, gain) in recipes.items():
            losses_by_rate, errors_by_rate = train(activation, gain, depth, rates, STEPS, x, y)
            best = int(losses_by_rate.mean(dim=1).argmin())
            best_rate[name, depth] = rates[best]
            best_rate_inside &= 0 < best < len(rates) - 1
            loss, error = losses_by_rate[best], errors_by_rate[best]
            loss_of[name, depth], error_of[name, depth] = loss, error
            print(
                f"{depth:4d}    {name:4s} {gain:.2f}/n  {rates[best]:6.3f}"
                f"   {loss.mean():.3f} ± {loss.std():.3f}"
                f"    {error.mean():5.1f} ± {error.std():.1f}"
            )
    _, error = train(*recipes["ReLU"], 30, [best_rate["ReLU", 30]], MORE_STEPS, x, y)
    relu_error_more, relu_error_more_sd = error.mean().item(), error.std().item()
    print(f"  30    ReLU, {MORE_STEPS} steps", end="")
    print(f"{relu_error_more:33.1f} ± {relu_error_more_sd:.1f}")

    selu_loss, relu_loss, elu_loss = (loss_of[name, 30].mean().item() for name in recipes)
    selu_loss_sd, relu_loss_sd, elu_loss_sd = (loss_of[name, 30].std().item() for name in recipes)
    selu_error, relu_error, elu_error = (error_of[name, 30].mean().item() for name in recipes)
    error_sds = (error_of[name, 30].std().item() for name in recipes)
    selu_error_sd, relu_error_sd, elu_error_sd = error_sds
    shallow_errors = (error_of[name, 4].mean().item() for name in recipes)
    shallow_error_selu, shallow_error_relu, _ = shallow_errors
    selu_is_faster = bool(loss_of["SELU", 30].max() < loss_of["ReLU", 30].min())
    relu_trains_too = relu_error_more < 20
    verdict = "not at this size"
    if selu_is_faster:
        verdict = "partly" if relu_trains_too else "reproduced"
    print("30 layers, worst SELU seed below the best ReLU seed:", selu_is_faster)
    print("verdict:", verdict)

    assert verdict == "partly"
    assert best_rate_inside
    assert selu_error < 20 and relu_error > 2 * selu_error
    assert elu_loss < 0.5 * relu_loss  # SELU's constants are not what makes the difference
    assert shallow_error_selu < 6 and shallow_error_relu < 6
