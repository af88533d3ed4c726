"""What must hold of Xavier initialization, beyond the snippets' own asserts."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

NORMAL = torch.distributions.Normal(0.0, 1.0)
WIDTHS = st.integers(1, 2000)


@pytest.fixture(scope="module")
def xavier(load):
    return load("xavier_numpy")


@pytest.fixture(scope="module")
def gains(load):
    return load("gains_numpy")


def torch_layout(shape):
    """Return an empty tensor in PyTorch's order for a kernel (..., C_in, C_out)."""
    return torch.empty((shape[-1], shape[-2], *shape[:-2]), dtype=torch.float64)


# ---- the rule ----


@given(st.lists(st.integers(1, 7), min_size=2, max_size=5))
def test_fans_equal_pytorch_and_keras(xavier, load, shape):
    shape = tuple(shape)
    expected = torch.nn.init._calculate_fan_in_and_fan_out(torch_layout(shape))
    assert xavier.fans(shape) == expected == load("xavier_torch").fans(torch_layout(shape))
    assert load("xavier_tensorflow").fans(shape) == expected


def test_fans_equal_keras_itself(xavier):
    from keras.src.initializers.random_initializers import compute_fans

    for shape in ((512, 256), (3, 3, 16, 32), (5, 4, 8), (2, 3, 4, 5, 6)):
        assert xavier.fans(shape) == compute_fans(shape)


@given(shape=st.tuples(WIDTHS, WIDTHS), gain=st.sampled_from([0.1, 1.0, 5 / 3, 4.0]))
@settings(max_examples=20)
def test_the_variance_is_the_one_that_pytorch_uses(xavier, load, shape, gain):
    seed = torch.Generator().manual_seed(1)
    small = torch.empty(3, 2, dtype=torch.float64)
    torch.nn.init.xavier_normal_(small, gain, generator=seed)
    unit = torch.empty(3, 2, dtype=torch.float64).normal_(0, 1, generator=seed.manual_seed(1))
    ratio = (small / unit).square().mean().item()
    assert math.isclose(ratio, xavier.variance(2, 3, gain), rel_tol=1e-9)
    assert math.isclose(ratio, load("xavier_torch").variance(small, gain), rel_tol=1e-9)
    v = xavier.variance(*shape, gain)
    assert math.isclose(v * sum(shape), 2 * gain**2, rel_tol=1e-12)


@given(n_in=WIDTHS, n_out=WIDTHS)
def test_the_compromise_has_the_smallest_worst_deviation(xavier, n_in, n_out):
    def worst(v):
        return max(abs(f - 1) for f in xavier.factors(n_in, n_out, v))

    v = xavier.variance(n_in, n_out)
    forward, backward = xavier.factors(n_in, n_out, v)
    assert math.isclose(forward + backward, 2.0) and forward * backward <= 1 + 1e-12
    assert math.isclose(forward / backward, n_in / n_out)
    others = [v * c for c in (0.5, 0.9, 1.1, 2.0)] + [1 / n_in, 1 / n_out]
    assert all(worst(v) <= worst(other) + 1e-12 for other in others)


@pytest.mark.parametrize("gain", [0.5, 1.0, 5 / 3])
@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 40, 60)])
def test_draws_have_the_moments_and_ends_of_pytorch(xavier, shape, gain):
    rng = np.random.default_rng(0)
    theirs = torch_layout(shape)
    torch.nn.init.xavier_uniform_(theirs, gain, generator=torch.Generator().manual_seed(0))
    uniform = xavier.xavier_uniform(shape, rng, gain)
    normal = xavier.xavier_normal(shape, rng, gain)
    truncated = xavier.xavier_truncated(shape, rng, gain)
    for w in (uniform, normal, truncated):
        assert w.shape == shape
        assert abs(w.var() / theirs.var().item() - 1) < 0.05
        assert abs(w.mean()) < 0.02 * w.std()
    assert abs(np.abs(uniform).max() / theirs.abs().max().item() - 1) < 0.01
    kurtosis = [np.mean(w**4) / w.var() ** 2 for w in (uniform, normal, truncated)]
    np.testing.assert_allclose(kurtosis, [1.8, 3.0, 2.3654], atol=0.12)
    largest = np.abs(truncated).max() / truncated.std()
    assert 2.2 < largest < 2.30 and np.abs(normal).max() / normal.std() > 3


@given(cut=st.floats(0.3, 8.0))
@settings(max_examples=20)
def test_the_truncated_standard_deviation_equals_an_integral(xavier, cut):
    u = torch.linspace(-cut, cut, 20_001, dtype=torch.float64)
    density = NORMAL.log_prob(u).exp()
    expected = torch.trapezoid(u**2 * density, u) / torch.trapezoid(density, u)
    assert math.isclose(xavier.truncated_std(cut), expected.sqrt().item(), rel_tol=1e-6)


@given(mean=st.sampled_from([0.0, 5.0, -1e3]), seed=st.integers(0, 20))
@settings(max_examples=12)
def test_the_factors_need_nothing_from_the_inputs(xavier, mean, seed):
    rng = np.random.default_rng(seed)
    a = mean + rng.normal(size=(1, 1)) + 0.1 * rng.normal(size=(1, 60))
    delta = 1.0 + rng.normal(size=(1, 40))
    w = np.stack([xavier.xavier_uniform((60, 40), rng) for _ in range(200)])
    forward, backward = xavier.factors(60, 40, xavier.variance(60, 40))
    assert abs(np.mean((a @ w) ** 2) / np.mean(a**2) / forward - 1) < 0.12
    assert abs(np.mean((delta @ w.mT) ** 2) / np.mean(delta**2) / backward - 1) < 0.12


def test_the_lead_figure_shows_tanh_networks_of_both_starts(xavier):
    for start, bound in (("standard", 300**-0.5), ("xavier", 0.1)):
        layers = xavier.activations(start, np.random.default_rng(0))
        rng = np.random.default_rng(0)
        a = torch.tensor(rng.normal(size=(200, 300)))
        for ours in layers:
            a = torch.tanh(a @ torch.tensor(rng.uniform(-bound, bound, (300, 300))))
            np.testing.assert_allclose(ours, a, atol=1e-9)
        assert len(layers) == 5


# ---- gains ----


@given(x=st.floats(-1e4, 1e4))
def test_sigmoid_and_slope_equal_autograd(gains, x):
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch.tanh(t).backward()
    assert math.isclose(gains.sigmoid(np.array(x)), torch.sigmoid(t).item(), abs_tol=1e-12)
    assert math.isclose(gains.tanh_slope(np.array(x)), t.grad.item(), abs_tol=1e-12)


@given(s=st.floats(0.0, 9.0), gain=st.sampled_from([0.5, 1.0, 5 / 3]))
@settings(max_examples=20)
def test_the_map_and_the_gradient_factor_equal_a_sum_over_quantiles(gains, s, gain):
    levels = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    z = (s**0.5 * NORMAL.icdf(levels)).requires_grad_()
    a = torch.tanh(z)
    (slope,) = torch.autograd.grad(a.sum(), z)
    forward = gain**2 * a.square().mean().item()
    backward = gain**2 * slope.square().mean().item()
    assert math.isclose(gains.next_variance(s, gain, np.tanh), forward, rel_tol=1e-3, abs_tol=1e-9)
    assert math.isclose(gains.gradient_factor(s, gain, gains.tanh_slope), backward, rel_tol=1e-3)


@given(gain=st.floats(1.1, 6.0))
@settings(max_examples=20)
def test_at_every_fixed_point_the_gradient_grows(gains, gain):
    s = gains.fixed_point(gain, np.tanh)
    assert s > 0 and math.isclose(gains.next_variance(s, gain, np.tanh), s, rel_tol=1e-6)
    assert gains.gradient_factor(s, gain, gains.tanh_slope) > 1.0
    identity = gains.gradient_factor(s, 1.0, np.ones_like)  # equality for a linear function
    assert math.isclose(identity, 1.0) and math.isclose(
        gains.next_variance(s, 1.0, lambda x: x), s, rel_tol=1e-9
    )


@given(s=st.floats(0.05, 6.0))
@settings(max_examples=10)
def test_other_odd_functions_make_the_gradient_grow_as_well(gains, s):
    functions = {
        "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: (1 + np.abs(x)) ** -2.0),
        "hard tanh": (lambda x: np.clip(x, -1, 1), lambda x: 1.0 * (np.abs(x) < 1)),
        "sine": (np.sin, np.cos),
        "cube": (lambda x: x**3, lambda x: 3 * x**2),
    }
    for name, (f, slope) in functions.items():
        gain = (s / gains.next_variance(s, 1.0, f)) ** 0.5  # makes s a fixed point
        assert math.isclose(gains.next_variance(s, gain, f), s, rel_tol=1e-9)
        factor = gains.gradient_factor(s, gain, slope)
        assert factor > (1.0 if name != "hard tanh" else 0.999)  # linear for most z if s is small
        if name == "cube":
            assert math.isclose(factor, 27 / 15, rel_tol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 5 / 3])
def test_prediction_and_network_agree_with_each_other_and_with_autograd(gains, gain):
    squares, norms = gains.predicted(gain, 6)
    measured = gains.run(gain, 6, np.random.default_rng(0))
    np.testing.assert_allclose(measured[0], squares, rtol=0.15)
    np.testing.assert_allclose(measured[1], norms, rtol=0.25)
    assert norms[-1] == measured[1][-1] == 1.0

    rng = np.random.default_rng(0)
    a, z = torch.tensor(rng.normal(size=(30, 300))), []
    for _ in range(6):
        w = torch.tensor(rng.normal(size=(300, 300)) * gain / np.sqrt(300))
        z.append((a @ w).requires_grad_())
        a = torch.tanh(z[-1])
    delta = torch.tensor(rng.normal(size=(30, 300)))
    grads = torch.autograd.grad(a, z, delta)
    theirs = np.array([g.square().mean().item() for g in grads])
    np.testing.assert_allclose(measured[1], theirs / theirs[-1], rtol=1e-9)


def test_spreads_and_the_sigmoid_network_that_is_a_tanh_network(gains):
    def spread(*start):
        return gains.spreads(*start, 4, np.random.default_rng(3))

    tanh = spread(np.tanh, (1.0, 1.0), 0.0)
    np.testing.assert_allclose(spread(gains.sigmoid, (2.0, 4.0), 0.5), tanh, rtol=1e-10)
    assert spread(gains.sigmoid, (2.0, 4.0), 0.0)[-1] < 0.8 * tanh[-1]

    rng = np.random.default_rng(3)
    a, expected = torch.tensor(rng.normal(size=(30, 300))), []
    for _ in range(4):
        z = a @ torch.tensor(rng.normal(size=(300, 300)) / np.sqrt(300))
        expected.append(z.std(dim=0, correction=0).mean().item())
        a = torch.tanh(z)
    np.testing.assert_allclose(tanh, np.array(expected) / expected[0], rtol=1e-9)


def test_a_sigmoid_network_computes_the_logits_of_a_tanh_network(gains):
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=shape) for shape in ((5, 7), (7, 6), (6, 8), (8, 3))]
    x = rng.normal(size=(10, 5))
    a, expected = x, x
    for layer, w in enumerate(weights):
        z, scaled = expected @ w, w * (4.0 if 0 < layer < len(weights) - 1 else 2.0)
        bias = -0.5 * scaled.sum(axis=0) * (layer > 0)
        logits = a @ scaled + bias  # (N, D) @ (D, K)
        a, expected = gains.sigmoid(logits), np.tanh(z)
    np.testing.assert_allclose(logits, z, atol=1e-12)


# ---- frameworks ----


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (4, 1), (8, 1), (1, 2)])
def test_true_fans_are_counted_by_the_gradient(load, groups, stride):
    conv = torch.nn.Conv2d(8, 8, 3, groups=groups, stride=stride, bias=False).double()
    torch.nn.init.ones_(conv.weight)
    x = torch.ones(1, 8, 24, 24, dtype=torch.float64, requires_grad=True)
    y = conv(x)
    y.sum().backward()
    inside = x.grad[..., 6:18, 6:18].mean().item()  # outputs that an input feeds, on average
    fan_in, fan_out = load("xavier_torch").true_fans(conv)
    assert fan_in == round(y[0, 0, 5, 5].item()) and abs(fan_out - inside) < 1e-9 + 0.01 * inside


def test_rms_after_is_that_of_a_tanh_network(load):
    rms_after = load("xavier_torch").rms_after
    g = torch.Generator().manual_seed(0)
    a = torch.randn(50, 40, generator=g)
    for _ in range(2):
        a = torch.tanh(a @ (0.2 * torch.randn(40, 40, generator=g)))
    assert math.isclose(rms_after(2, 0.2, 40), a.square().mean().sqrt().item(), rel_tol=1e-5)


def test_keras_statistics_are_in_units_of_the_rule(load):
    statistics = load("xavier_tensorflow").statistics
    for name, largest in (("GlorotUniform", 3**0.5), ("GlorotNormal", 2.2737)):
        v, top = statistics(name, (300, 200))
        assert abs(v - 1) < 0.02 and 0.95 * largest < top <= largest * (1 + 1e-4)


# ---- the experiment ----


def test_the_two_starts_have_the_stated_variances_from_the_same_draws(load):
    module = load("experiment_normalized")
    standard, normalized = module.init("standard", 30, 2), module.init("normalized", 30, 2)
    sizes = [30] + [module.WIDTH] * module.HIDDEN + [module.CLASSES]
    for layer, (d, k) in enumerate(pairwise(sizes)):
        s, n = standard[2 * layer], normalized[2 * layer]
        assert s.shape == n.shape == (2 * module.SEEDS, d, k)
        assert not standard[2 * layer + 1].any() and torch.equal(s[0], s[module.SEEDS])
        assert abs(s.var().item() * 3 * d - 1) < 0.1
        assert abs(n.var().item() * (d + k) / 2 - 1) < 0.1
        reference = torch.empty(k, d)
        torch.nn.init.xavier_uniform_(reference)
        assert abs(n.abs().max() / reference.abs().max() - 1) < 0.05
        torch.testing.assert_close(n / n.std(), s / s.std())
    assert not torch.equal(standard[2], standard[4])  # each layer has its own draws
    assert not torch.equal(standard[2][0], standard[2][1])  # and each seed


def test_the_experiment_computes_a_tanh_network_and_its_gradients(load):
    module = load("experiment_normalized")
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 12, generator=g), torch.randint(10, (40,), generator=g)
    params = module.init("normalized", 12, 1)
    model = torch.nn.Sequential()
    for i in range(0, len(params), 2):
        layer = torch.nn.Linear(*params[i].shape[1:])
        layer.weight.data, layer.bias.data = params[i].data[2].T, params[i + 1].data[2, 0]
        model.extend([layer] if i == len(params) - 2 else [layer, torch.nn.Tanh()])
    z = module.forward(params, x)
    torch.testing.assert_close(z[-1][2], model(x), rtol=1e-4, atol=1e-5)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    torch.testing.assert_close(module.losses(z[-1], y)[2], loss, rtol=1e-4, atol=1e-5)
    loss.backward()
    a, delta, grad_w = module.at_start("normalized", x, y)
    assert a.shape == delta.shape == grad_w.shape == (module.SEEDS, module.HIDDEN)
    first = model[0].weight.grad.std().item()
    assert math.isclose(grad_w[2, 0], first, rel_tol=1e-3)
    hidden = model[1](model[0](x)).std().item()
    assert math.isclose(a[2, 0], hidden, rel_tol=1e-3)
    h = model[1](model[0](x)).detach()
    z1 = torch.atanh(h.double()).float().requires_grad_()
    torch.nn.functional.cross_entropy(model[1:](z1), y).backward()
    assert math.isclose(delta[2, 0], z1.grad.std().item(), rel_tol=1e-2)


def test_errors_are_percentages_and_nan_counts_as_wrong(load, monkeypatch):
    module = load("experiment_normalized")
    monkeypatch.setattr(module, "TRAIN", 4)
    monkeypatch.setattr(module, "VALID", 2)
    monkeypatch.setattr(module, "SEEDS", 2)
    x = torch.eye(10)[[0, 1, 2, 3, 0, 1, 2, 3, 4]]
    y = torch.tensor([0, 1, 2, 3, 0, 0, 2, 3, 0])
    w = torch.stack([torch.eye(10), torch.full((10, 10), torch.nan)])
    result = module.errors([w, torch.zeros(2, 1, 10)], x, y)
    np.testing.assert_allclose(result, [[[50, 100]], [[100 / 3, 100]]])


def test_training_is_plain_sgd_on_the_stated_batches(load, monkeypatch):
    module = load("experiment_normalized")
    for name, value in (("STEPS", 6), ("EARLY", 3), ("TRAIN", 30), ("VALID", 20), ("SEEDS", 2)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "RATES", [0.1, 0.5])
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(90, 12, generator=g), torch.randint(10, (90,), generator=g)
    result = module.train("normalized", x, y)
    params = [p.detach()[:1].clone().requires_grad_() for p in module.init("normalized", 12, 1)]
    optimizer, batches = torch.optim.SGD(params, lr=0.5), torch.Generator().manual_seed(0)
    for _ in range(6):
        batch = torch.randint(30, (10,), generator=batches)
        optimizer.zero_grad()
        module.losses(module.forward(params, x[batch])[-1], y[batch]).sum().backward()
        optimizer.step()
    monkeypatch.setattr(module, "SEEDS", 1)
    expected = module.errors(params, x, y)[:, 0, 0]
    np.testing.assert_allclose(result[6][:, 1, 0], expected, atol=5.1)
    assert sorted(result) == [3, 6] and result[6].shape == (2, 2, 2)


def test_the_criterion_asks_every_seed_and_pairs_the_differences(load):
    module = load("experiment_normalized")
    low, high = np.full(6, 0.9 * module.LOSES), np.full(6, 1.1 * module.KEEPS)
    one_low, one_high = np.append(high[1:], low[0]), np.append(low[1:], high[0])
    assert module.only_normalized_keeps(low, high)
    assert not module.only_normalized_keeps(low, one_low)
    assert not module.only_normalized_keeps(one_high, high)
    assert not module.only_normalized_keeps(high, low)
    a, b = np.array([4.0, 5.0, 9.0, 2.0]), np.array([1.0, 3.0, 5.0, 3.0])
    gap, margin = module.gap_and_margin(a, b)
    assert math.isclose(gap, 2.0)
    assert math.isclose(margin, 2 * torch.tensor(a - b).std().item() / 2)


# ---- exercises ----


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_chains_telescope_except_for_xavier(load, widths):
    chain = load("exercise_widths_numpy").chain
    first, last = widths[0], widths[-1]
    expected = {
        "1 / fan_in": (1.0, last / first),
        "1 / fan_out": (first / last, 1.0),
        "geometric": ((first / last) ** 0.5, (last / first) ** 0.5),
    }
    for rule, factors in expected.items():
        np.testing.assert_allclose(chain(widths, rule), factors, rtol=1e-9)
    ends = last / first
    forward, backward = chain(widths, "Xavier")
    assert math.isclose(backward / forward, ends) and forward * backward <= 1 + 1e-9


def test_the_measured_chain_follows_the_formula(load):
    module = load("exercise_widths_numpy")
    widths = [200, 400, 100, 300]
    for rule in module.RULES:
        seen = module.measured(widths, rule, np.random.default_rng(1))
        assert abs(seen / module.chain(widths, rule)[0] - 1) < 0.35


@given(seed=st.integers(0, 50), size=st.integers(2, 8))
@settings(max_examples=15)
def test_averages_and_jacobian_equal_pytorch(load, seed, size):
    module = load("exercise_singular_values_numpy")
    rng = np.random.default_rng(seed)
    j = rng.normal(size=(size, size))
    s = torch.linalg.svdvals(torch.tensor(j))
    expected = s.mean(), s.square().mean().sqrt(), s.log().mean().exp()
    np.testing.assert_allclose(module.averages(j), [e.item() for e in expected], rtol=1e-9)
    a = rng.normal(size=size)
    ours = module.jacobian(0.7, a, np.random.default_rng(seed))
    w = torch.tensor(np.random.default_rng(seed).uniform(-0.7, 0.7, size=(size, size)))
    theirs = torch.autograd.functional.jacobian(lambda h: torch.tanh(h @ w), torch.tensor(a))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9)
