"""The learning rate rises linearly, then falls along a cosine; only matrices decay.

    groups = parameter_groups(model, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups, lr=3e-4)
    schedule = WarmupCosine(warmup_steps=500, total_steps=10_000)
    scheduler = LambdaLR(optimizer, schedule)
    for batch in loader:
        ...  # forward and backward
        optimizer.step()
        scheduler.step()  # once per optimizer step, after it

The factor on the peak rate, for W warm-up steps of T steps in all, t = 0, 1, ..., T-1:

- t < W: (t + 1) / W. The first step is not wasted at rate 0, and step W-1 has factor 1.
- then: f + (1 - f) (1 + cos(pi (t - W + 1) / (T - W))) / 2, down to f at step T-1.

W = 0 is the same schedule as W = 1: the first step has the peak rate. If W = T, there
is no fall. If f = 0, the last step has rate 0.

Weight decay acts on weights of matrices and convolutions. Biases, the gains of
normalization layers of any shape, and other parameters with fewer than two axes are
left alone. Embeddings are an option. Each trainable parameter is in one group, once.

What it does not promise: good values; the rate, the warm-up and the decay depend on
the problem. A magnitude of weight normalization (`parametrizations.weight_norm`) or a
gain of two axes in a layer of your own looks like a matrix: name it in `no_decay`.
AdamW leaves parameters without a gradient alone, decay included.

To resume, build optimizer and scheduler as before, then load the states of both: the
scheduler's alone does not set the present rate.

Sources: Loshchilov and Hutter (2017) for the cosine, (2019) for AdamW; Goyal et al.
(2017, Section 2.2) for the linear warm-up; Brown et al. (2020, Appendix B) for the end
at a tenth of the peak and the decay of 0.1.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

NORMS = (nn.LayerNorm, nn.RMSNorm)  # gains of the others have one axis
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@dataclass
class WarmupCosine:
    """The factor on the peak learning rate, as a function of the step t, from 0.

    `total_steps` counts steps of the optimizer, not batches: divide by the number of
    accumulated micro-batches. An object and no lambda, because LambdaLR saves its
    attributes: a resumed run keeps the schedule with which it was started. Raises
    ValueError unless 0 <= warmup_steps <= total_steps, total_steps >= 1 and
    0 <= final_factor <= 1.
    """

    warmup_steps: int
    total_steps: int
    final_factor: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.warmup_steps <= self.total_steps or self.total_steps < 1:
            raise ValueError("0 <= warmup_steps <= total_steps >= 1 must hold")
        if not 0 <= self.final_factor <= 1:
            raise ValueError("final_factor must lie between 0 and 1")

    def __call__(self, t: int) -> float:
        """Return the factor of step t; after the last step it stays what it was."""
        last = self.total_steps - 1
        peak = max(self.warmup_steps, 1) - 1  # the step with factor 1
        t = min(t, last)
        if t <= peak:
            return (t + 1) / (peak + 1)
        cosine = math.cos(math.pi * (t - peak) / (last - peak))
        return self.final_factor + (1 - self.final_factor) * (1 + cosine) / 2


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    decay_embeddings: bool = True,
    no_decay: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the groups for an optimizer: with decay, then without; none is empty.

    A parameter that several modules share is in one group; it decays only if it may in
    all of them. Frozen parameters are left out, so freeze before the call. `no_decay`
    holds further names, as in `named_parameters()`. Raises ValueError for a name that
    does not exist, a negative decay or a model without trainable parameters, and
    RuntimeError for a lazy layer that has not seen a batch.
    """
    if not 0 <= weight_decay < math.inf:
        raise ValueError("weight_decay must be finite and at least 0")
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if unknown := set(no_decay) - names:
        raise ValueError(f"no such parameters: {sorted(unknown)}")
    exempt = NORMS if decay_embeddings else (*NORMS, *EMBEDDINGS)
    decays: dict[nn.Parameter, bool] = {}  # found again by identity
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                full = f"{prefix}.{name}" if prefix else name
                # bias_k of MultiheadAttention has three axes, and is still a bias
                is_weight = len(parameter.shape) >= 2 and "bias" not in name
                may = is_weight and not isinstance(module, exempt)
                may = may and full not in no_decay
                decays[parameter] = may and decays.get(parameter, True)
    if not decays:
        raise ValueError("the model has no trainable parameter")
    decayed = [p for p, decay in decays.items() if decay]
    others = [p for p, decay in decays.items() if not decay]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class TinyLanguageModel(nn.Module):
    """Tied embedding and output weights, a normalization with a gain of two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.norm = nn.LayerNorm([5, 8])
        self.hidden = nn.Linear(8, 8)
        self.output = nn.Linear(8, 20, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 5, 20) of tokens (N, 5)."""
        x = self.norm(self.embedding(tokens))
        logits: torch.Tensor = self.output(self.hidden(x).relu())
        return logits


if __name__ == "__main__":
    torch.manual_seed(0)
    model = TinyLanguageModel()
    groups = parameter_groups(model, weight_decay=0.1)
    counts = [sum(p.numel() for p in group["params"]) for group in groups]
    total = sum(p.numel() for p in model.parameters())
    print(f"decay {counts[0]}, no decay {counts[1]}, in all {total} parameters")

    peak, warmup, steps = 1e-2, 4, 20
    optimizer = torch.optim.AdamW(groups, lr=peak)
    scheduler = LambdaLR(optimizer, WarmupCosine(warmup, steps))
    tokens = torch.randint(20, (32, 5))
    rates: list[float] = []
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        logits = model(tokens).flatten(0, 1)  # learns to repeat its input
        loss = nn.functional.cross_entropy(logits, tokens.flatten())
        loss.backward()
        rates.append(float(optimizer.param_groups[0]["lr"]))
        losses.append(loss.item())
        optimizer.step()
        scheduler.step()
    for t, rate in enumerate(rates):
        if t < warmup or t % 4 == 3:
            print(f"step {t:2}: rate {rate:.5f} {'=' * round(4000 * rate)}")
    first_loss, last_loss = losses[0], losses[-1]
    print(f"loss {first_loss:.2f} at the first step, {last_loss:.2f} at the last")

    before = [(p, p.detach().clone()) for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    idle = torch.optim.AdamW(parameter_groups(model, weight_decay=0.1), lr=peak)
    idle.step()
    shrunk = sum(not torch.equal(p.detach(), old) for p, old in before)
    print(f"with zero gradients a step changes {shrunk} of {len(before)} tensors")

    assert counts == [20 * 8 + 8 * 8, 2 * 5 * 8 + 8] and sum(counts) == total
    assert rates[0] == peak / 4 and rates[3] == max(rates) == peak
    assert math.isclose(rates[11], 0.55 * peak) and math.isclose(rates[-1], 0.1 * peak)
    assert shrunk == 2 and last_loss < first_loss
