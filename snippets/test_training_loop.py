"""The loop: averages, modes, patience, the best weights, and losses that are nan."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from training_loop import (
    EarlyStopping,
    NonFiniteLoss,
    device_of,
    evaluate,
    number_of_examples,
    to_device,
    train,
    train_epoch,
    weighted_mean,
)

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NO_MPS = pytest.mark.skipif(
    not torch.backends.mps.is_available(), reason="no MPS device"
)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA]),
    pytest.param("mps", marks=[pytest.mark.gpu, NO_MPS]),
]
NAN, INF = math.nan, math.inf


def new_model():
    torch.manual_seed(0)
    layers = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 1)
    return nn.Sequential(*layers)


def batches(sizes=(4, 4, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(n, 3, generator=generator),
            torch.randn(n, 1, generator=generator),
        )
        for n in sizes
    ]


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


class Script:
    """A metric that returns prepared values, one per epoch, and keeps the weights."""

    def __init__(self, model, values):
        self.model, self.values, self.seen = model, list(values), []

    def __call__(self, outputs, targets):
        self.seen.append(copy.deepcopy(self.model.state_dict()))
        return torch.tensor(self.values[len(self.seen) - 1], dtype=torch.float64)


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


# ---- averages ----


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_validation_averages_over_examples(sizes):
    torch.manual_seed(sum(sizes))
    model = nn.Linear(3, 1).double()
    x = torch.randn(sum(sizes), 3, dtype=torch.float64)
    y = torch.randn(sum(sizes), 1, dtype=torch.float64)
    split = list(zip(x.split(sizes), y.split(sizes), strict=True))
    expected = mse_loss(model(x), y).item()
    assert evaluate(model, mse_loss, split) == pytest.approx(expected, rel=1e-12)


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_training_averages_over_examples_too(sizes):
    torch.manual_seed(sum(sizes))
    model = nn.Linear(3, 1).double()
    x = torch.randn(sum(sizes), 3, dtype=torch.float64)
    y = torch.randn(sum(sizes), 1, dtype=torch.float64)
    split = list(zip(x.split(sizes), y.split(sizes), strict=True))
    expected = mse_loss(model(x), y).item()
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    found = train_epoch(model, mse_loss, still, split)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_test_of_averages_would_see_a_mean_of_means():
    split = batches((9, 1))
    model = nn.Linear(3, 1)
    means = [mse_loss(model(x), y).item() for x, y in split]
    assert abs(sum(means) / 2 - evaluate(model, mse_loss, split)) > 1e-3


@given(ignored=st.sets(st.integers(0, 11), max_size=11))
def test_a_mean_over_fewer_targets_than_examples_is_weighted_by_them(ignored):
    torch.manual_seed(0)
    model, x = nn.Linear(3, 4).double(), torch.randn(12, 3, dtype=torch.float64)
    y = torch.randint(4, (12,))
    y[list(ignored)] = -100
    split = list(zip(x.split([5, 1, 6]), y.split([5, 1, 6]), strict=True))
    expected = cross_entropy(model(x), y).item()  # a batch may have no target at all

    def counted(targets):
        return float((targets != -100).sum())

    found = evaluate(model, cross_entropy, split, counted)
    assert found == pytest.approx(expected, rel=1e-12)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    found = train_epoch(model, cross_entropy, still, split, counted)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_whole_run_is_weighted_so():
    torch.manual_seed(0)
    model, x = nn.Linear(3, 4).double(), torch.randn(12, 3, dtype=torch.float64)
    y = torch.randint(4, (12,))
    y[:4] = -100
    split = list(zip(x.split([5, 1, 6]), y.split([5, 1, 6]), strict=True))
    expected = cross_entropy(model(x), y).item()
    history = train(
        model,
        cross_entropy,
        torch.optim.SGD(model.parameters(), lr=0.0),
        split,
        split,
        epochs=1,
        weight_fn=lambda targets: float((targets != -100).sum()),
    )
    assert history.epochs[0].train_loss == pytest.approx(expected, rel=1e-12)
    assert history.epochs[0].val_value == pytest.approx(expected, rel=1e-12)


def test_a_weight_may_depend_on_the_targets_as_the_loader_yields_them():
    x, seen = torch.ones(2, 3), []

    def count(targets):
        seen.append(targets)
        return 1.0

    evaluate(nn.Identity(), lambda outputs, targets: outputs.sum(), [(x, "a")], count)
    assert seen == ["a"]


def test_a_mean_of_nothing_is_left_out_and_nothing_at_all_is_refused():
    assert weighted_mean([1.0, NAN, 4.0], [2.0, 0.0, 1.0]) == 2.0
    for values, weights in ([], []), ([NAN], [0.0]):
        with pytest.raises(ValueError, match="no examples"):
            weighted_mean(values, weights)


def test_a_batch_without_weight_makes_no_step():
    model, (x, y) = nn.Linear(3, 1), batches((4,))[0]
    steps = []
    split = [(x, y), (x, y * 0), (x, y)]
    adamw = torch.optim.AdamW(model.parameters(), lr=0.1)  # would decay the weights
    train_epoch(
        model, mse_loss, adamw, split, lambda t: float(t.any()), lambda: steps.append(1)
    )
    assert len(steps) == 2
    assert all(state["step"] == 2 for state in adamw.state.values())


@pytest.mark.parametrize("kind", ["frozen", "shared", "bfloat16"])
def test_frozen_shared_and_bfloat16_parameters(kind):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    split = [(x, x * 2) for x, _ in batches()]
    if kind == "frozen":
        model[0].requires_grad_(False)
    if kind == "shared":
        model[2].weight = model[0].weight
    if kind == "bfloat16":
        model.bfloat16()
        split = [(x.bfloat16(), y.bfloat16()) for x, y in split]
    first = copy.deepcopy(model[0].weight)
    history = train(model, mse_loss, adam(model), split, split, epochs=5)
    assert torch.equal(model[0].weight, first) == (kind == "frozen")
    assert (model[0].weight is model[2].weight) == (kind == "shared")
    assert evaluate(model, mse_loss, split) == history.best_value
    assert history.best_value == min(epoch.val_value for epoch in history.epochs)


# ---- modes and gradients ----


class Witness(nn.Module):
    """Records the mode and whether gradients are tracked; keeps a frozen BatchNorm."""

    def __init__(self):
        super().__init__()
        self.linear, self.frozen = nn.Linear(3, 1), nn.BatchNorm1d(3)
        self.seen = []

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x):
        self.seen.append((self.training, self.frozen.training))
        out = self.linear(self.frozen(x))
        self.seen[-1] += (out.requires_grad,)
        return out


def test_training_trains_and_validation_does_not():
    model = Witness()
    train(model, mse_loss, adam(model), batches((4,)), batches((4,)), epochs=2)
    assert model.seen == [(True, False, True), (False, False, False)] * 2
    assert not model.training
    assert torch.equal(model.frozen.running_mean, torch.zeros(3))


def test_validation_gives_each_module_its_mode_back_even_after_an_error():
    model = new_model().train()
    model[1].eval()  # frozen by its user
    modes = [module.training for module in model.modules()]
    evaluate(model, mse_loss, batches())
    assert [module.training for module in model.modules()] == modes

    def fails(outputs, targets):
        raise RuntimeError("no metric")

    with pytest.raises(RuntimeError, match="no metric"):
        evaluate(model, fails, batches())
    assert [module.training for module in model.modules()] == modes


def test_validation_changes_neither_gradients_nor_statistics_nor_random_numbers():
    model = new_model().train()
    mse_loss(model(batches()[0][0]), batches()[0][1]).backward()
    state = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    random_state = torch.get_rng_state()
    first = evaluate(model, mse_loss, batches())
    assert first == evaluate(model, mse_loss, batches())  # dropout is off
    assert same(state, model.state_dict())
    assert torch.equal(random_state, torch.get_rng_state())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_validation_reads_its_values_after_the_last_batch(monkeypatch):
    events, item = [], torch.Tensor.item
    monkeypatch.setattr(
        torch.Tensor, "item", lambda t: events.append("read") or item(t)
    )

    def metric(outputs, targets):
        events.append("metric")
        return mse_loss(outputs, targets)

    evaluate(new_model(), metric, batches())
    assert events == ["metric"] * 3 + ["read"] * 3


def test_gradients_do_not_add_up_over_steps():
    x, y = batches((4,))[0]
    model = nn.Linear(3, 1)
    by_hand = copy.deepcopy(model)
    train_epoch(
        model, mse_loss, torch.optim.SGD(model.parameters(), lr=0.1), [(x, y)] * 3
    )
    sgd = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _ in range(3):
        sgd.zero_grad()
        mse_loss(by_hand(x), y).backward()
        sgd.step()
    assert same(model.state_dict(), by_hand.state_dict())


# ---- the rule ----


RULES = [  # values, patience, min_delta, mode, epochs done, best value
    ([5, 4, 3, 2, 1], 2, 0.0, "min", 5, 1),
    ([5, 4, 6, 7, 1], 2, 0.0, "min", 4, 4),
    ([5, 4, 6, 3, 7, 8, 1], 2, 0.0, "min", 6, 3),
    ([5, 3, 6, 4, 9], 3, 0.0, "min", 5, 3),  # better than the last, not than the best
    ([5, 5, 5], 1, 0.0, "min", 2, 5),  # equal is no improvement
    ([1, 2, 3, 2, 2, 9], 2, 0.0, "max", 5, 3),
    ([5, 4.9, 4.8, 4.7], 2, 0.5, "min", 3, 4.8),  # the best, though too little
    ([5, 4.7, 4.4, 4.1, 3.8, 3.5], 2, 0.5, "min", 6, 3.5),  # slow steps add up
    ([5, 4.5, 4.4], 2, 0.5, "min", 3, 4.4),  # exactly min_delta is too little
    ([NAN, NAN, NAN, 1], 2, 0.0, "min", 2, None),
    ([NAN, 5, NAN, NAN, 1], 2, 0.0, "min", 4, 5),
    ([5, -INF, 4, 5], 2, 0.0, "min", 4, 4),
    ([5, INF, 6, 7], 2, 0.0, "max", 4, 7),
    ([INF, 5, 6, 7], 2, 0.0, "min", 4, 5),
    ([-3, -4, -3.5, -3], 2, 0.0, "min", 4, -4),
]


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "mode", "done", "best"), RULES
)
def test_the_rule(values, patience, min_delta, mode, done, best):
    rule = EarlyStopping(patience, min_delta, mode)
    count, found = 0, None
    for value in values:
        if rule.update(value):
            found = value
        count += 1
        if rule.should_stop:
            break
    assert (count, found) == (done, best)


@pytest.mark.filterwarnings("ignore:epoch:RuntimeWarning")
@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "mode", "done", "best"), RULES
)
def test_train_follows_the_rule_and_keeps_exactly_the_best_weights(
    values, patience, min_delta, mode, done, best
):
    model = new_model()
    script = Script(model, values)
    history = train(
        model,
        mse_loss,
        adam(model),
        batches(),
        batches((4,)),
        epochs=len(values),
        patience=patience,
        min_delta=min_delta,
        mode=mode,
        metric=script,
    )
    assert [epoch.number for epoch in history.epochs] == list(range(done))
    if best is None:
        assert history.best_epoch is None and math.isnan(history.best_value)
        assert same(model.state_dict(), script.seen[-1])
    else:
        assert history.best_epoch == values.index(best)
        assert history.best_value == best
        assert same(model.state_dict(), script.seen[history.best_epoch])
    for earlier, later in zip(script.seen, script.seen[1:], strict=False):
        assert not same(earlier, later)  # or nothing would be tested
    early = done < len(values)
    rule_is_up = history.stopped.startswith(f"epoch {done - 1}: no progress")
    assert rule_is_up or (not early and history.stopped == "all epochs done")


@pytest.mark.parametrize(
    "settings", [(0,), (1, -0.1), (1, NAN), (1, INF), (1, 0.0, "mean")]
)
def test_a_rule_without_sense_is_refused(settings):
    with pytest.raises(ValueError, match=r"patience|mode"):
        EarlyStopping(*settings)


# ---- losses that are nan ----


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_training_loss_that_is_not_finite_ends_the_run_before_its_step(bad):
    model = new_model()
    optimizer = adam(model)
    seen = []

    def loss_fn(outputs, targets):
        seen.append({k: p.detach().clone() for k, p in model.named_parameters()})
        return mse_loss(outputs, targets) + (bad if len(seen) == 3 else 0.0)

    with pytest.raises(NonFiniteLoss, match=r"training loss .* in batch 2"):
        train_epoch(model, loss_fn, optimizer, batches())
    parameters = dict(model.named_parameters())
    assert same(seen[2], {k: p.detach() for k, p in parameters.items()})
    assert len(seen) == 3


def test_a_gradient_that_is_nan_ends_the_run_one_batch_later():
    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x, y = batches((4,))[0]

    def rmse(outputs, targets):
        return mse_loss(outputs, targets).sqrt()  # at 0 its gradient is nan

    split = [(x, torch.zeros(4, 1)), (x, y)]
    with pytest.warns(RuntimeWarning, match="epoch 0: training loss nan in batch 1"):
        history = train(model, rmse, adam(model), split, [(x, y)], epochs=2)
    assert history.best_epoch is None


def test_the_best_weights_come_back_after_a_run_that_diverged():
    model = new_model()
    script, calls = Script(model, [3.0, 2.0, 2.5]), []

    def loss_fn(outputs, targets):
        calls.append(None)
        return mse_loss(outputs, targets) * (NAN if len(calls) == 11 else 1.0)

    with pytest.warns(RuntimeWarning, match="epoch 3: training loss nan in batch 1"):
        history = train(
            model,
            loss_fn,
            adam(model),
            batches(),
            batches((4,)),
            epochs=9,
            metric=script,
        )
    assert history.stopped == "epoch 3: training loss nan in batch 1"
    assert (history.best_epoch, history.best_value) == (1, 2.0)
    assert same(model.state_dict(), script.seen[1])
    assert len(history.epochs) == 3 and not model.training


def test_a_validation_value_that_is_nan_is_reported():
    model = new_model()
    with pytest.warns(RuntimeWarning, match="epoch 1: validation value nan"):
        history = train(
            model,
            mse_loss,
            adam(model),
            batches(),
            batches((4,)),
            epochs=2,
            metric=Script(model, [1.0, NAN]),
        )
    assert history.best_epoch == 0


# ---- the scheduler ----


@pytest.mark.parametrize(
    ("unit", "expected"), [("epoch", [1, 0.5, 0.25]), ("batch", [1, 1 / 8, 1 / 64])]
)
def test_the_scheduler_steps_per_epoch_or_per_batch(unit, expected):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    history = train(
        model,
        lambda outputs, targets: 0 * mse_loss(outputs, targets),
        sgd,
        batches(),
        batches((4,)),
        epochs=3,
        scheduler=StepLR(sgd, step_size=1, gamma=0.5),
        step_scheduler=unit,
    )
    assert [epoch.learning_rate for epoch in history.epochs] == expected


def test_a_scheduler_that_watches_the_validation_gets_its_value():
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    history = train(
        model,
        lambda outputs, targets: 0 * mse_loss(outputs, targets),
        sgd,
        batches(),
        batches((4,)),
        epochs=4,
        metric=Script(model, [3.0, 2.0, 2.0, 2.0]),
        scheduler=ReduceLROnPlateau(sgd, patience=0, factor=0.5),
    )
    assert [epoch.learning_rate for epoch in history.epochs] == [1, 1, 1, 0.5]
    with pytest.raises(ValueError, match="per epoch"):
        train(
            model,
            mse_loss,
            sgd,
            batches(),
            batches(),
            epochs=1,
            scheduler=ReduceLROnPlateau(sgd),
            step_scheduler="batch",
        )


# ---- data of any form, and misuse ----


@pytest.mark.parametrize("device", [*DEVICES, "meta"])
def test_batches_of_any_form_go_to_the_device(device):
    x = torch.ones(2, 3)
    batch = {"a": [x, (x, x)], "b": "text", "c": 3}
    moved = to_device(batch, torch.device(device))
    assert moved["b"] == "text" and moved["c"] == 3 and x.device.type == "cpu"
    assert isinstance(moved["a"], list) and isinstance(moved["a"][1], tuple)
    for tensor in (moved["a"][0], *moved["a"][1]):
        assert tensor.device.type == device and tensor.shape == (2, 3)


def test_examples_are_counted_along_the_first_axis():
    x = torch.ones(4, 3)
    for targets in (x, [x], (x, torch.ones(1)), {"a": {"b": x}}):
        assert number_of_examples(targets) == 4.0


@pytest.mark.parametrize("device", DEVICES)
def test_it_trains_on_the_device_of_the_model(device):
    model = new_model().to(device)
    x = torch.randn(40, 3)
    split = list(zip(x.split([16, 16, 8]), x.sum(1, True).split(16), strict=True))
    history = train(model, mse_loss, adam(model), split, split, epochs=30)
    assert device_of(model).type == device
    losses = [epoch.val_value for epoch in history.epochs]
    assert history.best_value == min(losses) < losses[0] / 2
    assert evaluate(model, mse_loss, split) == pytest.approx(min(losses), rel=1e-5)


def test_a_model_without_parameters_is_evaluated_on_the_cpu():
    assert device_of(nn.Identity()).type == "cpu"
    x = torch.ones(2, 3)
    assert evaluate(nn.Identity(), mse_loss, [(x, x)]) == 0.0


def test_each_epoch_is_told():
    model, told = new_model(), []
    history = train(
        model,
        mse_loss,
        adam(model),
        batches(),
        batches(),
        epochs=3,
        on_epoch=told.append,
    )
    assert told == history.epochs and len(told) == 3


def test_misuse_is_refused():
    model = new_model()
    optimizer = adam(model)
    good = batches()
    with pytest.raises(ValueError, match="no examples"):
        train(model, mse_loss, optimizer, [], good, epochs=1)
    with pytest.raises(ValueError, match="no examples"):
        train(model, mse_loss, optimizer, good, [], epochs=1)
    with pytest.raises(ValueError, match="iterator used twice"):
        train(model, mse_loss, optimizer, iter(good), good, epochs=2)
    with pytest.raises(ValueError, match="epochs >= 1"):
        train(model, mse_loss, optimizer, good, good, epochs=0)
    with pytest.raises(ValueError, match="patience"):
        train(model, mse_loss, optimizer, good, good, epochs=1, patience=0)
    with pytest.raises(ValueError, match="step_scheduler"):
        train(model, mse_loss, optimizer, good, good, 1, step_scheduler="step")

    def unreduced(outputs, targets):
        return mse_loss(outputs, targets, reduction="none")

    with pytest.raises(RuntimeError, match="elements cannot be converted to Scalar"):
        train(model, unreduced, optimizer, good, good, epochs=1)
    with pytest.raises(RuntimeError, match="elements cannot be converted to Scalar"):
        evaluate(model, unreduced, good)
