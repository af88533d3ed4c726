"""Accumulated micro-batches give the step of the large batch, clipping included.

    def loss_and_count(batch):
        inputs, targets = batch
        count = (targets != -100).sum()  # -100 is what cross_entropy ignores
        logits = model(inputs.to(device)).flatten(0, 1)
        targets = targets.to(device).flatten()
        return cross_entropy(logits, targets, reduction="sum"), count

    for group in grouped(loader, 8):
        result = accumulated_step(optimizer, group, loss_and_count, max_norm=1.0)
        if result.stepped:
            scheduler.step()

The mistake that this prevents is the mean of means: dividing each mean loss by the
number of micro-batches gives the examples, or tokens, of a small micro-batch too much
weight. Here losses are sums. The gradients are divided once, at the end, by the number
of everything that was summed; then they are clipped, once.

What it promises:

- Up to rounding, the gradient, its norm and the step are those of one large batch, for
  micro-batches of any sizes, and for the last group, which may have fewer.
- The norm is that of the whole gradient before clipping. If it is nan or infinite there
  is no step, and `stepped` is False: parameters and optimizer stay as they were.

What it does not promise: equality where an example's loss depends on the others in its
batch (BatchNorm, contrastive losses) or on random numbers (dropout draws other masks).
The large batch is one group: nothing is averaged over processes. Gradients are summed,
and their norm is taken, in their own type, which loses digits in bfloat16. A gradient
scaler for float16 is not handled. BatchNorm's statistics change in a forward pass even
if no step follows. A parameter that the optimizer does not hold keeps its gradient.

Sources: Pascanu, Mikolov and Bengio (2013, Algorithm 1) for clipping by norm; PyTorch
documentation, "torch.nn.utils.clip_grad_norm_", which scales by
max_norm / (norm + 1e-6).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class StepResult:
    """What one group of micro-batches gave.

    loss: mean over everything counted, nan if nothing was.
    count: how many examples or tokens the loss is a mean over.
    norm: Euclidean norm of the mean's gradient, before clipping.
    stepped: whether the optimizer made its step.
    """

    loss: float
    count: float
    norm: float
    stepped: bool


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` batches, and what is left at the end as a shorter list.

    Raises ValueError if `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"a group has at least 1 batch, not {size}")
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def accumulated_step(
    optimizer: Optimizer,
    micro_batches: Iterable[Batch],
    loss_and_count: Callable[[Batch], tuple[Tensor, float | Tensor]],
    max_norm: float | None = None,
) -> StepResult:
    """Make one optimizer step on the mean loss over all micro-batches together.

    `loss_and_count(batch)` returns the *sum* of the losses, a tensor of shape (), and
    the number of examples or tokens in it; 0 is allowed, as a sum over nothing is 0.
    If nothing counts at all, there is no step. Gradients are set to None before the
    first micro-batch, and again if no step is made. `max_norm` clips the gradient of
    all parameters of the optimizer taken together; None does not clip. Raises
    ValueError for a loss of another shape or a `max_norm` that is not above 0.
    """
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, not {max_norm}")
    optimizer.zero_grad(set_to_none=True)
    losses: list[Tensor] = []
    counts: list[float | Tensor] = []
    for batch in micro_batches:
        loss, count = loss_and_count(batch)
        if loss.ndim:
            raise ValueError(f"a loss of shape {tuple(loss.shape)}: return their sum")
        loss.backward()  # frees the graph: memory for one micro-batch at a time
        losses.append(loss.detach())
        counts.append(count)
    # read at the end: a GPU need not wait for the CPU after each micro-batch
    total = sum(float(count) for count in counts)
    if not total:
        optimizer.zero_grad(set_to_none=True)
        return StepResult(math.nan, 0.0, math.nan, stepped=False)

    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(total)  # the sum's gradient becomes the mean's
    limit = math.inf if max_norm is None else max_norm
    norm = float(nn.utils.clip_grad_norm_(parameters, limit))
    if stepped := math.isfinite(norm):
        optimizer.step()
    else:
        optimizer.zero_grad(set_to_none=True)
    mean = sum(loss.item() for loss in losses) / total
    return StepResult(mean, total, norm, stepped)


def largest_difference(first: nn.Module, second: nn.Module) -> float:
    """Return the largest absolute difference between the parameters of two models."""
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


if __name__ == "__main__":
    torch.manual_seed(0)
    x, y = torch.randn(37, 6, dtype=torch.float64), torch.randint(3, (37,))

    def new_model() -> nn.Sequential:
        """Return the same small network in each call."""
        torch.manual_seed(1)
        layers = nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)
        return nn.Sequential(*layers).double()

    def train(sizes: list[int], max_norm: float) -> tuple[nn.Module, StepResult]:
        """Make one step on all 37 examples in micro-batches of these sizes."""
        model = new_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

        def loss_and_count(rows: Tensor) -> tuple[Tensor, float]:
            logits = model(x[rows])
            loss = nn.functional.cross_entropy(logits, y[rows], reduction="sum")
            return loss, len(rows)

        batches = torch.arange(37).split(sizes)
        return model, accumulated_step(optimizer, batches, loss_and_count, max_norm)

    large, expected = train([37], max_norm=0.1)
    small, result = train([16, 16, 5], max_norm=0.1)
    difference = largest_difference(large, small)
    print(f"norm before clipping: {expected.norm:.6f}, accumulated {result.norm:.6f}")
    print(f"largest difference of the weights: {difference:.0e}")

    naive = new_model()  # the mistake: a mean of means
    naive_optimizer = torch.optim.SGD(naive.parameters(), lr=1.0)
    for rows in torch.arange(37).split([16, 16, 5]):
        (nn.functional.cross_entropy(naive(x[rows]), y[rows]) / 3).backward()
    nn.utils.clip_grad_norm_(naive.parameters(), 0.1)
    naive_optimizer.step()
    naive_difference = largest_difference(large, naive)
    print(f"the same for a mean of means:      {naive_difference:.0e}")

    group_sizes = [len(group) for group in grouped(range(10), 4)]
    print(f"10 micro-batches in groups of 4: {group_sizes}")

    x[3, 0] = torch.inf
    unchanged, skipped = train([16, 16, 5], max_norm=0.1)
    print(f"with an infinite input: norm {skipped.norm}, stepped {skipped.stepped}")

    assert math.isclose(expected.norm, result.norm, rel_tol=1e-12)
    assert expected.norm > 0.1 and difference < 1e-15 < 1e-4 < naive_difference
    assert group_sizes == [4, 4, 2]
    assert not skipped.stepped and largest_difference(unchanged, new_model()) == 0.0
