"""The schedule at its corners and after a restart; each parameter in its one group."""

import inspect
import io
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from warmup_cosine import TinyLanguageModel, WarmupCosine, parameter_groups

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NO_MPS = pytest.mark.skipif(
    not torch.backends.mps.is_available(), reason="no MPS device"
)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA]),
    pytest.param("mps", marks=[pytest.mark.gpu, NO_MPS]),
]
SCHEDULES = st.builds(
    lambda warmup, rest, final: (warmup, warmup + rest, final),
    st.integers(0, 50),
    st.integers(1, 200),
    st.floats(0, 1),
)


def optimizer_with(*rates):
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups)


def rates_of(optimizer, scheduler, steps):
    """The rates with which the optimizer makes its next steps."""
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


# ---- the schedule ----


@pytest.mark.parametrize("final", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("warmup", "total"), [(1, 11), (10, 110), (4, 14), (500, 900)])
def test_first_last_warm_up_middle_and_last_step(warmup, total, final):
    factor = WarmupCosine(warmup, total, final)
    assert factor(0) == 1 / warmup
    assert factor(warmup - 1) == 1.0
    middle = (warmup - 1 + total - 1) / 2
    assert middle.is_integer()
    assert factor(int(middle)) == pytest.approx((1 + final) / 2, rel=1e-12)
    assert factor(total - 1) == final
    assert factor(total) == factor(10 * total) == final
    quarter = (1 + final) / 2 + (1 - final) / 2 * math.cos(math.pi / 4)
    if (total - warmup) % 4 == 0:
        assert factor(warmup - 1 + (total - warmup) // 4) == pytest.approx(quarter)


@given(schedule=SCHEDULES)
def test_it_is_the_formula_of_the_docstring(schedule):
    warmup, total, f = schedule
    w = max(warmup, 1)  # no warm-up is a warm-up of one step
    for t in range(total):
        fall = 0.0 if t < w else math.cos(math.pi * (t - w + 1) / (total - w))
        expected = (t + 1) / w if t < w else f + (1 - f) * (1 + fall) / 2
        assert WarmupCosine(*schedule)(t) == pytest.approx(expected, abs=1e-15)


@given(schedule=SCHEDULES)
def test_it_rises_by_equal_steps_to_one_and_then_falls(schedule):
    warmup, total, final = schedule
    factors = [WarmupCosine(*schedule)(t) for t in range(total)]
    peak = max(warmup, 1) - 1
    assert factors[peak] == max(factors) == 1.0
    rises = [b - a for a, b in pairwise(factors[: peak + 1])]
    assert rises == pytest.approx([1 / max(warmup, 1)] * peak)
    falls = [a - b for a, b in pairwise(factors[peak:])]
    assert all(fall >= -1e-15 for fall in falls)
    assert all(final - 1e-15 <= factor <= 1 for factor in factors[peak:])


@pytest.mark.parametrize(
    ("warmup", "total", "expected"),
    [(0, 1, [1.0, 1.0]), (1, 1, [1.0, 1.0]), (3, 3, [1 / 3, 2 / 3, 1.0, 1.0])],
)
def test_shortest_schedules(warmup, total, expected):
    factor = WarmupCosine(warmup, total, 0.1)
    assert [factor(t) for t in range(total + 1)] == expected


def test_no_warm_up_begins_at_the_peak_as_one_step_of_it_does():
    without, with_one = WarmupCosine(0, 30), WarmupCosine(1, 30)
    assert without(0) == 1.0
    assert [without(t) for t in range(30)] == [with_one(t) for t in range(30)]


@pytest.mark.parametrize(
    "settings", [(-1, 10), (11, 10), (0, 0), (0, 10, -0.1), (0, 10, 1.1)]
)
def test_impossible_schedules_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        WarmupCosine(*settings)


def test_each_group_keeps_its_own_peak():
    optimizer = optimizer_with(1.0, 0.01)
    scheduler = LambdaLR(optimizer, WarmupCosine(3, 12, 0.2))
    factor = WarmupCosine(3, 12, 0.2)
    expected = [[factor(t), 0.01 * factor(t)] for t in range(15)]
    assert rates_of(optimizer, scheduler, 15) == expected


@pytest.mark.parametrize("stop", [0, 2, 3, 9, 12])
def test_a_resumed_run_has_the_same_rates(stop):
    straight = optimizer_with(0.3, 0.01)
    expected = rates_of(straight, LambdaLR(straight, WarmupCosine(3, 12, 0.2)), 14)

    stopped = optimizer_with(0.3, 0.01)
    scheduler = LambdaLR(stopped, WarmupCosine(3, 12, 0.2))
    rates = rates_of(stopped, scheduler, stop)
    file = io.BytesIO()
    torch.save([stopped.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)

    resumed = optimizer_with(0.3, 0.01)
    scheduler = LambdaLR(resumed, WarmupCosine(5, 99, 0.7))  # the saved one holds
    resumed.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert rates + rates_of(resumed, scheduler, 14 - stop) == expected


# ---- the groups ----


class Everything(nn.Module):
    """One of each kind of parameter."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.bag = nn.EmbeddingBag(5, 4)
        self.linear = nn.Linear(4, 4)
        self.conv = nn.ConvTranspose2d(2, 2, 3)
        self.bilinear = nn.Bilinear(2, 2, 2)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.lstm = nn.LSTM(4, 4, num_layers=2, bidirectional=True)
        self.prelu = nn.PReLU(3)
        self.layer_norm = nn.LayerNorm([3, 4])
        self.rms_norm = nn.RMSNorm([3, 4])
        self.group_norm = nn.GroupNorm(2, 4)
        self.batch_norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(()))
        self.positions = nn.Parameter(torch.ones(7, 4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


DECAYED = {
    "embedding.weight",
    "bag.weight",
    "linear.weight",
    "conv.weight",
    "bilinear.weight",
    "attention.in_proj_weight",
    "attention.out_proj.weight",
    "positions",
    *(
        f"lstm.weight_{kind}_l{layer}{direction}"
        for kind in ("ih", "hh")
        for layer in (0, 1)
        for direction in ("", "_reverse")
    ),
}


def names(model, group):
    wanted = {id(parameter) for parameter in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in wanted}


def test_weights_decay_and_everything_else_does_not():
    model = Everything()
    decay, rest = parameter_groups(model, 0.1)
    assert (decay["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert names(model, decay) == DECAYED
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names(model, rest) == trainable - DECAYED
    assert {"attention.bias_k", "layer_norm.weight", "scale"} <= names(model, rest)


@pytest.mark.parametrize("decay_embeddings", [True, False])
@pytest.mark.parametrize("build", [Everything, TinyLanguageModel])
def test_each_trainable_parameter_is_in_one_group_once(build, decay_embeddings):
    model = build()
    groups = parameter_groups(model, 0.1, decay_embeddings)
    found = [id(parameter) for group in groups for parameter in group["params"]]
    wanted = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(found) == sorted(wanted)
    torch.optim.AdamW(groups)  # which refuses a parameter that comes twice


def test_embeddings_and_named_parameters_are_options():
    model = Everything()
    decay, _ = parameter_groups(
        model, 0.1, decay_embeddings=False, no_decay=["positions"]
    )
    left_out = {"embedding.weight", "bag.weight", "positions"}
    assert names(model, decay) == DECAYED - left_out


def test_a_tied_matrix_decays_only_if_it_may_in_both_places():
    model = TinyLanguageModel()
    tied = model.embedding.weight
    for swap in (False, True):
        if swap:  # the output layer is now registered first
            modules = dict(model.named_children())
            model._modules.clear()
            model._modules.update(reversed(modules.items()))
        decay, rest = parameter_groups(model, 0.1)
        assert any(p is tied for p in decay["params"])
        decay, rest = parameter_groups(model, 0.1, decay_embeddings=False)
        assert any(p is tied for p in rest["params"])
        second_name = parameter_groups(model, 0.1, no_decay=["output.weight"])
        assert any(p is tied for p in second_name[1]["params"])


def test_no_normalization_layer_of_this_release_decays():
    found = []
    for name, layer in vars(nn).items():
        if inspect.isclass(layer) and "Norm" in name and "Lazy" not in name:
            count = 1 if name == "LocalResponseNorm" else 4
            arguments = (2, count) if layer is nn.GroupNorm else (count,)
            affine = {"affine": True} if name.startswith("Instance") else {}
            module = layer(*arguments, **affine)
            if list(module.parameters()):
                found.append(name)
                (group,) = parameter_groups(module, 0.1)
                assert group["weight_decay"] == 0.0
    assert len(found) >= 10


@pytest.mark.parametrize("norm", [nn.LayerNorm([2, 3]), nn.RMSNorm([2, 3, 4])])
def test_a_gain_of_several_axes_is_still_a_gain(norm):
    (group,) = parameter_groups(norm, 0.1)
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_without_gradient_shrinks_weights_only(device):
    model = Everything().to(device)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW(parameter_groups(model, 0.5), lr=0.1).step()
    for name, parameter in model.named_parameters():
        if name in DECAYED:
            torch.testing.assert_close(parameter.detach(), 0.95 * before[name])
            assert not torch.equal(parameter, before[name])
        else:
            assert torch.equal(parameter, before[name]), name


def test_groups_that_would_be_empty_are_left_out():
    (only,) = parameter_groups(nn.Linear(2, 2, bias=False), 0.1)
    assert only["weight_decay"] == 0.1
    (only,) = parameter_groups(nn.PReLU(), 0.1)
    assert only["weight_decay"] == 0.0


def test_a_module_used_twice_is_one():
    layer = nn.Linear(2, 2)
    decay, rest = parameter_groups(nn.Sequential(layer, nn.ReLU(), layer), 0.1)
    assert len(decay["params"]) == len(rest["params"]) == 1


def test_a_weight_that_is_shared_with_another_attribute_name_is_found_by_both():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    for name in ("0.weight", "1.weight"):
        (group,) = parameter_groups(model, 0.1, no_decay=[name])
        assert len(group["params"]) == 1 and group["weight_decay"] == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_type_does_not_matter(dtype):
    model = Everything().to(dtype)
    decay, _ = parameter_groups(model, 0.1)
    assert names(model, decay) == DECAYED


def test_a_layer_used_twice_can_be_named_by_its_second_name():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    (group,) = parameter_groups(model, 0.1, no_decay=["2.weight"])
    assert group["weight_decay"] == 0.0 and len(group["params"]) == 2


class Adapted(nn.LayerNorm):
    """A normalization layer with a layer of another kind inside."""

    def __init__(self):
        super().__init__(4)
        self.adapter = nn.Linear(4, 4)


def test_what_lies_inside_a_normalization_layer_is_judged_by_itself():
    model = nn.Sequential(Adapted())
    decay, _ = parameter_groups(model, 0.1)
    assert names(model, decay) == {"0.adapter.weight"}


def test_what_cannot_be_grouped_is_refused():
    with pytest.raises(ValueError, match="no trainable"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.1)
    with pytest.raises(ValueError, match="no such parameters"):
        parameter_groups(nn.Linear(2, 2), 0.1, no_decay=["bias", "no_such"])
    with pytest.raises(RuntimeError, match="uninitialized"):
        parameter_groups(nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d()), 0.1)
    for decay in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="weight_decay"):
            parameter_groups(nn.Linear(2, 2), decay)
