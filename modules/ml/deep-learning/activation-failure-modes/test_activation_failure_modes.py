"""Counts, probabilities and gradients equal PyTorch's, at random and extreme inputs."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

SPECIAL = [0.0, -0.0, 1e-300, -1e-300, 1e-9, -1e-9, 40.0, -40.0, 800.0, -800.0, 1e300, -1e300]
VALUES = st.one_of(st.sampled_from(SPECIAL), st.floats(-30.0, 30.0))
Z = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=VALUES)
SEEDS = st.integers(0, 10_000)


def slope_of(f, z):
    leaf = torch.tensor(z, requires_grad=True)
    return torch.autograd.grad(f(leaf).sum(), leaf)[0].numpy()


@given(z=Z)
def test_slopes_equal_autograd(load, z):
    numpy = load("failure_modes_numpy")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(numpy.relu_slope(z), slope_of(torch.relu, z))
        close = {"rtol": 1e-12, "atol": 1e-15}  # torch rounds 1 - y to 0 on the right
        np.testing.assert_allclose(numpy.sigmoid_slope(z), slope_of(torch.sigmoid, z), **close)
    assert np.array_equal(numpy.sigmoid_slope(z), numpy.sigmoid_slope(-z))


@given(z=Z, threshold=st.sampled_from([0.0, 0.0025, 0.1]))
def test_flat_entries_and_stuck_units(load, z, threshold):
    numpy = load("failure_modes_numpy")
    dead = numpy.stuck_units(numpy.relu_slope(z))
    assert dead.tolist() == (torch.tensor(z) <= 0).all(dim=0).tolist()
    slope = numpy.sigmoid_slope(z)
    flat = numpy.flat(slope, threshold)
    assert flat.shape == z.shape and np.array_equal(flat, abs(slope) <= threshold)
    assert np.array_equal(numpy.flat(-slope, threshold), flat)  # a negative slope has a size too
    assert np.array_equal(numpy.stuck_units(slope, threshold), flat.all(axis=0))


@given(seed=SEEDS, n=st.integers(1, 6), d=st.integers(1, 5), k=st.integers(1, 4))
def test_unit_gradients_equal_autograd_and_dead_units_get_zero(load, seed, n, d, k):
    numpy, rng = load("failure_modes_numpy"), np.random.default_rng(seed)
    x, w, grad_a = rng.normal(size=(n, d)), rng.normal(size=(d, k)), rng.normal(size=(n, k))
    b = rng.normal(size=k)
    leaves = [torch.tensor(p, requires_grad=True) for p in (w, b)]
    a = torch.relu(torch.tensor(x) @ leaves[0] + leaves[1])
    expected = torch.autograd.grad(a, leaves, torch.tensor(grad_a))
    slope = numpy.relu_slope(x @ w + b)
    for ours, theirs in zip(numpy.unit_gradients(x, slope, grad_a), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
        assert not ours[..., numpy.stuck_units(slope)].any()


@given(seed=SEEDS, rate=st.sampled_from([0.01, 1.0, 30.0]))
def test_step_shift_predicts_one_step_of_torch_sgd(load, seed, rate):
    numpy, rng = load("failure_modes_numpy"), np.random.default_rng(seed)
    x, y = rng.normal(2, 1, size=(7, 3)), rng.normal(size=(7, 4))
    layer = nn.Linear(3, 4).double()
    inputs = torch.tensor(x)
    z = layer(inputs)
    loss = 0.5 * (torch.relu(z) - torch.tensor(y)).square().sum() / 7
    (delta,) = torch.autograd.grad(loss, z, retain_graph=True)
    loss.backward()
    torch.optim.SGD(layer.parameters(), lr=rate).step()
    ours = z.detach().numpy() - rate * numpy.step_shift(x, delta.numpy())
    np.testing.assert_allclose(ours, layer(inputs).detach().numpy(), atol=1e-10)


@given(seed=SEEDS)
def test_killing_rates_kill_inside_and_not_outside(load, seed):
    numpy, rng = load("failure_modes_numpy"), np.random.default_rng(seed)
    z, shift = rng.normal(size=(4, 30)), rng.normal(0.7, 1, size=(4, 30))
    low, high = numpy.killing_rates(z, shift)
    for rate in np.geomspace(0.01, 100, 41):
        dead = (z - rate * shift <= 0).all(axis=0)
        clear = (abs(rate - low) > 1e-9) & (abs(rate - high) > 1e-9)
        assert np.array_equal(dead[clear], ((low <= rate) & (rate <= high))[clear])


def test_killing_rates_at_zero_shift_and_zero_activation(load):
    numpy = load("failure_modes_numpy")
    low, high = numpy.killing_rates(np.array([[1.0, -1.0, 0.0]]), np.array([[0.0, 0.0, -1.0]]))
    assert low.tolist() == [np.inf, 0.0, 0.0] and high.tolist() == [np.inf, np.inf, 0.0]


# ---- born dead ----


@given(u=arrays(np.float64, 5, elements=st.floats(-40, 40)))
def test_normal_cdf_equals_torch(load, u):
    ours = load("born_dead_numpy").normal_cdf(u)
    np.testing.assert_allclose(ours, torch.special.ndtr(torch.tensor(u)).numpy(), atol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_unit_born_dead_in_closed_form(load, n):
    f = load("born_dead_numpy").unit_born_dead
    assert f(n, 0.0, 0.0) == pytest.approx(0.5**n, abs=1e-12)
    assert f(n, 0.0, 1.0) == pytest.approx(1 / (n + 1), abs=1e-9)
    phi = torch.special.ndtr(torch.tensor(2.0, dtype=torch.float64)).item()
    assert f(n, -2.0, 0.0) == pytest.approx(phi**n, abs=1e-12)
    phi = torch.special.ndtr(torch.tensor(1.5 / math.sqrt(5), dtype=torch.float64)).item()
    assert f(1, -1.5, 2.0) == pytest.approx(phi, abs=1e-9)  # one example: variance 1 + mean^2


def test_unit_born_dead_agrees_with_torch_layers(load):
    born, generator = load("born_dead_numpy"), torch.Generator().manual_seed(0)
    x = 1 + torch.randn(50, 100, generator=generator)
    z = x @ (torch.randn(100, 4000, generator=generator) / 10) - 1.0
    share = (z <= 0).all(dim=0).double().mean().item()
    assert abs(share - born.unit_born_dead(50, -1.0, 1.0)) < 0.05
    sampled = born.sampled_units(50, -1.0, 1.0, 4000, np.random.default_rng(0))
    assert abs(share - sampled) < 0.05


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (1, 5), (2, 3), (3, 4)])
def test_network_born_dead_by_listing_the_signs(load, width, depth):
    # each layer draws one of 2^width sign patterns; all off is death
    patterns = list(itertools.product((0, 1), repeat=width))
    dead = sum(
        any(not any(layer) for layer in layers)
        for layers in itertools.product(patterns, repeat=depth)
    )
    f = load("born_dead_numpy").network_born_dead
    assert f(width, depth) == pytest.approx(dead / len(patterns) ** depth)
    assert 0 < f(60, 10) < 1e-16 and f(1, 2000) == pytest.approx(1.0)


@pytest.mark.parametrize("rho", [-1.0, -0.5, 0.0, 0.7, 1.0])
def test_correlation_map_equals_a_wide_torch_layer(load, rho):
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(2, 400_000, generator=generator, dtype=torch.float64)
    pair = torch.tensor([[1.0, 0.0], [rho, math.sqrt(1 - rho**2)]], dtype=torch.float64)
    h = torch.relu(pair @ w)
    cosine = F.cosine_similarity(h[0], h[1], dim=0).item()
    assert load("born_dead_numpy").next_correlation(rho) == pytest.approx(cosine, abs=0.01)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_dead_by_layer_equals_torch(load, seed):
    x = np.random.default_rng(seed).normal(size=(5, 3))
    dead = load("born_dead_numpy").dead_by_layer(x, 4, 6, 20, np.random.default_rng(seed))
    rng, h = np.random.default_rng(seed), torch.tensor(x).expand(20, -1, -1)
    for layer in range(6):
        w = torch.tensor(rng.normal(size=(20, h.shape[2], 4)))
        h = torch.relu(h @ w)
        assert dead[:, layer].tolist() == (h <= 0).all(dim=1).tolist()


# ---- revival ----


@given(seed=SEEDS)
@settings(max_examples=15)
def test_gradients_of_the_revival_equal_autograd(load, seed):
    revival, rng = load("revival_numpy"), np.random.default_rng(seed)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(9, 1))
    params = revival.make_network(x, rng)
    w1, b1, w2, b2, w3, b3 = leaves = [torch.tensor(p, requires_grad=True) for p in params]
    z1 = torch.tensor(x) @ w1 + b1
    z2 = torch.relu(z1) @ w2 + b2
    expected = 0.5 * (torch.relu(z2) @ w3 + b3 - torch.tensor(y)).square().mean()
    loss, grads, z = revival.gradients(x, y, params)
    assert loss == pytest.approx(expected.item())
    for ours, theirs in zip(grads, torch.autograd.grad(expected, leaves), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)
    for ours, theirs in zip(z, (z1, z2), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-12)
        np.testing.assert_allclose(ours[:, :4].max(axis=0), -revival.MARGINS, atol=1e-12)


def test_revival_trains_as_torch_sgd_and_sees_the_dead(load, monkeypatch):
    revival = load("revival_numpy")
    monkeypatch.setattr(revival, "STEPS", 25)
    loss, highest, silent = revival.train(1)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(200, 2))
    y = torch.tensor(np.sin(3 * x[:, :1]) * x[:, 1:])
    leaves = [torch.tensor(p, requires_grad=True) for p in revival.make_network(x, rng)]
    w1, b1, w2, b2, w3, b3 = leaves
    optimizer = torch.optim.SGD(leaves, lr=revival.RATE)
    for step in range(25):
        z1 = torch.tensor(x) @ w1 + b1
        z2 = torch.relu(z1) @ w2 + b2
        expected = 0.5 * (torch.relu(z2) @ w3 + b3 - y).square().mean()
        for layer, z in enumerate((z1, z2)):
            top = z[:, :4].amax(dim=0).detach().numpy()
            np.testing.assert_allclose(highest[step, layer], top, atol=1e-9)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    assert loss == pytest.approx(expected.item(), rel=1e-9) and silent


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_drift_equals_torch_sgd_with_zero_gradient(load, momentum):
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=momentum)
    p.grad = torch.ones_like(p)
    optimizer.step()
    after_death = p.item()
    p.grad = torch.zeros_like(p)
    for _ in range(400):
        optimizer.step()
    drift = load("revival_numpy").drift_after_death(1.0, 0.1, momentum)
    assert p.item() - after_death == pytest.approx(drift, abs=1e-12)


# ---- the monitor ----


@given(seed=SEEDS, size=st.integers(1, 30))
@settings(max_examples=15)
def test_monitor_does_not_depend_on_the_batches(load, seed, size):
    monitor, generator = load("monitor_torch"), torch.Generator().manual_seed(seed)
    x = torch.randn(30, 6, generator=generator)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(inplace=seed % 2 == 0), nn.Linear(12, 12))
    model.append(nn.Tanh())
    with torch.no_grad():
        model[0].bias -= 1.0
    dead = monitor.survey(model, [(part,) for part in x.split(size)])
    z = model[0](x)
    assert dead.stuck["1"].tolist() == (z <= 0).all(dim=0).tolist()
    assert dead.flat_share()["1"] == pytest.approx((z <= 0).double().mean().item())
    flat = monitor.survey(model, [(x,)], kinds=(nn.Tanh,), threshold=0.9)
    slope = 1 - torch.tanh(model[2](torch.relu(z))) ** 2
    assert flat.flat_share()["3"] == pytest.approx((slope <= 0.9).double().mean().item())
    assert flat.stuck_share()["3"] == (slope <= 0.9).all(dim=0).double().mean().item()


@pytest.mark.parametrize(
    ("activation", "stuck"), [(nn.ReLU(), 1.0), (nn.LeakyReLU(), 0.0), (nn.GELU(), 0.0)]
)
def test_monitor_takes_the_slope_of_the_module(load, activation, stuck):
    monitor = load("monitor_torch").survey(
        nn.Sequential(activation), [(-torch.ones(3, 2),)], kinds=(type(activation),)
    )
    assert monitor.stuck_share() == {"0": stuck}


def test_units_are_channels_or_the_last_axis(load):
    survey = load("monitor_torch").survey
    x = -torch.ones(2, 3, 4, 5)
    x[1, 0, 2, 1] = 1.0
    assert survey(nn.Sequential(nn.ReLU()), [(x,)]).stuck["0"].tolist() == [False, True, True]
    last = survey(nn.Sequential(nn.ReLU()), [(x,)], unit_axis=-1).stuck["0"]
    assert last.tolist() == [True, False, True, True, True]


def test_modes_are_restored_and_handles_removed_after_an_error(load):
    monitor = load("monitor_torch")
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.Sequential(nn.Dropout(0.5)))
    model[2].eval()
    monitor.survey(model, [(torch.randn(5, 3),)])
    assert [m.training for m in model.modules()] == [True, True, True, False, False]
    assert not model[0].running_mean.any()  # evaluation mode while it looked
    with monitor.UnitMonitor(model):
        assert len(model[1]._forward_pre_hooks) == 1
    with pytest.raises(RuntimeError), monitor.UnitMonitor(model):
        model(torch.randn(5, 4))
    assert not model[1]._forward_pre_hooks


def test_a_watched_training_step_is_the_same_step(load):
    x, grads = torch.randn(8, 4), []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 1))
    for watched in (False, True):
        model.zero_grad()
        with load("monitor_torch").UnitMonitor(model if watched else nn.Identity()):
            model(x).square().mean().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


# ---- experiments ----


@pytest.mark.parametrize("normalize", [False, True])
def test_forward_of_the_dying_relu_equals_torch(load, normalize):
    experiment, generator = load("experiment_dying_relu"), torch.Generator().manual_seed(0)
    sizes = [(3, 5), (5, 5), (5, 4)]
    params = []
    for d, k in sizes:
        params += [torch.randn(2, d, k, generator=generator), torch.randn(2, 1, k)]
    x, slope = torch.randn(2, 7, 3, generator=generator), torch.tensor([0.0, 0.3])[:, None, None]
    logits, inputs = experiment.forward(params, x, slope, normalize)
    for s in range(2):
        h = x[s]
        for layer in range(2):
            z = h @ params[2 * layer][s] + params[2 * layer + 1][s]
            z = F.batch_norm(z, None, None, training=True) if normalize else z
            torch.testing.assert_close(inputs[layer][s], z, rtol=1e-4, atol=1e-5)
            h = F.leaky_relu(z, slope[s].item())
        torch.testing.assert_close(logits[s], h @ params[4][s] + params[5][s], rtol=1e-4, atol=1e-5)
    z = torch.tensor([[[0.0, 1.0], [-1.0, -1.0]]])
    assert experiment.dead_units([z, -z.abs()]).tolist() == [0.75]


@pytest.mark.parametrize(
    "change", [{}, {"clip": 0.5}, {"warmup": 4.0}, {"slope": 0.1, "bias": -0.5}]
)
def test_dying_relu_trains_as_torch_sgd(load, monkeypatch, change):
    experiment = load("experiment_dying_relu")
    for name, value in (("SEEDS", 2), ("STEPS", 6), ("TRAIN", 40), ("SIZES", (8, 6, 6, 10))):
        monkeypatch.setattr(experiment, name, value)
    generator = torch.Generator().manual_seed(5)
    images, y = 1 + torch.rand(60, 8, generator=generator), torch.arange(60) % 10
    setting = experiment.Setting(rate=0.3, **change)
    _, after, error = experiment.train([experiment.Setting(), setting], images, y, 3)

    generator = torch.Generator().manual_seed(3)
    weights = [
        torch.randn(2, d, k, generator=generator) * (2 / d) ** 0.5
        for d, k in ((8, 6), (6, 6), (6, 10))
    ]
    batches = [torch.randint(40, (32,), generator=generator) for _ in range(6)]
    x = (images - images[:40].mean()) / images[:40].std()
    for seed in range(2):
        layers = []
        for w in weights:
            layer = nn.Linear(*w.shape[1:])
            with torch.no_grad():
                layer.weight.copy_(w[seed].T)
                layer.bias.fill_(setting.bias if w.shape[2] == 6 else 0.0)
            layers += [layer, nn.LeakyReLU(setting.slope)]
        model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.SGD(model.parameters(), lr=setting.rate, momentum=0.9)
        for step, rows in enumerate(batches, start=1):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), setting.clip)
            if setting.warmup:
                optimizer.param_groups[0]["lr"] = setting.rate * min(step / setting.warmup, 1.0)
            optimizer.step()
        wrong = (model(x[40:]).argmax(dim=1) != y[40:]).float().mean().item()
        z1 = layers[0](x[:40])
        z2 = layers[2](layers[1](z1))
        dead = torch.cat([z1, z2], dim=1).le(0).all(dim=0).float().mean().item()
        assert error[1, seed] == pytest.approx(wrong, abs=0.06)  # one image may flip by rounding
        assert after[1, seed] == pytest.approx(dead, abs=0.09)


def test_warm_up_takes_a_quarter_of_the_rate_in_the_first_of_four_steps(load, monkeypatch):
    experiment = load("experiment_dying_relu")
    for name, value in (("SEEDS", 20), ("STEPS", 1), ("TRAIN", 40), ("SIZES", (8, 6, 6, 10))):
        monkeypatch.setattr(experiment, name, value)
    images = 1 + torch.rand(60, 8, generator=torch.Generator().manual_seed(5))
    pairs = ((2.0, 4.0), (0.5, 0.0), (0.125, 0.0))
    chosen = [experiment.Setting(rate=r, warmup=w) for r, w in pairs]
    _, _, error = experiment.train(chosen, images, torch.arange(60) % 10, 3)
    assert np.array_equal(error[0], error[1]) and not np.array_equal(error[0], error[2])


def test_cells_show_medians_and_skip_what_diverged(load):
    cell = load("experiment_dying_relu").cell
    assert cell(np.array([0.1, 0.2, np.nan]), np.array([0.1, 0.3, 1.0])) == "15; 30 (10 to 100)"
    assert cell(np.array([np.nan]), np.array([1.0])).startswith("nan; 100")


@given(z=arrays(np.float64, 4, elements=st.floats(-20, 20)))
def test_relative_slopes_of_the_saturation_equal_autograd(load, z):
    experiment = load("experiment_sigmoid_saturation")
    for name, f, top in (("sigmoid", torch.sigmoid, 0.25), ("tanh", torch.tanh, 1.0)):
        a, slope = experiment.activate(torch.tensor(z), name)
        torch.testing.assert_close(a, f(torch.tensor(z)))
        np.testing.assert_allclose(slope.numpy(), slope_of(f, z) / top, atol=1e-12)


def test_sigmoid_network_equals_torch_modules(load, monkeypatch):
    experiment = load("experiment_sigmoid_saturation")
    monkeypatch.setattr(experiment, "SEEDS", 2)
    params = []
    for d, k in ((3, 4), (4, 4), (4, 2)):
        params += [torch.randn(2, d, k), torch.randn(2, 1, k)]
    x = torch.randn(6, 3)
    logits, activations, slopes = experiment.forward(params, x, "sigmoid")
    h = torch.sigmoid(x @ params[0][1] + params[1][1])
    torch.testing.assert_close(activations[0][1], h)
    h = torch.sigmoid(h @ params[2][1] + params[3][1])
    torch.testing.assert_close(slopes[1][1], 4 * h * (1 - h))
    torch.testing.assert_close(logits[1], h @ params[4][1] + params[5][1])


def test_the_sigmoid_network_learns_and_reports_shapes(load, monkeypatch):
    experiment = load("experiment_sigmoid_saturation")
    for name, value in (("TRAIN", 30), ("SIZES", (4, 8, 2)), ("EVERY", 50)):
        monkeypatch.setattr(experiment, name, value)
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    means, shares, accuracy = experiment.train("tanh", 0.5, 200, x, (x[:, 0] > 0).long())
    assert means.shape == shares.shape == (5, 1, 10) and accuracy.shape == (5, 10)
    assert (accuracy[-1] > 0.9).all() and (shares >= 0).all() and (shares <= 1).all()


# ---- pitfalls and exercises ----


def test_never_positive_equals_the_monitor_and_misses_functions(load):
    pitfalls, generator = load("pitfalls_torch"), torch.Generator().manual_seed(0)
    x = torch.randn(40, 10, generator=generator)
    model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10))
    with torch.no_grad():
        model[0].weight.normal_(0, 0.3, generator=generator)
        model[0].bias.copy_(torch.linspace(0.0, -4.0, 10))
    monitor = load("monitor_torch").survey(model, [(x,)])
    assert pitfalls.never_positive(model, list(x.split(1))) == [monitor.stuck_share()["1"]]
    functional = pitfalls.Functional(model)
    assert torch.equal(functional(x), model(x)) and pitfalls.never_positive(functional, [x]) == []
    assert not model[1]._forward_pre_hooks


@given(seed=SEEDS)
def test_lowest_killing_rate_equals_one_torch_step(load, seed):
    rng = np.random.default_rng(seed)
    x, w, b = rng.uniform(0.5, 3, size=5), 1.0, rng.uniform(-0.5, 1)
    rate = load("exercise_one_step_numpy").lowest_killing_rate(x, w, b)
    for factor, dead in ((0.999, False), (1.001, True)):
        leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (w, b)]
        loss = 0.5 * torch.relu(leaves[0] * torch.tensor(x) + leaves[1]).square().mean()
        loss.backward()
        new = [p.item() - factor * rate * p.grad.item() for p in leaves]
        assert (new[0] * x + new[1] <= 0)[x * w + b > 0].all() == dead


def test_recycling_changes_dead_units_only_and_not_the_function(load):
    exercise, x = load("exercise_recycle_torch"), torch.randn(50, 2)
    hidden, out = nn.Linear(2, 6), nn.Linear(6, 1)
    hidden.bias.data[:2], hidden.bias.data[2:] = -20.0, 0.5
    kept, before = hidden.weight.detach().clone(), out(torch.relu(hidden(x))).detach()
    dead = exercise.recycle(hidden, out, x, torch.Generator().manual_seed(0))
    assert dead.tolist() == [True, True, False, False, False, False]
    torch.testing.assert_close(out(torch.relu(hidden(x))), before)
    assert torch.equal(hidden.weight[2:], kept[2:]) and not torch.equal(hidden.weight[:2], kept[:2])
    (gradient,) = torch.autograd.grad(out(torch.relu(hidden(x))).sum(), out.weight)
    assert gradient[0, dead].all()


def test_recycling_lowers_the_loss_in_a_short_run(load, monkeypatch):
    exercise = load("exercise_recycle_torch")
    monkeypatch.setattr(exercise, "STEPS", 100)
    plain, change, count = exercise.train(0, recycled=False)
    recycled, change_recycled, count_recycled = exercise.train(0, recycled=True)
    assert recycled < plain and (change, count) == (0.0, 0)
    assert change_recycled < 1e-6 and count_recycled == 24
