"""What must hold of He (Kaiming) initialization, beyond the snippets' own asserts."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

SLOPES = st.one_of(st.sampled_from([0.0, 1.0, -1.0, math.sqrt(5)]), st.floats(-20.0, 20.0))
MODES = st.sampled_from(["fan_in", "fan_out"])
SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(1, 5)] * 4),
    st.tuples(*[st.integers(1, 3)] * 5),
)


@pytest.fixture(scope="module")
def he(load):
    return load("he_initialization_numpy")


@pytest.fixture(scope="module")
def modes(load):
    return load("fan_modes_numpy")


@pytest.fixture(scope="module")
def finite(load):
    return load("finite_width_numpy")


def torch_shape(shape):
    """Return PyTorch's (out, in, *window) for a kernel (*window, in, out)."""
    return (shape[-1], shape[-2], *shape[:-2])


# ---- the formulas against torch.nn.init ----


@given(slope=SLOPES)
def test_gain_equals_pytorch(he, slope):
    expected = nn.init.calculate_gain("leaky_relu", slope)
    assert math.isclose(he.gain(slope), expected, rel_tol=1e-12)
    assert math.isclose(he.gain(), nn.init.calculate_gain("relu"), rel_tol=1e-12)


@given(shape=SHAPES, slope=SLOPES, mode=MODES)
@example(shape=(1, 1), slope=0.0, mode="fan_in")
def test_std_and_fans_equal_pytorch(load, he, shape, slope, mode):
    module = load("he_initialization_torch")
    weight = torch_shape(shape)
    std = he.he_std(shape, slope, mode)
    for initializer in (nn.init.kaiming_normal_, nn.init.kaiming_uniform_):
        expected = module.implied_std(initializer, weight, a=slope, mode=mode)
        assert math.isclose(std, expected, rel_tol=1e-9)
    assert math.isclose(std, module.formula(weight, slope, mode), rel_tol=1e-12)
    fan_in, fan_out = he.fans(shape)
    layer_in = {"fan_in": fan_in, "fan_out": fan_out}[mode]
    assert math.isclose(std, he.gain(slope) / math.sqrt(layer_in), rel_tol=1e-12)
    assert fan_in * shape[-1] == fan_out * shape[-2] == math.prod(shape)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("name", ["he_normal", "he_uniform"])
@pytest.mark.parametrize("slope", [0.0, 0.3, math.sqrt(5)])
def test_drawn_weights_have_pytorchs_moments(he, name, mode, slope):
    shape = (3, 3, 60, 40)
    w = getattr(he, name)(shape, np.random.default_rng(0), slope, mode)
    initializer = {"he_normal": nn.init.kaiming_normal_, "he_uniform": nn.init.kaiming_uniform_}
    theirs = initializer[name](
        torch.empty(torch_shape(shape)),
        a=slope,
        mode=mode,
        generator=torch.Generator().manual_seed(0),
    ).numpy()
    assert w.shape == shape
    assert abs(w.std() / theirs.std() - 1) < 0.03
    assert abs(w.mean()) < 4 * w.std() / math.sqrt(w.size)
    kurtosis = np.mean(w**4) / np.mean(w**2) ** 2
    assert abs(kurtosis - np.mean(theirs**4) / np.mean(theirs**2) ** 2) < 0.15
    if name == "he_uniform":
        assert abs(np.abs(w).max() / np.abs(theirs).max() - 1) < 0.01


@given(slope=st.floats(-3.0, 3.0))
def test_rectified_moments_equal_an_integral(he, slope):
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(torch.distributions.Normal(0.0, 1.0).log_prob(z))
    f = nn.functional.leaky_relu(z, slope)
    mean, second = (float(torch.trapezoid(f**power * density, z)) for power in (1, 2))
    ours = he.rectified_moments(slope)
    np.testing.assert_allclose(ours, (second, second - mean**2), rtol=1e-6, atol=1e-9)
    assert math.isclose(he.gain(slope) ** 2, 1 / ours[0], rel_tol=1e-12)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    scale=st.sampled_from([1e-150, 1.0, 1e100]),
    seed=st.integers(0, 99),
)
def test_mean_squares_equal_pytorch(he, sizes, scale, seed):
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=(3, sizes[0]))
    weights = [rng.normal(size=s) for s in pairwise(sizes)]
    h, expected = torch.tensor(x), [float(torch.tensor(x).square().mean())]
    for w in weights:
        h = torch.relu(h @ torch.tensor(w))
        expected.append(float(h.square().mean()))
    np.testing.assert_allclose(he.mean_squares(x, weights), expected, rtol=1e-10)


# ---- forward and backward ----


@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=6),
    mode=MODES,
    networks=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_signal_and_gradient_equal_autograd(modes, widths, mode, networks, seed):
    rng = np.random.default_rng(seed)
    weights = modes.network(widths, mode, networks, rng)
    x = rng.normal(size=(networks, 1, widths[0]))
    readout = rng.normal(size=(networks, 1, widths[-1]))
    h, grads = modes.propagate(x, readout, weights)
    states = [torch.tensor(x, requires_grad=True)]
    for w in weights:
        states.append(torch.relu(states[-1] @ torch.tensor(w)))
    output = (states[-1] * torch.tensor(readout)).sum()
    expected = torch.autograd.grad(output, states)
    assert len(h) == len(grads) == len(widths)
    for a, g, state, grad in zip(h, grads, states, expected, strict=True):
        np.testing.assert_allclose(a, state.detach().numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(g, grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_weights_of_every_layer_have_the_std_of_pytorch(load, modes, mode):
    implied_std = load("he_initialization_torch").implied_std
    weights = modes.network([20, 50, 30], mode, 400, np.random.default_rng(0))
    for w, shape in zip(weights, ((20, 50), (50, 30)), strict=True):
        expected = implied_std(nn.init.kaiming_normal_, shape[::-1], mode=mode)
        assert w.shape == (400, *shape) and abs(w.std() / expected - 1) < 0.01


@given(widths=st.lists(st.integers(1, 500), min_size=2, max_size=9))
def test_the_product_telescopes(modes, widths):
    signal, gradient = modes.predicted(widths, "fan_in")
    np.testing.assert_allclose(signal, 1.0)
    np.testing.assert_allclose(gradient, widths[-1] / np.array(widths), rtol=1e-9)
    signal, gradient = modes.predicted(widths, "fan_out")
    np.testing.assert_allclose(signal, widths[0] / np.array(widths), rtol=1e-9)
    np.testing.assert_allclose(gradient, 1.0)


def test_one_narrow_layer_has_the_exact_mean(modes):
    # not an effect of width: three units, mean over many networks
    rng = np.random.default_rng(1)
    x = np.broadcast_to([[3.0, 0.0, -1.0]], (200_000, 1, 3))
    h, _ = modes.propagate(
        x, np.ones((200_000, 1, 2)), modes.network([3, 2], "fan_in", 200_000, rng)
    )
    assert abs(np.mean(h[1] ** 2) / np.mean(x**2) - 1) < 0.02


def test_a_layer_that_is_off_as_a_whole_gets_no_gradient(modes):
    # one unit per layer: exact at the input, half at the hidden unit, which is off half the time
    networks, rng = 100_000, np.random.default_rng(2)
    ones = np.ones((networks, 1, 1))
    h, grads = modes.propagate(ones, ones, modes.network([1, 1, 1], "fan_in", networks, rng))
    squares = [float(np.mean(g**2)) for g in grads]
    assert abs(squares[0] - 1) < 0.06 and abs(squares[1] - 0.5) < 0.02
    assert abs(np.mean(grads[1][h[1] > 0] ** 2) - 1) < 0.03 and not grads[1][h[1] == 0].any()


# ---- what the mean hides ----


@given(c=st.floats(-1.0, 1.0))
@example(c=1.0)
@example(c=-1.0)
@example(c=1.0 - 1e-12)
def test_cosine_map_is_a_normal_integral(finite, c):
    # z = r cos(t), z' = r cos(t - angle): the radius drops out, the angle t is uniform
    angle = math.acos(c)
    t = torch.linspace(-math.pi, math.pi, 40_001, dtype=torch.float64)
    product = torch.relu(torch.cos(t)) * torch.relu(torch.cos(t - angle))
    expected = float(torch.trapezoid(product, t)) / (math.pi / 2)  # over that for c = 1
    mapped = float(finite.cosine_map(c))
    assert abs(mapped - expected) < 1e-6
    assert c - 1e-12 <= mapped <= 1 + 1e-12


def test_cosine_map_loses_a_power_of_three_halves_near_one(finite):
    eps = 1e-5
    lost = eps - (1 - float(finite.cosine_map(1 - eps)))
    assert abs(lost / (2 * math.sqrt(2) / (3 * math.pi) * eps**1.5) - 1) < 0.01
    c, layers = 0.0, 20_000
    for _ in range(layers):
        c = float(finite.cosine_map(c))
    assert abs((1 - c) * 2 * layers**2 / (9 * math.pi**2) - 1) < 0.01


def test_cosines_start_as_asked_and_follow_pytorch(finite):
    starts = (-1.0, -0.3, 0.0, 0.9, 1.0)
    found = finite.cosines(starts, 40, 2.0, 3)
    np.testing.assert_allclose(found[0], starts, atol=1e-12)
    rng = np.random.default_rng(3)
    base, other = np.linalg.qr(rng.normal(size=(40, 2)))[0].T
    h = torch.tensor(np.stack([base, 0.9 * base + math.sqrt(1 - 0.81) * other]))
    for layer in range(1, 6):
        w = rng.normal(0.0, math.sqrt(2 / 40), (40, 40))
        h = torch.relu(h @ torch.tensor(w))
        expected = float(torch.cosine_similarity(h[0], h[1], dim=0))
        assert math.isclose(found[layer, 3], expected, rel_tol=1e-9)
    np.testing.assert_allclose(found[:, 4], 1.0)
    assert finite.cosines(starts, 40, 2.0, 3).shape == (finite.DEPTH + 1, 5)


def test_log_signal_is_that_of_pytorchs_weights(finite):
    ours = finite.log_signal(30, 4, 1500, np.random.default_rng(0))
    assert ours.shape == (1500, 4)
    w = torch.empty(4, 1500, 30, 30)
    generator = torch.Generator().manual_seed(0)
    for layer in w:
        nn.init.kaiming_normal_(layer.view(-1, 30), nonlinearity="relu", generator=generator)
    h, found = torch.ones(1500, 1, 30), []
    for layer in w:
        h = torch.relu(h @ layer)
        found.append(h.square().mean(dim=(1, 2)).log())
    theirs = torch.stack(found, dim=1).numpy()
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.12)
    np.testing.assert_allclose(ours.var(axis=0), theirs.var(axis=0), rtol=0.2)
    np.testing.assert_allclose(np.exp(ours).mean(axis=0), 1.0, atol=0.12)
    assert abs(ours[:, 0].var() / (5 / 30) - 1) < 0.4


# ---- the model, the experiment, the exercises ----


def test_initialize_starts_every_layer_as_it_should(load):
    module = load("he_initialization_torch")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 400))
    module.initialize(model)
    assert abs(float(model[0].weight.detach().var()) / (2 / 144) - 1) < 0.1
    assert abs(float(model[3].weight.detach().var()) * 512 - 1) < 0.05  # no ReLU follows
    assert not model[0].bias.any() and not model[3].bias.any()


def test_both_starts_of_the_experiment_differ_by_the_gain_only(load):
    module = load("experiment_depth")
    first, middle, last = (p.detach() for p in module.init(6, 64))
    assert middle.shape == (4, math.prod(module.SHAPE), module.WIDTH, module.WIDTH)
    for p, ratio in ((first, math.sqrt(2)), (middle.transpose(0, 1), math.sqrt(2)), (last, 1.0)):
        p = p.reshape(*module.SHAPE, -1)
        torch.testing.assert_close(p[:, 1], ratio * p[:, 0])
        torch.testing.assert_close(p[0], p[-1])  # the same for every rate
    xavier = middle.transpose(0, 1).reshape(*module.SHAPE, -1)[:, 0]
    assert abs(float(xavier.var()) * module.WIDTH - 1) < 0.1
    assert abs(float(last.var()) * module.WIDTH - 1) < 0.2
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    h = x
    for w in (first[3], *middle[:, 3]):
        h = torch.relu(h @ w)
    params = module.init(6, 64)
    torch.testing.assert_close(module.logits(params, x)[3].detach(), h @ last[3])


def test_the_best_rate_takes_a_failure_as_guessing(load):
    choose = load("experiment_depth").choose
    inf = np.inf
    assert choose(np.array([[0.9, 0.9], [0.1, inf], [0.6, 0.7], [inf, inf]]), 1.0) == 1
    assert choose(np.array([[0.9, 0.9], [0.1, 50.0], [0.4, 0.5], [inf, inf]]), 1.0) == 2


def test_training_is_sgd_with_momentum(load, monkeypatch):
    module = load("experiment_depth")
    monkeypatch.setattr(module, "STEPS", 15)
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
    final, history = module.train(4, x, y)
    rate, start, seed = 3, 1, 2
    index = (rate * len(module.GAINS) + start) * module.SEEDS + seed
    first, middle, last = (p.detach() for p in module.init(4, 8))
    params = [first[index], *middle[:, index], last[index]]
    params = [p.clone().requires_grad_() for p in params]
    optimizer = torch.optim.SGD(params, lr=module.RATES[rate], momentum=0.9)
    g = torch.Generator().manual_seed(module.FIRST_SEED)

    def loss_of(rows):
        h = x[rows]
        for w in params[:-1]:
            h = torch.relu(h @ w)
        return nn.functional.cross_entropy(h @ params[-1], y[rows])

    for step in range(module.STEPS):
        loss = loss_of(torch.randint(len(y), (module.BATCH,), generator=g))
        assert math.isclose(loss.item(), history[step, rate, start, seed], rel_tol=1e-3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert math.isclose(loss_of(slice(240)).item(), final[rate, start, seed], rel_tol=1e-3)
    assert final.shape == module.SHAPE and history.shape == (module.STEPS, *module.SHAPE)


def test_steps_to_counts_the_first_window_below(load):
    steps_to = load("experiment_depth").steps_to
    falling = np.concatenate([np.ones(20), np.zeros(20)])[:, None]
    assert steps_to(0.5, falling) == [26.0]  # six zeros among the last ten
    assert steps_to(-1.0, falling) == [np.inf]


def test_padding_map_equals_a_convolution(load):
    module = load("exercise_padding_numpy")
    kernel = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    q = torch.ones(1, 1, 5, 5, dtype=torch.float64)
    for _ in range(4):
        q = nn.functional.conv2d(q, kernel, padding=1)
    np.testing.assert_allclose(module.expected_map(5, 4), q[0, 0].numpy())
    seen = [module.measured(4, 3, 64, np.random.default_rng(s)) for s in range(30)]
    assert abs(np.mean(seen) / module.expected_map(4, 3).mean() - 1) < 0.15
