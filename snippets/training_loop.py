"""Training stops when validation stops improving, and the model keeps its best weights.

    history = train(
        model, loss_fn, optimizer, train_loader, val_loader, epochs=100, patience=5
    )
    print(history.stopped, history.best_epoch, history.best_value)

A loader yields pairs of inputs and targets: tensors, or tuples, lists and dicts of
tensors. `loss_fn(model(inputs), targets)` is a mean over the batch.

What it promises:

- Losses are averaged over examples. A mean of batch means would give an example in a
  small last batch more weight than the others.
- Validation runs in evaluation mode and without gradients, and leaves the modes of all
  modules as they were.
- A value that is nan or infinite is never an improvement. A training loss that is nan
  or infinite ends the training before the step that it would spoil, with a
  RuntimeWarning, and `history.stopped` says where.
- The best weights are a copy of `state_dict()`, so with buffers. They are put back at
  the end of each run, stopped early or not.

What it does not promise:

- The optimizer's state is not rolled back with the weights.
- A gradient may be nan where the loss is not; that step spoils the weights, and the
  next loss ends the run. Likewise, a forward pass on nan spoils BatchNorm's statistics
  before the loss is known. The best weights bring good ones back, but only if an epoch
  was completed before.
- A layer that must stay in evaluation mode (frozen BatchNorm) has to override `train`.
- Optimizers that need a closure (LBFGS) are not supported.
- After an exception the weights are those of the last step.
- The validation data has chosen the epoch: report the final error on a test set.
- The loss is read in each training step, for which a GPU has to finish its work.

Source of the rule: Goodfellow, Bengio and Courville (2016), Algorithm 7.1.
"""

import copy
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

Batches = Iterable[tuple[Any, Any]]
Loss = Callable[[Any, Any], Tensor]
Weight = Callable[[Any], float]


class EarlyStopping:
    """Decides from one value per epoch whether to go on.

    Any improvement makes a value the best one. Patience counts the epochs since the
    last improvement by more than `min_delta`, measured from the value at that
    improvement, so that slow progress counts once it has added up.
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        """Raise ValueError for settings that make no sense."""
        if patience < 1 or not 0 <= min_delta < math.inf or mode not in ("min", "max"):
            raise ValueError("patience >= 1, min_delta >= 0, mode 'min' or 'max'")
        self.patience, self.min_delta = patience, min_delta
        self.sign = 1.0 if mode == "max" else -1.0
        self.best = self.reference = -math.inf  # times the sign: larger is better
        self.epochs_without_progress = 0

    def update(self, value: float) -> bool:
        """Take the value of one more epoch; return whether it is the best so far."""
        score = self.sign * value if math.isfinite(value) else -math.inf
        self.epochs_without_progress += 1
        if score > self.reference + self.min_delta:
            self.reference, self.epochs_without_progress = score, 0
        is_best = score > self.best
        self.best = max(self.best, score)
        return is_best

    @property
    def should_stop(self) -> bool:
        """Whether `patience` epochs in a row have brought no progress."""
        return self.epochs_without_progress >= self.patience


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. Losses are means over examples; epochs count from 0."""

    number: int
    train_loss: float
    val_value: float
    learning_rate: float


@dataclass
class History:
    """What a run gave.

    If no validation value was finite, `best_epoch` is None and the model has the
    weights of its last step.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float = math.nan
    stopped: str = "all epochs done"


class NonFiniteLoss(Exception):
    """A training loss that is nan or infinite; the message names the batch."""


def number_of_examples(targets: Any) -> float:
    """Return the length of the first axis of the first tensor in `targets`."""
    while not isinstance(targets, Tensor):
        targets = next(iter(targets.values() if isinstance(targets, dict) else targets))
    return float(targets.shape[0])


def to_device(batch: Any, device: torch.device) -> Any:
    """Return the batch with all tensors on the device; tuples, lists and dicts stay."""
    if isinstance(batch, Tensor):
        # from pinned memory to CUDA only: elsewhere the copy may be read too early
        return batch.to(device, non_blocking=device.type == "cuda")
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)([to_device(value, device) for value in batch])
    return batch


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter, the CPU if it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def weighted_mean(values: list[float], weights: list[float]) -> float:
    """Return the mean of batch means, each weighted by what it is a mean over.

    A mean over nothing (0/0) is left out. Raises ValueError if nothing is left.
    """
    if not sum(weights):
        raise ValueError("no examples: an empty loader, or an iterator used twice?")
    pairs = zip(values, weights, strict=True)
    return sum(value * weight for value, weight in pairs if weight) / sum(weights)


def train_epoch(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: Optimizer,
    batches: Batches,
    weight_fn: Weight = number_of_examples,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """Train on each batch once; return the mean loss over examples, as it was met.

    A batch of weight 0 is skipped: its mean is 0/0. Raises NonFiniteLoss before the
    backward pass of a loss that is nan or infinite.
    """
    device = device_of(model)
    values: list[float] = []
    weights: list[float] = []
    model.train()
    for number, batch in enumerate(batches):
        weight = float(weight_fn(batch[1]))
        if weight == 0:
            continue
        inputs, targets = to_device(batch, device)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_fn(model(inputs), targets)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLoss(f"training loss {value} in batch {number}")
        loss.backward()
        optimizer.step()
        after_step()
        values.append(value)
        weights.append(weight)
    return weighted_mean(values, weights)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    metric: Loss,
    batches: Batches,
    weight_fn: Weight = number_of_examples,
) -> float:
    """Return the mean of `metric(outputs, targets)` over examples.

    Runs in evaluation mode without gradients; each module then gets its mode back.
    """
    device = device_of(model)
    values: list[Tensor] = []
    weights: list[float] = []
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for batch in batches:
            weights.append(float(weight_fn(batch[1])))
            inputs, targets = to_device(batch, device)
            values.append(metric(model(inputs), targets))
    finally:
        for module, training in modes:
            module.training = training
    # read at the end: a GPU need not wait for the CPU after each batch
    return weighted_mean([value.item() for value in values], weights)


def train(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: Optimizer,
    train_batches: Batches,
    val_batches: Batches,
    epochs: int,
    patience: int = 10,
    min_delta: float = 0.0,
    mode: Literal["min", "max"] = "min",
    metric: Loss | None = None,
    scheduler: LRScheduler | None = None,
    step_scheduler: Literal["epoch", "batch"] = "epoch",
    weight_fn: Weight = number_of_examples,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> History:
    """Train until validation stops improving; leave the best weights in the model.

    `metric` is what validation measures, by default the loss; where more is better,
    such as accuracy, pass mode="max". `weight_fn` gets the targets as the loader yields
    them and returns what loss and metric are means over, by default the number of
    examples: with `ignore_index`, the number of targets that count; with class weights,
    their sum. `on_epoch` is called after each epoch, for logs. The model ends in
    evaluation mode. Raises ValueError for settings that make no sense, or if a loader
    is empty.
    """
    stopping = EarlyStopping(patience, min_delta, mode)
    if epochs < 1 or step_scheduler not in ("epoch", "batch"):
        raise ValueError("epochs >= 1, step_scheduler 'epoch' or 'batch'")
    on_plateau = isinstance(scheduler, ReduceLROnPlateau)
    if on_plateau and step_scheduler == "batch":
        raise ValueError("ReduceLROnPlateau reads the validation: step it per epoch")

    def after_step() -> None:
        if scheduler is not None and step_scheduler == "batch":
            scheduler.step()

    history, best_weights = History(), None
    for number in range(epochs):
        rate = float(optimizer.param_groups[0]["lr"])
        try:
            train_loss = train_epoch(
                model, loss_fn, optimizer, train_batches, weight_fn, after_step
            )
        except NonFiniteLoss as problem:
            history.stopped = f"epoch {number}: {problem}"
            warnings.warn(history.stopped, RuntimeWarning, stacklevel=2)
            break
        value = evaluate(model, metric or loss_fn, val_batches, weight_fn)
        history.epochs.append(Epoch(number, train_loss, value, rate))
        if not math.isfinite(value):
            message = f"epoch {number}: validation value {value}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        if stopping.update(value):
            history.best_epoch, history.best_value = number, value
            # state_dict() returns the weights themselves, which change with each step
            best_weights = copy.deepcopy(model.state_dict())
        on_epoch(history.epochs[-1])
        if stopping.should_stop:
            history.stopped = f"epoch {number}: no progress for {patience}"
            break
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(value)
        elif scheduler is not None and step_scheduler == "epoch":
            scheduler.step()
    if best_weights is not None:
        model.load_state_dict(best_weights)
    model.eval()
    return history


if __name__ == "__main__":
    torch.manual_seed(0)
    x, w = torch.randn(130, 20), torch.randn(20, 1)
    y = x @ w + 2.0 * torch.randn(130, 1)  # few noisy examples: easy to overfit
    layers = nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train_batches = list(zip(x[:66].split(16), y[:66].split(16), strict=True))
    val_batches = list(zip(x[66:].split(63), y[66:].split(63), strict=True))
    patience, loss, loaders = 5, nn.functional.mse_loss, (train_batches, val_batches)
    history = train(model, loss, optimizer, *loaders, epochs=200, patience=patience)
    for epoch in history.epochs[::6]:
        losses = f"train {epoch.train_loss:6.3f}, val {epoch.val_value:6.3f}"
        print(f"epoch {epoch.number:2}: {losses}")
    values = [epoch.val_value for epoch in history.epochs]
    print(f"{history.stopped}; best epoch {history.best_epoch}")
    restored = evaluate(model, loss, val_batches)
    with torch.no_grad():
        over_all = loss(model(x[66:]), y[66:]).item()
        means = [loss(model(inputs), targets).item() for inputs, targets in val_batches]
    mean_of_means = sum(means) / len(means)
    print(f"validation loss: best {min(values):.3f}, last {values[-1]:.3f}")
    print(f"of the weights now in the model: {restored:.3f}")
    print(f"over all 64 examples at once:    {over_all:.3f}")
    print(f"mean of the means of 63 and 1:   {mean_of_means:.3f}")

    spoiled = [*train_batches, (x[:1], torch.full((1, 1), torch.nan))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = train(model, loss, optimizer, spoiled, val_batches, epochs=3)
    print("with a target that is nan:", ended.stopped)

    assert restored == min(values) == history.best_value < values[-1]
    assert history.best_epoch is not None
    assert len(values) == history.best_epoch + 1 + patience
    assert abs(restored - over_all) < 1e-4 < abs(mean_of_means - over_all)
    assert len(caught) == 1 and ended.best_epoch is None
    assert all(parameter.isfinite().all() for parameter in model.parameters())
