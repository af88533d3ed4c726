"""What must hold of the constructions, counts and bounds, beyond the snippets' own asserts."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

SEEDS = st.integers(0, 2**31 - 1)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def torch_forward(x, layers):
    """The network of dense layers with PyTorch's operations."""
    x = torch.tensor(x)
    for w, b in layers[:-1]:
        x = F.relu(F.linear(x, torch.tensor(w).T, torch.tensor(b)))
    w, b = layers[-1]
    return F.linear(x, torch.tensor(w).T, torch.tensor(b)).numpy()


def random_network(rng, sizes):
    return [(rng.normal(size=(d, k)), rng.normal(size=k)) for d, k in pairwise(sizes)]


# ---- one hidden layer ----


@pytest.fixture(scope="module")
def ua(load):
    return load("universal_approximation_numpy")


@given(seed=SEEDS, d=st.integers(1, 4), h=st.integers(1, 6), scale=st.sampled_from([1e-8, 1, 1e8]))
def test_forward_equals_pytorch(ua, seed, d, h, scale):
    rng = np.random.default_rng(seed)
    x, w, b = scale * rng.normal(size=(5, d)), rng.normal(size=(d, h)), rng.normal(size=h)
    v, c = rng.normal(size=h), float(rng.normal())
    expected = torch_forward(x, [(w, b), (v[:, None], np.array([c]))])[:, 0]
    np.testing.assert_allclose(ua.forward(x, (w, b, v, c)), expected, rtol=1e-9, atol=1e-9 * scale)


@given(seed=SEEDS, h=st.integers(1, 30))
def test_the_network_is_the_polygon_and_pytorch_agrees(ua, load, seed, h):
    rng = np.random.default_rng(seed)
    knots = np.cumsum(rng.uniform(0.1, 1.0, size=h + 1)) - 3.0
    values = rng.normal(size=h + 1)
    network = ua.interpolate(knots, values)
    x = np.concatenate([knots, rng.uniform(knots[0], knots[-1], size=50)])
    expected = np.interp(x, knots, values)
    np.testing.assert_allclose(ua.forward(x[:, None], network), expected, **CLOSE)
    module = load("universal_approximation_torch").build(torch.tensor(knots), torch.tensor(values))
    with torch.no_grad():
        outputs = module(torch.tensor(x)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(outputs, expected, **CLOSE)
    polygon = load("pitfalls_numpy").polygon(x, knots, values)
    np.testing.assert_allclose(polygon, expected, **CLOSE)
    assert len(network[1]) == len(network[2]) == h


@given(seed=SEEDS, h=st.integers(1, 60))
def test_the_errors_keep_the_bounds(ua, seed, h):
    rng = np.random.default_rng(seed)
    a, k, phase = rng.uniform(0.1, 2), rng.uniform(1, 9), rng.uniform(0, 6)
    network = ua.build(lambda x: a * np.sin(k * x + phase), h)
    error = ua.sup_error(lambda x: a * np.sin(k * x + phase), network)
    assert error <= ua.smooth_bound(a * k**2, h) * (1 + 1e-9)
    assert error <= ua.continuous_bound(lambda t: a * k * t, h) * (1 + 1e-9)
    error = ua.sup_error(np.sqrt, ua.build(np.sqrt, h), points=3840 * h + 1)
    np.testing.assert_allclose(error, np.sqrt(1 / h) / 4, rtol=1e-4)
    assert error <= ua.continuous_bound(np.sqrt, h)


def test_a_parabola_attains_the_bound(ua):
    for h in (1, 2, 8):
        error = ua.sup_error(np.square, ua.build(np.square, h))
        np.testing.assert_allclose(error, ua.smooth_bound(2.0, h), rtol=1e-9)


def test_targets(ua, load):
    x = np.linspace(0, 1, 101)
    expected = torch.sin(2 * torch.pi * torch.tensor(x)).numpy()
    np.testing.assert_allclose(ua.sine(x), expected, **CLOSE)
    np.testing.assert_allclose(load("pitfalls_numpy").target(x), expected, **CLOSE)
    np.testing.assert_array_equal(
        ua.step(x), torch.heaviside(torch.tensor(x) - 0.3, torch.tensor(1.0, dtype=torch.float64))
    )


# ---- depth ----


@pytest.fixture(scope="module")
def depth(load):
    return load("depth_numpy")


@given(seed=SEEDS, widths=st.lists(st.integers(1, 5), min_size=0, max_size=3))
def test_deep_forward_equals_pytorch(depth, seed, widths):
    rng = np.random.default_rng(seed)
    layers, x = random_network(rng, [2, *widths, 3]), rng.normal(size=(4, 2))
    np.testing.assert_allclose(depth.forward(x, layers), torch_forward(x, layers), **CLOSE)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 11])
def test_the_sawtooth(depth, load, k):
    net, x = depth.sawtooth(k), np.linspace(0, 1, 3001)
    tent = torch.tensor(x)
    for _ in range(k):
        tent = 1 - (2 * tent - 1).abs()
    np.testing.assert_allclose(depth.forward(x[:, None], net)[:, 0], tent.numpy(), atol=1e-11)
    single = load("experiment_training").sawtooth(torch.tensor(x), k)
    np.testing.assert_allclose(single.numpy(), tent.numpy(), atol=1e-12)
    assert depth.count_pieces(net) == 2**k == depth.shallow_units_needed(k) + 1
    assert depth.units(net) == 2 * k and len(depth.breakpoints(net, 0.0, 1.0)) == 2**k + 1


@settings(deadline=None)
@given(seed=SEEDS, widths=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_pieces_are_affine_few_and_not_too_few(depth, seed, widths):
    rng = np.random.default_rng(seed)
    layers = random_network(rng, [1, *widths, 1])
    points = depth.breakpoints(layers, -3.0, 3.0)
    left, right = points[:-1], points[1:]
    outputs = [torch_forward(t[:, None], layers)[:, 0] for t in (left, (left + right) / 2, right)]
    np.testing.assert_allclose(outputs[1], (outputs[0] + outputs[2]) / 2, rtol=1e-6, atol=1e-8)
    pieces = depth.count_pieces(layers, -3.0, 3.0)
    assert pieces <= len(points) - 1 <= np.prod([h + 1 for h in widths])

    x = np.linspace(-3, 3, 4001)  # changes of slope that a grid can see are counted
    slopes = np.diff(torch_forward(x[:, None], layers)[:, 0])
    changed = np.abs(np.diff(slopes)) > 1e-7 * (1 + np.abs(slopes).max())
    assert pieces - 1 >= changed.sum() / 2


def test_fewer_units_are_no_better_than_a_constant(depth, load):
    rng = np.random.default_rng(0)
    x = np.unique(np.concatenate([np.arange(17) / 16, np.linspace(0, 1, 2001)]))
    teeth = depth.forward(x[:, None], depth.sawtooth(4))[:, 0]
    for _ in range(30):  # 14 units, one less than the theorem asks for
        phi = np.maximum(np.outer(x, np.ones(14)) - np.sort(rng.uniform(size=14)), 0)
        phi = np.column_stack([phi, np.ones(len(x))])
        fit = phi @ np.linalg.lstsq(phi, teeth, rcond=None)[0]
        assert np.max(np.abs(fit - teeth)) >= 0.5


# ---- regions ----


@pytest.fixture(scope="module")
def regions(load):
    return load("regions_numpy")


@given(h=st.integers(0, 12), d=st.integers(0, 12))
def test_zaslavsky(regions, h, d):
    count = regions.zaslavsky(h, d)
    if h and d:
        assert count == regions.zaslavsky(h - 1, d) + regions.zaslavsky(h - 1, d - 1)
    else:
        assert count == 1
    if d >= h:
        assert count == 2**h
    assert regions.upper_bound([h], d) == count


def test_bounds_of_deep_networks(regions):
    assert regions.upper_bound([8, 8], 2) == 37**2 and regions.lower_bound([8, 8], 2) == 16 * 37
    assert regions.upper_bound([1, 5], 3) == 2 * 6  # a bottleneck of one dimension
    assert regions.upper_bound([3, 3, 3], 1) == 4**3 and regions.lower_bound([3, 3, 3], 1) == 36
    assert regions.lower_bound([7, 5], 2) == 9 * 16  # (7 // 2)^2 (1 + 5 + 10)
    for widths, d in product(([4, 4], [6, 2, 3], [5]), (1, 2)):
        assert regions.lower_bound(widths, d) <= regions.upper_bound(widths, d)


@given(seed=SEEDS)
def test_a_cut_keeps_area_and_sides(regions, seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, size=6))
    polygon = np.column_stack([np.cos(angles), np.sin(angles)])
    normal, offset = rng.normal(size=2), 0.5 * rng.normal()
    parts = regions.cut(polygon, polygon @ normal + offset)

    def area(p):
        x, y = p.T
        return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))

    np.testing.assert_allclose(sum(area(p) for p in parts), area(polygon), atol=1e-12)
    for part in parts:
        z = part @ normal + offset
        assert (z >= -1e-9).all() or (z <= 1e-9).all()
    crossed = (polygon @ normal + offset > 0).any() and (polygon @ normal + offset < 0).any()
    assert len(parts) == 1 + crossed


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, widths=st.sampled_from([[3], [5], [3, 3], [2, 4], [2, 2, 2]]))
def test_every_region_has_one_pattern_of_its_own(regions, seed, widths):
    rng = np.random.default_rng(seed)
    layers = regions.random_layers(widths, rng)
    assert [w.shape for w, _ in layers] == [(2, widths[0]), *pairwise(widths)]
    cells = regions.regions(layers, side=4.0)
    patterns = []
    for cell in cells:
        weights = rng.dirichlet(np.ones(len(cell)), size=8)
        h, signs = torch.tensor(weights @ cell), []
        for w, b in layers:
            z = F.linear(h, torch.tensor(w).T, torch.tensor(b))
            h = F.relu(z)
            signs.append(z)
        z = torch.cat(signs, dim=1)
        size = 1e-7 * (1 + z.abs().amax(dim=0))
        assert torch.all((z > -size).all(dim=0) | (z < size).all(dim=0))
        patterns.append(tuple((z.mean(dim=0) > 0).tolist()))
    assert len(set(patterns)) == len(cells) <= regions.upper_bound(widths, 2)
    grid = np.random.default_rng(0).uniform(-4, 4, size=(500, 2))
    seen, h = [], torch.tensor(grid)
    for w, b in layers:
        z = F.linear(h, torch.tensor(w).T, torch.tensor(b))
        h = F.relu(z)
        seen.append(z > 0)
    assert {tuple(row) for row in torch.cat(seen, dim=1).tolist()} <= set(patterns)


def test_he_weights(regions):
    layers = regions.random_layers([400, 400], np.random.default_rng(0))
    for w, b in layers:
        assert abs(w.var() * len(w) / 2 - 1) < 0.2 and abs(b.var() - 1) < 0.3


# ---- limits and exercises ----


def test_polynomial_features_have_a_fixed_rank(load):
    module, x = load("pitfalls_numpy"), np.linspace(0, 1, 200)
    for degree in (1, 2, 3):
        errors = []
        for units in (8, 64):
            phi = module.features(x, units, degree, np.random.default_rng(1))
            assert phi.shape == (200, units + 1) and (phi[:, -1] == 1).all()
            error, rank = module.fit_error(x, units, degree, np.random.default_rng(1))
            assert rank == degree + 1
            errors.append(error)
        best = np.polynomial.Polynomial.fit(x, module.target(x), degree)(x) - module.target(x)
        np.testing.assert_allclose(errors, np.sqrt(np.mean(best**2)), rtol=1e-6)
    phi = module.features(x, 8, None, np.random.default_rng(1))
    assert (phi >= 0).all() and (phi == 0).any()
    line = module.features(x, 8, 1, np.random.default_rng(1))
    np.testing.assert_allclose(phi, torch.relu(torch.tensor(line)).numpy())


@pytest.mark.parametrize("m", [0, 1, 3, 6])
def test_squares_and_products(load, m):
    module, x = load("exercise_square_numpy"), np.linspace(0, 1, 1025)
    knots = np.arange(2**m + 1) / 2**m
    np.testing.assert_allclose(module.square(x, m), np.interp(x, knots, knots**2), atol=1e-12)
    y = x[::-1]
    error = np.abs(module.product(x, y, m) - (torch.tensor(x) * torch.tensor(y.copy())).numpy())
    assert error.max() <= 2 * 4.0 ** -(m + 1)


# ---- the experiment ----


def test_the_experiment_trains_what_it_says(load):
    module = load("experiment_training")
    sizes = [1, 3, 2, 1]
    starts = torch.stack([module.initialize(sizes, seed) for seed in (0, 1)])
    shapes = [(d, k) for pair in pairwise(sizes) for d, k in (pair, (1, pair[1]))]
    w, b, w2, b2 = module.unpack(starts, sizes)[:4]
    assert [tuple(p.shape[1:]) for p in module.unpack(starts, sizes)] == shapes
    assert (b / w).abs().max() <= 1 and (b2 == 0).all() and w2.std() > 0.1
    large = module.unpack(module.initialize([1, 400, 400, 1], 0)[None], [1, 400, 400, 1])
    assert abs(large[0].var() / 2 - 1) < 0.3 and abs(large[2].var() * 200 - 1) < 0.1  # He
    x = torch.linspace(0, 1, 17)
    targets = torch.stack([module.sawtooth(x, 1), x])
    errors = module.train(sizes, starts, targets, [1e-3, 1e-2], 20)
    assert errors.shape == (2, 2, 2, 17)
    for t, r, s in product(range(2), range(2), range(2)):  # each run alone, with torch.optim
        params = [p[s].clone().requires_grad_() for p in module.unpack(starts, sizes)]
        rate = [1e-3, 1e-2][r]
        optimizer = torch.optim.Adam(params, lr=rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 - k / 20)
        for _ in range(20):
            out = module.forward([p[None] for p in params], 2 * x[None, :, None] - 1)
            optimizer.zero_grad()
            F.mse_loss(out[0, :, 0], targets[t]).backward()
            optimizer.step()
            schedule.step()
        layers = [
            (p.detach().numpy(), q.detach().numpy()[0])
            for p, q in zip(params[::2], params[1::2], strict=True)
        ]
        outputs = torch_forward((2 * x - 1)[:, None].numpy(), layers)[:, 0]
        np.testing.assert_allclose(errors[t, r, s].numpy(), outputs - targets[t].numpy(), atol=1e-4)
    sup, rms = module.measure(errors)
    assert sup.shape == rms.shape == (2, 2, 2) and (rms <= sup).all()
    np.testing.assert_allclose(rms, errors.square().mean(-1).sqrt().numpy())


def test_failures_count_and_output_weights_are_exact(load):
    module = load("experiment_training")
    bad = torch.full((1, 7), torch.nan)
    sup, _ = module.measure(module.train([1, 2, 1], bad, torch.zeros(1, 5), [0.1], 1))
    assert np.isinf(sup).all()
    assert module.spread(np.array([3.0, 1.0, 2.0])) == "2.000 (1.000 to 3.000)"
    target = module.sawtooth(torch.linspace(0, 1, 97, dtype=torch.float64), 4)
    knots = torch.linspace(-1, 1, 17, dtype=torch.float64)[:-1]
    assert module.best_output_weights(knots, target) < 1e-9
    assert module.best_output_weights(knots[::2], target) > 0.4
