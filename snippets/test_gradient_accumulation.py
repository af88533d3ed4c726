"""Accumulation: the step of the large batch, to the last digits of float64."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from gradient_accumulation import accumulated_step, grouped

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NO_MPS = pytest.mark.skipif(
    not torch.backends.mps.is_available(), reason="no MPS device"
)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA]),
    pytest.param("mps", marks=[pytest.mark.gpu, NO_MPS]),
]
IGNORED = -100
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.5, momentum=0.9),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
}


def new_model(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    layers = nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)
    return nn.Sequential(*layers).to(dtype)


def groups_of(model):
    """Two groups, so that clipping group by group would be seen."""
    return [{"params": model[0].parameters()}, {"params": model[2].parameters()}]


def data(count, seed=0, dtype=torch.float64, ignored=()):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(3, (count,), generator=generator)
    y[list(ignored)] = IGNORED
    return x, y


def summed(model):
    """Return the function that accumulated_step takes."""

    def loss_and_count(batch):
        x, y = batch
        return cross_entropy(model(x), y, reduction="sum"), (y != IGNORED).sum()

    return loss_and_count


def large_batch_step(model, optimizer, x, y, max_norm):
    """The textbook step on everything at once; returns loss and norm."""
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)  # a mean over the targets that count
    loss.backward()
    limit = math.inf if max_norm is None else max_norm
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return loss.item(), norm.item()


def mean_of_means_step(model, optimizer, batches, max_norm):
    """The mistake."""
    optimizer.zero_grad()
    for x, y in batches:
        (cross_entropy(model(x), y) / len(batches)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()


def clip_each_step(model, optimizer, batches, max_norm):
    """Another mistake: clipping after each backward pass."""
    optimizer.zero_grad()
    count = sum(len(y) for _, y in batches)
    for x, y in batches:
        (cross_entropy(model(x), y, reduction="sum") / count).backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()


def distance(first, second):
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


def micro(x, y, sizes):
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


# ---- equal to the large batch ----


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    max_norm=st.sampled_from([None, 1e-3, 0.1, 100.0]),
    seed=st.integers(0, 10_000),
)
def test_three_steps_equal_those_of_the_large_batch(name, sizes, max_norm, seed):
    large = new_model(seed)
    small = copy.deepcopy(large)
    on_large = OPTIMIZERS[name](groups_of(large))
    on_small = OPTIMIZERS[name](groups_of(small))
    for step in range(3):
        x, y = data(sum(sizes), seed + step)
        loss, norm = large_batch_step(large, on_large, x, y, max_norm)
        batches = iter(micro(x, y, sizes))  # any iterable will do
        result = accumulated_step(on_small, batches, summed(small), max_norm)
        assert result.stepped and result.count == len(y)
        assert result.loss == pytest.approx(loss, rel=1e-11)
        assert result.norm == pytest.approx(norm, rel=1e-9)
        # Adam divides by the root of tiny second moments: errors grow a little
        assert distance(large, small) < (1e-13 if name == "sgd" else 1e-9)


@given(ignored=st.sets(st.integers(0, 19), max_size=19), seed=st.integers(0, 10_000))
def test_tokens_that_do_not_count_are_not_counted(ignored, seed):
    large = new_model(seed)
    small = copy.deepcopy(large)
    x, y = data(20, seed, ignored=ignored)
    sgd = torch.optim.SGD(small.parameters(), lr=1.0)
    loss, norm = large_batch_step(
        large, torch.optim.SGD(large.parameters(), lr=1.0), x, y, 0.05
    )
    result = accumulated_step(sgd, micro(x, y, [3, 7, 2, 8]), summed(small), 0.05)
    assert result.count == 20 - len(ignored)
    assert result.loss == pytest.approx(loss, rel=1e-11)
    assert result.norm == pytest.approx(norm, rel=1e-9)
    assert distance(large, small) < 1e-13


@pytest.mark.parametrize("mistake", [mean_of_means_step, clip_each_step])
def test_the_usual_mistakes_are_far_from_the_large_batch(mistake):
    x, y = data(21)
    large, wrong = new_model(), new_model()
    large_batch_step(large, torch.optim.SGD(large.parameters(), lr=0.5), x, y, 0.1)
    sgd = torch.optim.SGD(wrong.parameters(), lr=0.5)
    mistake(wrong, sgd, micro(x, y, [10, 10, 1]), 0.1)
    assert distance(large, wrong) > 1e-4


@pytest.mark.parametrize("device", DEVICES)
def test_it_runs_on_the_device_of_the_model(device):
    x, y = data(21, dtype=torch.float32)
    large = new_model(dtype=torch.float32).to(device)
    small = copy.deepcopy(large)
    sgd = torch.optim.SGD(small.parameters(), lr=0.5)
    x, y = x.to(device), y.to(device)
    large_batch_step(large, torch.optim.SGD(large.parameters(), lr=0.5), x, y, 0.1)
    result = accumulated_step(sgd, micro(x, y, [10, 10, 1]), summed(small), 0.1)
    assert result.stepped and distance(large, small) < 1e-5


def test_the_last_incomplete_group_is_a_large_batch_of_its_own():
    x, y = data(26)
    large, small = new_model(), new_model()
    on_large = torch.optim.SGD(large.parameters(), lr=0.5, momentum=0.9)
    on_small = torch.optim.SGD(small.parameters(), lr=0.5, momentum=0.9)
    for rows in (slice(0, 16), slice(16, 26)):
        large_batch_step(large, on_large, x[rows], y[rows], 0.1)
    batches = micro(x, y, [4, 4, 4, 4, 4, 4, 2])
    results = [
        accumulated_step(on_small, group, summed(small), 0.1)
        for group in grouped(batches, 4)
    ]
    assert [result.count for result in results] == [16, 10]
    assert distance(large, small) < 1e-13


# ---- clipping ----


@pytest.mark.parametrize("max_norm", [1e-6, 0.01, None, 1e9, math.inf])
def test_the_whole_gradient_is_clipped_once_and_its_norm_is_the_one_before(max_norm):
    x, y = data(12)
    model = new_model()
    cross_entropy(model(x), y).backward()
    before = nn.utils.parameters_to_vector(p.grad for p in model.parameters())
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    sgd = torch.optim.SGD(groups_of(model), lr=1.0)
    result = accumulated_step(sgd, micro(x, y, [5, 5, 2]), summed(model), max_norm)
    moved = start - nn.utils.parameters_to_vector(model.parameters()).detach()
    assert result.norm == pytest.approx(before.norm().item(), rel=1e-12)
    limit = min(result.norm, math.inf if max_norm is None else max_norm)
    assert moved.norm().item() == pytest.approx(limit, rel=1e-4)
    direction = torch.dot(moved, before) / moved.norm() / before.norm()
    assert direction.item() == pytest.approx(1.0, abs=1e-9)


def test_old_gradients_do_not_leak_into_the_step():
    x, y = data(12)
    clean, dirty = new_model(), new_model()
    for parameter in dirty.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    for model in (clean, dirty):
        sgd = torch.optim.SGD(model.parameters(), lr=0.5)
        accumulated_step(sgd, micro(x, y, [6, 6]), summed(model), 0.1)
    assert distance(clean, dirty) == 0.0


def test_frozen_and_unused_parameters_do_no_harm():
    x, y = data(12)
    model, unused = new_model(), nn.Linear(2, 2)
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.clone()
    parameters = [*model.parameters(), *unused.parameters()]
    sgd = torch.optim.SGD(parameters, lr=0.5)
    assert accumulated_step(sgd, micro(x, y, [6, 6]), summed(model), 0.1).stepped
    assert torch.equal(model[0].weight, frozen)


# ---- what is not finite, and what is nothing ----


def spoil(kind, x):
    x[7] = {"nan": math.nan, "inf": math.inf}[kind]


@pytest.mark.parametrize("max_norm", [0.1, None])
@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_without_a_finite_norm_nothing_changes(kind, max_norm):
    model = new_model()
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    batches = micro(*data(12), [5, 5, 2])
    assert accumulated_step(adam, batches, summed(model), max_norm).stepped
    weights, state = copy.deepcopy(model), copy.deepcopy(adam.state_dict())
    x, y = data(12, seed=1)
    spoil(kind, x)
    result = accumulated_step(adam, micro(x, y, [5, 5, 2]), summed(model), max_norm)
    assert not result.stepped and not math.isfinite(result.norm)
    assert result.count == 12 and not math.isfinite(result.loss)
    assert distance(model, weights) == 0.0
    for index, entry in adam.state_dict()["state"].items():
        for key, value in entry.items():
            assert torch.equal(value, state["state"][index][key])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert accumulated_step(adam, batches, summed(model), max_norm).stepped


def test_a_norm_that_overflows_is_not_finite_though_each_gradient_is():
    weight = nn.Parameter(torch.ones(4))
    sgd = torch.optim.SGD([weight], lr=1.0)
    result = accumulated_step(sgd, [1e30], lambda scale: ((weight * scale).sum(), 1))
    assert result.norm == math.inf and not result.stepped
    assert torch.equal(weight.detach(), torch.ones(4))


@pytest.mark.parametrize("batches", [0, 3])
def test_where_nothing_counts_there_is_no_step(batches):
    model = new_model()
    before = copy.deepcopy(model)
    adamw = torch.optim.AdamW(model.parameters(), lr=0.1)  # would decay the weights
    x, y = data(3, ignored=range(3))
    result = accumulated_step(adamw, [(x, y)] * batches, summed(model), 1.0)
    assert not result.stepped and result.count == 0 and math.isnan(result.loss)
    assert distance(model, before) == 0.0 and not adamw.state
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("bad", [(math.inf, 1), (-math.inf, 1), (1.0, math.nan)])
def test_infinities_of_both_signs_and_a_count_of_nan_make_no_step(bad):
    weight = nn.Parameter(torch.ones(()))
    sgd = torch.optim.SGD([weight], lr=1.0)
    batches = [(math.inf, 1), (1.0, 1), bad]
    result = accumulated_step(sgd, batches, lambda b: (weight * b[0], b[1]), 1.0)
    assert not result.stepped and weight.item() == 1.0
    assert not math.isfinite(result.loss)


def test_a_batch_in_which_nothing_counts_adds_nothing():
    weight = nn.Parameter(torch.ones(()))
    sgd = torch.optim.SGD([weight], lr=1.0)
    batches = [(1.0, 2), (0.0, torch.tensor(0)), (4.0, torch.tensor(3.0))]
    result = accumulated_step(sgd, batches, lambda b: (weight * b[0], b[1]))
    assert result.loss == 1.0 and weight.item() == 0.0


@pytest.mark.parametrize("kind", ["shared", "bfloat16"])
def test_shared_and_bfloat16_parameters(kind):
    large = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    large.to(torch.bfloat16 if kind == "bfloat16" else torch.float64)
    if kind == "shared":
        large[1].weight = large[0].weight
    small = copy.deepcopy(large)
    x, y = data(21, dtype=large[0].weight.dtype)
    x = x[:, :3]
    sgd = torch.optim.SGD(small.parameters(), lr=0.5)
    large_batch_step(large, torch.optim.SGD(large.parameters(), lr=0.5), x, y, 0.1)
    result = accumulated_step(sgd, micro(x, y, [10, 10, 1]), summed(small), 0.1)
    assert result.stepped
    assert distance(large, small) < (1e-2 if kind == "bfloat16" else 1e-13)


def test_a_rate_of_zero_changes_nothing_and_is_a_step():
    model = new_model()
    before = copy.deepcopy(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.0)
    assert accumulated_step(sgd, micro(*data(4), [3, 1]), summed(model), 1.0).stepped
    assert distance(model, before) == 0.0


# ---- use ----


def test_one_micro_batch_is_fetched_and_differentiated_at_a_time():
    model, events = new_model(), []
    model[0].weight.register_hook(lambda grad: events.append("backward"))

    def fetch():
        for batch in micro(*data(6), [3, 2, 1]):
            events.append("fetch")
            yield batch

    accumulated_step(
        torch.optim.SGD(model.parameters(), lr=0.1), fetch(), summed(model)
    )
    assert events == ["fetch", "backward"] * 3


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_norm_to_clip_at_must_be_positive(max_norm):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="max_norm"):
        accumulated_step(sgd, micro(*data(4), [4]), summed(model), max_norm)


@pytest.mark.parametrize("shape", [(2,), (1,)])
def test_a_loss_that_is_no_sum_is_refused(shape):
    weight = nn.Parameter(torch.ones(shape))
    sgd = torch.optim.SGD([weight], lr=1.0)
    with pytest.raises(ValueError, match="shape"):
        accumulated_step(sgd, [None], lambda _: (weight * 2, 1))
    assert torch.equal(weight.detach(), torch.ones(shape))


def test_counts_and_losses_are_read_after_the_last_backward_pass():
    model, events = new_model(), []
    model[0].weight.register_hook(lambda grad: events.append("backward"))

    class Count:
        def __init__(self, count):
            self.count = count

        def __float__(self):
            events.append("read")
            return float(self.count)

    def loss_and_count(batch):
        loss, count = summed(model)(batch)
        return loss, Count(count)

    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    accumulated_step(sgd, micro(*data(6), [3, 2, 1]), loss_and_count)
    assert events == ["backward"] * 3 + ["read"] * 3


@given(count=st.integers(0, 30), size=st.integers(1, 10))
def test_groups_hold_everything_in_order_and_only_the_last_is_short(count, size):
    groups = list(grouped(range(count), size))
    assert [item for group in groups for item in group] == list(range(count))
    assert all(len(group) == size for group in groups[:-1])
    assert all(1 <= len(group) <= size for group in groups)


def test_groups_are_lazy_and_need_a_size():
    fetched = []
    groups = grouped((fetched.append(i) for i in range(10)), 3)
    next(groups)
    assert len(fetched) == 3
    with pytest.raises(ValueError, match="at least 1"):
        next(grouped([1], 0))
