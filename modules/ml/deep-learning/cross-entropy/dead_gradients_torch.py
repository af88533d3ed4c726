"""Computed from probabilities, the loss stops teaching where the model is surely wrong.

Four losses of the logit z of a positive example, in float32: each should have the value
softplus(-z) and the gradient sigmoid(z) - 1, which is close to -1 for z << 0.
Source of the clamp at -100: documentation of torch.nn.BCELoss.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor], torch.Tensor]


def from_logits(z: torch.Tensor) -> torch.Tensor:
    """The stable form."""
    return F.binary_cross_entropy_with_logits(z, torch.ones_like(z), reduction="none")


def clamped(z: torch.Tensor) -> torch.Tensor:
    """BCELoss on a sigmoid's output."""
    return F.binary_cross_entropy(torch.sigmoid(z), torch.ones_like(z), reduction="none")


def with_epsilon(z: torch.Tensor) -> torch.Tensor:
    """The hand-made repair: a small number inside the logarithm."""
    return -torch.log(torch.sigmoid(z) + 1e-7)


def naive(z: torch.Tensor) -> torch.Tensor:
    """The definition, typed in: no repair."""
    return -torch.log(torch.sigmoid(z))


def value_and_grad(loss: Loss, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses and their derivatives, both shaped like z."""
    z = z.clone().requires_grad_()
    values = loss(z)
    values.sum().backward()  # elementwise: each z has its own derivative
    return values.detach(), z.grad


if __name__ == "__main__":
    z = torch.linspace(-120.0, 10.0, 1301)  # float32, as in training
    results = {
        f.__name__: value_and_grad(f, z) for f in (from_logits, clamped, with_epsilon, naive)
    }
    print("                z = -10      z = -30      z = -120 (loss, gradient)")
    for name, (values, grads) in results.items():
        cells = [f"{values[i]:7.2f} {grads[i]:5.2f}" for i in (1100, 900, 0)]
        print(f"{name:12s}" + "".join(cells))

    exact = results["from_logits"][1].abs()
    half_lost = {
        name: z[g.abs() < 0.5 * exact].max().item()
        for name, (_, g) in results.items()
        if name in ("clamped", "with_epsilon")
    }
    half_lost_clamped, half_lost_epsilon = half_lost["clamped"], half_lost["with_epsilon"]
    largest_epsilon_loss = results["with_epsilon"][0].max().item()
    first_nan = z[results["naive"][1].isnan()].max().item()
    print(f"half the gradient is lost below z = {half_lost_epsilon:.1f} with the 1e-7,", end=" ")
    print(f"below {half_lost_clamped:.1f} with BCELoss")
    print(f"the naive gradient is nan at z = {first_nan:.1f} and below")

    fig, ax = plt.subplots(num="dead", figsize=(5.4, 3.4), layout="constrained")
    labels = {"from_logits": "from logits", "clamped": "BCELoss", "with_epsilon": "log(p + 1e-7)"}
    for (name, label), style in zip(labels.items(), ("-", "--", "-."), strict=True):
        ax.plot(z, results[name][1].abs(), linestyle=style, label=label)
    ax.axvline(first_nan, color="0.5", lw=1.0, linestyle=":")
    ax.text(first_nan - 1.0, 0.45, "naive: nan", ha="right")
    ax.legend(loc=(0.31, 0.3), frameon=False)
    ax.set_ylim(-0.03, 1.13)
    ax.set_xlabel("logit z of a positive example")
    ax.set_ylabel("|d loss / dz|")
    plt.show()

    values, grads = results["from_logits"]
    assert torch.allclose(values, F.softplus(-z)) and torch.allclose(grads, torch.sigmoid(z) - 1)
    assert results["clamped"][0].max() == 100.0 and results["clamped"][1][0] == 0.0
    assert -20.0 < half_lost_epsilon < -14.0 and -30.0 < half_lost_clamped < -26.0
    assert -110.0 < first_nan < -85.0
