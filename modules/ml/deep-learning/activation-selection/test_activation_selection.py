"""Functions, gains, intervals and layers of the selection page against PyTorch and SciPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

SPECIAL = [0.0, -0.0, 1e-300, -1e-9, 1e-9, -40.0, 40.0, -800.0, 800.0, -1e300, 1e300]
VALUES = st.one_of(st.sampled_from(SPECIAL), st.floats(-30.0, 30.0))
ERRORS = arrays(np.float64, 8, elements=st.floats(0.0, 20.0))
TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "softplus": F.softplus,
    "ReLU": F.relu,
    "Leaky ReLU": F.leaky_relu,
    "PReLU at its start": lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "ELU": F.elu,
    "SELU": F.selu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Mish": F.mish,
}


@pytest.mark.parametrize("name", TORCH)
@given(x=arrays(np.float64, (3, 4), elements=VALUES))
def test_activations_equal_torch(load, name, x):
    function = load("gains_numpy").ACTIVATIONS[name]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value = function(x)
    expected = TORCH[name](torch.tensor(x)).numpy()
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-14)


def test_named_functions_are_those_of_the_table(load):
    numpy = load("gains_numpy")
    x = np.linspace(-5, 5, 11)
    for name, f in [
        ("sigmoid", numpy.sigmoid),
        ("softplus", numpy.softplus),
        ("ELU", numpy.elu),
        ("SELU", numpy.selu),
    ]:
        np.testing.assert_allclose(f(x), TORCH[name](torch.tensor(x)).numpy(), rtol=1e-12)
    assert list(numpy.ACTIVATIONS) == list(TORCH)


def test_gaussian_mean_has_the_moments(load):
    mean = load("gains_numpy").gaussian_mean
    for f, expected in [(np.ones_like, 1.0), (np.square, 1.0), (lambda z: z**4, 3.0)]:
        assert abs(mean(f) - expected) < 1e-9
    assert abs(mean(np.abs) - np.sqrt(2 / np.pi)) < 1e-6


@pytest.mark.parametrize("name", TORCH)
def test_gain_and_chi_equal_a_random_layer_in_torch(load, name):
    numpy = load("gains_numpy")
    f = numpy.ACTIVATIONS[name]
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400_000, generator=generator, dtype=torch.float64, requires_grad=True)
    y = TORCH[name](z)
    (slope,) = torch.autograd.grad(y.sum(), z)
    second = y.detach().square().mean().item()
    assert abs(numpy.gain(f) * second - 1) < 0.02
    assert abs(numpy.chi(f) - slope.square().mean().item() / second) < 0.02 * numpy.chi(f)


def test_gains_of_torch(load):
    numpy = load("gains_numpy")
    for name, torch_name, parameter in [
        ("ReLU", "relu", None),
        ("Leaky ReLU", "leaky_relu", 0.01),
        ("PReLU at its start", "leaky_relu", 0.25),
    ]:
        gain = nn.init.calculate_gain(torch_name, parameter) ** 2
        assert abs(numpy.gain(numpy.ACTIVATIONS[name]) - gain) < 1e-5
        assert abs(numpy.chi(numpy.ACTIVATIONS[name]) - 1) < 1e-5
    assert abs(numpy.gain(numpy.selu) - 1) < 1e-6
    assert abs(numpy.gain(np.abs) - 1) < 1e-6 and abs(numpy.chi(np.abs) - 1) < 1e-6


@given(a=ERRORS, b=ERRORS)
def test_interval_equals_scipy(load, a, b):
    d = a - b
    if np.ptp(d) < 1e-3:
        return
    result = stats.ttest_rel(a, b)
    for comparisons, level in ((1, 0.95), (12, 0.95), (1, 0.8)):
        expected = result.confidence_interval(1 - (1 - level) / comparisons)
        actual = load("paired_numpy").paired_interval(a, b, comparisons, level)
        np.testing.assert_allclose(actual, [expected.low, expected.high], rtol=1e-9, atol=1e-9)


@given(a=ERRORS, b=ERRORS)
def test_sign_flip_equals_scipy(load, a, b):
    d = np.round((a - b) * 64) / 64  # exact sums: no tie is broken by rounding
    p = load("paired_numpy").sign_flip_p(d, np.zeros_like(d))
    expected = stats.permutation_test(
        (d,), lambda v: abs(v.sum()), permutation_type="samples", alternative="greater"
    )
    assert abs(p - expected.pvalue) < 1e-12 and p >= 2 ** (1 - len(d))


def test_sign_flip_extremes(load):
    p = load("paired_numpy").sign_flip_p
    assert p(np.ones(10), np.zeros(10)) == 2 / 2**10
    assert p(np.ones(4), np.ones(4)) == 1.0


@pytest.mark.parametrize(("effect", "comparisons"), [(0.5, 1), (0.5, 12), (0.2, 1)])
def test_seeds_needed_reach_the_power(load, effect, comparisons):
    n = load("paired_numpy").seeds_needed(effect, 0.8, comparisons=comparisons)
    z = stats.norm.ppf(1 - 0.025 / comparisons)
    power = [stats.norm.sf(z - effect * k**0.5 / 0.8) for k in (n - 1, n)]
    assert power[0] < 0.8 <= power[1]


def test_lead_of_best_equals_a_simulation(load):
    lead = load("paired_numpy").lead_of_best
    runs = np.random.default_rng(0).normal(size=(20_000, 12))
    assert abs(lead(12, 1) - runs.max(axis=1).mean()) < 0.02
    assert abs(lead(3, 4) - 3 / (4 * np.pi**0.5)) < 1e-6  # E[max of 3] = 3 / (2 sqrt(pi))


def test_gated_block_equals_its_formula(load):
    module = load("choice_torch")
    torch.manual_seed(0)
    block, x = module.GatedBlock(5, 3), torch.randn(4, 5)
    z = x @ block.gate.weight.T
    expected = (z * torch.sigmoid(z) * (x @ block.value.weight.T)) @ block.out.weight.T
    torch.testing.assert_close(block(x), expected)


def test_matched_width_and_floor(load):
    module = load("choice_torch")
    assert module.matched_width(12) == 8 and module.matched_width(16384, 256) == 11008
    assert module.matched_width(10) == 7 and module.matched_width(16384, 1) == 10923
    y = torch.tensor([-2.0, 0.5, 3.0])
    assert module.floor(0.0, 1.0, y) == pytest.approx((4 + 4) / 3)
    assert module.floor(-5.0, 5.0, y) == 0.0
    for name, layer in module.HIDDEN.items():
        assert isinstance(module.plain_block(name, 4, 6)[1], layer)
        if name != "prelu":
            torch.testing.assert_close(layer()(y), getattr(F, name)(y))


def test_exercise_swiglu_equals_torch(load):
    module = load("exercise_gated_width")
    rng = np.random.default_rng(0)
    x, w, v = rng.normal(size=(4, 6)), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    packed = [torch.tensor(m) for m in (x, w, v)]
    expected = F.silu(packed[0] @ packed[1]) * (packed[0] @ packed[2])
    np.testing.assert_allclose(module.swiglu(x, w, v), expected.numpy(), rtol=1e-10)
    block = load("choice_torch").GatedBlock(6, 5)
    assert module.gated_parameters(6, 5) == sum(p.numel() for p in block.parameters())
    assert module.plain_parameters(6, 5) == 60


def test_experiment_functions_gains_and_networks(load):
    module, numpy = load("experiment_activations"), load("gains_numpy")
    names = [n.removesuffix(" at its start") for n in numpy.ACTIVATIONS]
    assert names == module.NAMES
    for name, f in zip(names, numpy.ACTIVATIONS.values(), strict=True):
        assert module.gain(name) == pytest.approx(numpy.gain(f), rel=1e-5)

    params = [p.detach() for p in module.init(module.NAMES, 2, 1, range(2))]
    params[-1] = params[-1].clone() + torch.tensor([0.0, 0.5])  # a slope of its own per layer
    x = torch.randn(len(params[0]), 3, 64, generator=torch.Generator().manual_seed(0))
    z = module.logits(params, module.NAMES, x)
    for i in range(len(x)):  # each network alone
        name = module.NAMES[i // 2]
        h = x[i]
        for w, b, slope in ((params[0], params[1], 0.25), (params[2], params[3], 0.75)):
            h = h @ w[i] + b[i]
            h = F.leaky_relu(h, slope) if name == "PReLU" else module.FUNCTIONS[name](h)
        torch.testing.assert_close(z[i], h @ params[4][i] + params[5][i], rtol=1e-4, atol=1e-4)

    gated = [p.detach() for p in module.init(["SwiGLU"], 2, 1, range(2))]
    h = F.silu(x[0] @ gated[0][0]) @ gated[2][0]
    h = F.silu(h[:, : module.GATED]) * h[:, module.GATED :]
    out = module.logits(gated, ["SwiGLU"], x[:2])[0]
    torch.testing.assert_close(out, h @ gated[4][0], rtol=1e-4, atol=1e-4)
    dense, few = (sum(p[0].numel() for p in q[:-1]) for q in (params, gated))
    assert abs(few / dense - 1) < 0.01  # parameters are matched


def test_experiment_separates_test_images(load):
    module = load("experiment_activations")
    x, y = module.load(range(3))
    assert x.shape == (3, 1797, 64) and y.shape == (3, 1797)
    rows = torch.arange(y.shape[1])
    parts = [set(rows[p].tolist()) for p in (module.TRAIN, module.VALIDATION, module.TEST)]
    assert [len(p) for p in parts] == [1000, 297, 500] and len(set.union(*parts)) == 1797
    assert torch.equal(y[0, module.TEST], y[1, module.TEST])
    assert not torch.equal(y[0, module.TRAIN], y[1, module.TRAIN])
    digits, labels = load_digits(return_X_y=True)
    for s in range(3):  # a permutation: no image is in two parts
        assert torch.equal(y[s].bincount(), torch.tensor(labels).bincount())
        rank = torch.unique(x[s].double().round(decimals=3), dim=0).shape[0]
        assert rank == len(np.unique(digits, axis=0))
    assert not set(module.TUNING) & set(module.TESTING)
    train = x[:, module.TRAIN]
    assert train.mean(dim=1).abs().max() < 1e-4
    assert (train.square().mean(dim=(1, 2)) - 1).abs().max() < 1e-4


def test_experiment_init_has_the_variances_and_the_order(load):
    module, seeds = load("experiment_activations"), range(5, 8)
    params = [p.detach() for p in module.init(["ReLU", "PReLU"], 3, 2, seeds)]
    assert len(params[0]) == 12 and not any(b.any() for b in params[1:-1:2])
    for i, s in enumerate(list(seeds) * 4):  # activation, rate, seed
        generator = torch.Generator().manual_seed(s)
        for layer, w in enumerate(params[:-1:2]):
            d, gain = w.shape[1], 2.0 if i < 6 else 2 / (1 + 0.25**2)
            expected = torch.randn(w[i].shape, generator=generator)
            expected *= ((gain if layer else 1.0) / d) ** 0.5
            torch.testing.assert_close(w[i], expected, rtol=1e-4, atol=1e-6)


def test_experiment_adam_equals_torch(load):
    module, generator = load("experiment_activations"), torch.Generator().manual_seed(0)
    start = [torch.randn(3, 4, 5, generator=generator), torch.randn(3, 1, 2, generator=generator)]
    rates = [0.003, 0.03, 0.3]
    params = [p.clone() for p in start]
    m, v = ([torch.zeros_like(p) for p in start] for _ in range(2))
    alone = [[nn.Parameter(p[i].clone()) for p in start] for i in range(3)]
    optimizers = [torch.optim.Adam(p, lr=r) for p, r in zip(alone, rates, strict=True)]
    for step in range(1, 6):
        grads = tuple(torch.randn(p.shape, generator=generator) for p in start)
        module.adam(params, grads, m, v, torch.tensor(rates)[:, None, None], step)
        for i, optimizer in enumerate(optimizers):
            for p, g in zip(alone[i], grads, strict=True):
                p.grad = g[i].clone()
            optimizer.step()
    for i in range(3):
        for p, q in zip(params, alone[i], strict=True):
            torch.testing.assert_close(p[i], q.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["SiLU", "PReLU"])
def test_experiment_train_equals_one_network_with_torch_adam(load, monkeypatch, name):
    module, steps, depth, seeds = load("experiment_activations"), 6, 3, range(7, 9)
    monkeypatch.setattr(module, "STEPS", steps)
    names, rates = ["PReLU", "SiLU", "ReLU"], np.array([[0.003, 0.01]] * 3)
    loss, error = module.train(names, depth, rates, seeds, module.VALIDATION)
    x, y = (q[1] for q in module.load(seeds))
    row = names.index(name) * 4 + 2 + 1  # its second rate, second seed
    params = [p.detach()[row] for p in module.init(names, depth, 2, seeds)]
    layers = [nn.Linear(*w.shape) for w in params[:-1:2]]
    for layer, w, b in zip(layers, params[:-1:2], params[1:-1:2], strict=True):
        layer.weight.data, layer.bias.data = w.T.clone(), b[0].clone()
    hidden = [nn.PReLU() if name == "PReLU" else nn.SiLU() for _ in range(depth)]
    pairs = [q for pair in zip(layers, hidden, strict=False) for q in pair]
    network = nn.Sequential(*pairs, layers[-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - (t + 1) / (steps + 1))
    generator = torch.Generator().manual_seed(8)
    for _ in range(steps):
        batch = torch.randint(1000, (32,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    z, targets = network(x[1000:1297]).detach(), y[1000:1297]
    expected = F.cross_entropy(z, targets).item()
    assert loss[names.index(name), 1, 1] == pytest.approx(expected, rel=1e-3)
    wrong = 100 * (z.argmax(1) != targets).float().mean().item()
    assert abs(error[names.index(name), 1, 1] - wrong) < 1.5


def test_experiment_counts_nan_as_failure(load, monkeypatch):
    module = load("experiment_activations")
    monkeypatch.setattr(module, "STEPS", 2)
    loss, error = module.train(["PReLU"], 2, np.array([[0.01, np.nan]]), range(2), module.TEST)
    assert np.isinf(loss[0, 1]).all() and (error[0, 1] == 100).all()
    assert np.isfinite(loss[0, 0]).all() and (error[0, 0] < 100).all()


def test_experiment_tunes_on_validation_and_tests_on_other_seeds(load, monkeypatch):
    module, calls = load("experiment_activations"), []

    def train(names, depth, rates, seeds, images):
        calls.append((rates.copy(), seeds, images))
        shape = (*rates.shape, len(seeds))
        loss = np.abs(np.log(rates / [[0.01], [0.1]]))[..., None]
        return np.broadcast_to(loss, shape), np.broadcast_to(rates[..., None], shape)

    monkeypatch.setattr(module, "train", train)
    errors, best, tuning = module.compare([["PReLU", "SiLU"]], 2)
    (grid, *first), (chosen, *second) = calls
    assert first == [module.TUNING, module.VALIDATION]
    assert second == [module.TESTING, module.TEST]
    assert grid.tolist() == [module.RATES] * 2 and chosen.tolist() == [[0.01], [0.1]]
    assert errors["SiLU"].tolist() == [0.1] * len(module.TESTING) and best["PReLU"] == 1
    assert tuning["PReLU"].tolist() == pytest.approx(module.RATES)


def test_experiment_interval_and_beyond_noise(load):
    module, paired = load("experiment_activations"), load("paired_numpy")
    a, b = np.random.default_rng(0).normal(size=(2, 10))
    for k in (1, 12):
        assert module.interval(a - b, k) == pytest.approx(paired.paired_interval(a, b, k))
    errors = {"ReLU": b, "same": b + 0.01 * a, "worse": b + 5 + 0.1 * a}
    assert module.beyond_noise(errors).startswith("worse (+5.")
    assert module.beyond_noise({"ReLU": b, "same": b + a - a.mean()}) == "none"


def test_exercise_review_shares_and_seeds(load):
    module = load("exercise_review")
    assert abs(module.share_of_leads(1, 1, 0.0, 1.0) - 0.5) < 0.01
    expected = stats.norm.sf(1 / 2**0.5)  # the difference of two has standard deviation sqrt(2)
    assert abs(module.share_of_leads(1, 1, 0.3, 0.3) - expected) < 0.01
    needed = load("paired_numpy").seeds_needed(0.3, 2**0.5 * 0.3)
    assert module.seeds_for(0.3, 0.3, 1) == needed
