"""What must hold for starts beyond He's rule, beyond the snippets' own asserts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**16)
SIZES = st.integers(1, 7)


@pytest.fixture(scope="module")
def on(load):
    return load("orthogonal_numpy")


@pytest.fixture(scope="module")
def ls(load):
    return load("lsuv_numpy")


@pytest.fixture(scope="module")
def fx(load):
    return load("fixup_numpy")


@pytest.fixture(scope="module")
def mu(load):
    return load("mup_numpy")


@pytest.fixture(scope="module")
def width(load):
    return load("experiment_width")


@pytest.fixture(scope="module")
def depth(load):
    return load("experiment_depth")


def leaf(a):
    return torch.tensor(a, dtype=torch.float64, requires_grad=True)


# ---- orthogonal weights and isometry ----


@given(n_in=SIZES, n_out=SIZES, gain=st.sampled_from([1e-6, 1.0, 1e6]), seed=SEEDS)
def test_orthogonal_has_equal_singular_values_for_any_shape(on, ls, n_in, n_out, gain, seed):
    w = on.orthogonal(n_in, n_out, np.random.default_rng(seed), gain)
    assert w.shape == (n_in, n_out)
    values = torch.linalg.svdvals(torch.tensor(w)).numpy()
    np.testing.assert_allclose(values, gain, rtol=1e-10)
    plain = ls.orthogonal(n_in, n_out, np.random.default_rng(seed))
    np.testing.assert_allclose(gain * plain, w, rtol=1e-12)


@given(n_in=SIZES, n_out=SIZES, seed=SEEDS)
def test_orthogonal_agrees_with_pytorch_on_the_same_normal_numbers(load, n_in, n_out, seed):
    weight = torch.empty(n_out, n_in, dtype=torch.float64)
    torch.nn.init.orthogonal_(weight, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    ours = load("initialization_torch").orthogonal(n_in, n_out, generator)
    np.testing.assert_allclose(ours, weight.numpy().T, atol=1e-12)


def test_orthogonal_is_uniform(on, ls, depth):
    rng = np.random.default_rng(0)
    stack = depth.init("orthogonal", 400, rng)[:, 0]  # (400, n, n)
    for qs in (
        np.array([on.orthogonal(3, 3, rng) for _ in range(2000)]),
        np.array([ls.orthogonal(3, 3, rng) for _ in range(2000)]),
        stack,
    ):
        n = qs.shape[-1]
        assert np.abs(qs.mean(axis=0)).max() < 5 / np.sqrt(n * len(qs))
        np.testing.assert_allclose((qs**2).mean(axis=0), 1 / n, atol=8 / n / np.sqrt(len(qs)))
        assert 0.4 < np.mean(np.linalg.det(qs) > 0) < 0.6


def test_gaussian_variance(on):
    w = on.gaussian(400, 300, np.random.default_rng(0), 2.0)
    assert w.shape == (400, 300) and w.var() == pytest.approx(4 / 400, rel=0.02)


@pytest.mark.parametrize("name", ["relu", "tanh", "identity"])
@given(seed=SEEDS, sizes=st.lists(SIZES, min_size=2, max_size=5))
@settings(max_examples=20)
def test_jacobian_agrees_with_autograd(on, name, seed, sizes):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=s) for s in pairwise(sizes)]
    z = rng.normal(size=sizes[0])
    theirs = {"relu": torch.relu, "tanh": torch.tanh, "identity": lambda t: t}[name]

    def network(t):
        for w in weights:
            t = theirs(t) @ torch.tensor(w)
        return t

    expected = torch.autograd.functional.jacobian(network, torch.tensor(z))
    ours = on.jacobian(z, weights, getattr(on, name))
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-9, atol=1e-12)
    value, slope = getattr(on, name)(np.array([-1e4, -0.0, 0.0, 1e4]))
    tensor = leaf([-1e4, -0.0, 0.0, 1e4])
    theirs(tensor).sum().backward()
    np.testing.assert_allclose(value, theirs(tensor).detach().numpy())
    np.testing.assert_allclose(slope, tensor.grad.numpy())


def test_singular_values_are_those_of_a_product(on):
    rng = np.random.default_rng(0)
    weights = [on.gaussian(on.WIDTH, on.WIDTH, rng, 1.0) for _ in range(on.LAYERS)]
    product = torch.linalg.multi_dot([torch.tensor(w) for w in weights])
    ours = on.singular_values(on.gaussian, 1.0, on.identity, 1.0)
    np.testing.assert_allclose(ours[:20], torch.linalg.svdvals(product).numpy()[:20], rtol=1e-6)


# ---- LSUV ----


@given(seed=SEEDS, scale=st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=20)
def test_lsuv_gives_unit_variance_as_torch_measures_it(ls, seed, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 5)) * scale
    weights = [rng.normal(size=s) for s in ((5, 8), (8, 6), (6, 4))]
    scaled, counts = ls.lsuv(x, weights, np.tanh)
    a = torch.tensor(x)
    for w, original in zip(scaled, weights, strict=True):
        z = a @ torch.tensor(w)
        assert abs(z.var(correction=0).item() - 1) < 0.01
        ratio = w / original  # the direction of the weights does not change
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
        a = torch.tanh(z)
    assert max(counts) <= 1
    again, counts = ls.lsuv(x, scaled, np.tanh)
    assert counts == [0, 0, 0] and all(
        np.array_equal(v, w) for v, w in zip(again, scaled, strict=True)
    )


def test_statistics_split_the_variance(ls):
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(50, 4)) + 1.0, [rng.normal(size=(4, 6)), rng.normal(size=(6, 3))]
    spread, share = ls.statistics(x, weights, np.tanh)
    z = torch.tensor(x) @ torch.tensor(weights[0])
    for i in range(2):
        total = z.var(correction=0)
        between = z.mean(dim=0).var(correction=0)
        assert spread[i] == pytest.approx(total.sqrt().item())
        assert share[i] == pytest.approx((1 - between / total).item())
        z = torch.tanh(z) @ torch.tensor(weights[1]) if i == 0 else z


def test_activations_of_lsuv_agree_with_pytorch(ls):
    z = np.array([-1e3, -2.0, 0.0, 0.5, 1e3])
    theirs = (torch.relu, torch.tanh, torch.nn.functional.softplus, torch.sin)
    for ours, f in zip(ls.ACTIVATIONS.values(), theirs, strict=True):
        np.testing.assert_allclose(ours(z), f(torch.tensor(z)).numpy(), rtol=1e-7, atol=1e-12)


# ---- Fixup ----


def torch_blocks(h, blocks):
    for p in blocks:
        u = h
        for i in range(len(p["w"])):
            u = (torch.relu(u + p["a"][i]) + p["c"][i]) @ p["w"][i]
        h = h + p["s"] * u
    return h


@given(seed=SEEDS, b=st.integers(1, 3), m=st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_fixup_blocks_agree_with_autograd(fx, seed, b, m):
    rng = np.random.default_rng(seed)
    blocks = fx.init_blocks(b, m, "he", rng)
    for block in blocks:
        block["a"], block["c"] = rng.normal(size=m), rng.normal(size=m)
        block["s"] = float(rng.normal())
    h, grad = rng.normal(size=(2, 3, fx.WIDTH))
    leaves = [{k: leaf(v) for k, v in block.items()} for block in blocks]
    expected = torch_blocks(torch.tensor(h), leaves)
    expected.backward(torch.tensor(grad))
    end, stored = fx.forward(h, blocks)
    np.testing.assert_allclose(end, expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    out, kept = fx.branch(h, blocks[0])
    assert len(kept) == m and np.array_equal(out, stored[0][0])
    for ours, theirs in zip(fx.backward(grad, blocks, stored), leaves, strict=True):
        for key, value in ours.items():
            scale = 1e-9 * max(1.0, float(theirs[key].grad.abs().max()))
            np.testing.assert_allclose(value, theirs[key].grad.numpy(), rtol=1e-8, atol=scale)


@given(b=st.integers(1, 10_000), m=st.integers(2, 6))
def test_fixup_scale_balances_the_sum_over_branches(fx, b, m):
    assert b * fx.fixup_scale(b, m) ** (2 * m - 2) == pytest.approx(1.0)


def test_fixup_start(fx):
    rng = np.random.default_rng
    he, zero, fixup = (fx.init_blocks(9, 2, k, rng(0)) for k in ("he", "zero last", "fixup"))
    weights = np.array([block["w"] for block in he])
    assert weights.var() == pytest.approx(2 / fx.WIDTH, rel=0.05)
    for a, b, c in zip(he, zero, fixup, strict=True):
        assert not b["w"][-1].any() and not c["w"][-1].any()
        np.testing.assert_allclose(b["w"][0], a["w"][0])
        np.testing.assert_allclose(c["w"][0], a["w"][0] / 3)
        assert c["s"] == 1.0 and not c["a"].any() and not c["c"].any()


@pytest.mark.parametrize("kind", ["zero last", "fixup"])
def test_the_effect_of_the_first_step_is_that_of_sgd_in_pytorch(fx, kind):
    rng = np.random.default_rng(3)
    blocks = fx.init_blocks(3, 2, kind, rng)
    h = torch.tensor(rng.normal(size=(fx.EXAMPLES, fx.WIDTH)))
    readout = torch.tensor(rng.normal(size=(fx.WIDTH, 1))) / fx.WIDTH**0.5
    leaves = [{k: leaf(v) for k, v in block.items()} for block in blocks]
    output = (torch_blocks(h, leaves) @ readout).mean()
    output.backward()
    squares = sum(p.grad.square().sum().item() for block in leaves for p in block.values())
    assert fx.effect_of_first_step(3, 2, kind, 3) == pytest.approx(squares, rel=1e-3)


# ---- muP ----


@pytest.mark.parametrize("r", [1, 4, 64])
def test_mup_factors_are_the_table_of_the_paper(mu, r):
    n = 8 * r
    ratio = {  # variance, SGD, Adam as fan_in and fan_out say, over SP
        "input": (1, n, 1),
        "hidden": (1, 1, 1 / n),
        "output": (1 / n, 1 / n, 1 / n),
    }
    base = {"input": (1, 8, 1), "hidden": (1, 1, 1 / 8), "output": (1 / 8, 1 / 8, 1 / 8)}
    for layer, values in ratio.items():
        expected = [a / b for a, b in zip(values, base[layer], strict=True)]
        factors = mu.mup_factors(layer, r)
        assert list(factors) == ["variance", "SGD", "Adam"]
        np.testing.assert_allclose(list(factors.values()), expected)


def test_mup_start(mu):
    sp = mu.initialize(30, 400, 100, False, np.random.default_rng(0))
    mup = mu.initialize(30, 400, 100, True, np.random.default_rng(0))
    assert [w.shape for w in sp] == [(30, 400), (400, 400), (400, 1)]
    np.testing.assert_allclose(mup[0], sp[0])
    np.testing.assert_allclose(mup[1], sp[1])
    np.testing.assert_allclose(mup[2], sp[2] / 2)
    assert sp[0].var() == pytest.approx(2 / 30, rel=0.05)
    assert sp[1].var() == pytest.approx(2 / 400, rel=0.05)
    assert sp[2].var() == pytest.approx(1 / 400, rel=0.2)


@given(seed=SEEDS, scale=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=20)
def test_mup_network_agrees_with_autograd_and_the_optimizers(mu, seed, scale):
    rng = np.random.default_rng(seed)
    x, y = scale * rng.normal(size=(4, 3)), scale * rng.normal(size=(4, 1))
    weights = mu.initialize(3, 5, 5, False, rng)
    leaves = [leaf(w) for w in weights]
    z = [torch.tensor(x) @ leaves[0]]
    for w in leaves[1:]:
        z.append(torch.relu(z[-1]) @ w)
    for ours, theirs in zip(mu.forward(x, weights), z, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    (0.5 * (z[-1] - torch.tensor(y)).square().mean()).backward()
    grads = mu.gradients(x, y, weights)
    for ours, theirs in zip(grads, leaves, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-8, atol=1e-12 * scale)
    rates = [0.1, 0.2, 0.3]
    for name in ("SGD", "Adam"):
        groups = [{"params": [p], "lr": r} for p, r in zip(leaves, rates, strict=True)]
        options = {"eps": 1e-15} if name == "Adam" else {}
        before = [p.detach().clone() for p in leaves]
        getattr(torch.optim, name)(groups, lr=0.1, **options).step()
        ours = mu.first_step(weights, [p.grad.numpy() for p in leaves], rates, name)
        for a, b in zip(ours, leaves, strict=True):
            np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-8, atol=1e-8 * scale)
        with torch.no_grad():
            for p, b in zip(leaves, before, strict=True):
                p.copy_(b)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_coordinate_changes_agree_at_the_base_width_and_use_the_factors(mu, optimizer):
    sp = mu.coordinate_changes(16, 16, False, optimizer, 0)
    np.testing.assert_allclose(mu.coordinate_changes(16, 16, True, optimizer, 0), sp)
    wide = mu.coordinate_changes(64, 16, True, optimizer, 0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 16)), rng.normal(size=(8, 1))
    weights = mu.initialize(16, 64, 16, True, rng)
    factors = {"SGD": (4, 1, 1 / 4), "Adam": (1, 1 / 4, 1 / 4)}[optimizer]
    rates = [mu.RATES[optimizer] * f for f in factors]
    stepped = mu.first_step(weights, mu.gradients(x, y, weights), rates, optimizer)
    for i, (a, b) in enumerate(zip(mu.forward(x, stepped), mu.forward(x, weights), strict=True)):
        assert wide[i] == pytest.approx(np.abs(a - b).mean())


def test_torch_groups_and_start_follow_the_table(load, mu):
    module = load("initialization_torch")
    model = module.mlp(8, 256, 3)
    module.mup_init(model, 64, torch.Generator().manual_seed(0))
    for group, layer in zip(module.mup_groups(model, 0.1, 64), mu.EXPONENTS, strict=True):
        assert group["lr"] == pytest.approx(0.1 * mu.mup_factors(layer, 4)["Adam"])
    assert model[0].weight.var().item() == pytest.approx(2 / 8, rel=0.1)
    assert model[2].weight.var().item() == pytest.approx(2 / 256, rel=0.05)
    expected = mu.mup_factors("output", 4)["variance"] / 256
    assert model[4].weight.var().item() == pytest.approx(expected, rel=0.15)


# ---- experiments ----


def test_width_experiment_trains_as_torch_adam(width, monkeypatch):
    monkeypatch.setattr(width, "STEPS", 5)
    monkeypatch.setattr(width, "SEEDS", 2)
    g = torch.Generator().manual_seed(9)
    x, y = torch.randn(50, 64, generator=g), torch.randint(10, (50,), generator=g)
    ours = width.train(8, 4.0, 0.01, x, y)
    params = [p[1].detach().clone().requires_grad_() for p in width.init(8, 4.0)]
    rates = [0.01, 0.0025, 0.0025]
    optimizer = torch.optim.Adam(
        [{"params": [p], "lr": r} for p, r in zip(params, rates, strict=True)]
    )
    generator = torch.Generator().manual_seed(width.FIRST_SEED + 3)

    def loss(x, y):
        h = torch.relu(torch.relu(x @ params[0]) @ params[1])
        return torch.nn.functional.cross_entropy(h @ params[2], y)

    for step in range(5):
        batch = torch.randint(50, (width.BATCH,), generator=generator)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / 5)
        optimizer.zero_grad()
        loss(x[batch], y[batch]).backward()
        optimizer.step()
    assert ours.shape == (2,)
    assert ours[1] == pytest.approx(loss(x, y).item(), rel=1e-4)


def test_width_experiment_starts_with_the_stated_variances(width):
    first, second, last = width.init(200, 1.0)
    assert first.shape == (width.SEEDS, 64, 200) and not torch.equal(first[0], first[1])
    assert first.var().item() == pytest.approx(2 / 64, rel=0.05)
    assert second.var().item() == pytest.approx(2 / 200, rel=0.05)
    assert last.var().item() == pytest.approx(1 / 200, rel=0.05)
    torch.testing.assert_close(width.init(200, 4.0)[2], last / 2)


def test_best_exponents_and_verdicts(width):
    e = np.array(width.EXPONENTS, dtype=float)
    optima = np.array([-5.3, -6.2, -4.9])
    loss = np.exp((e[:, None] - optima) ** 2)
    mean, seeds = width.best_exponents(loss)
    np.testing.assert_allclose(seeds, optima)
    assert mean == pytest.approx(width.lowest(loss.mean(axis=1)))
    assert np.isnan(width.lowest(e)) and np.isnan(width.lowest(-e))
    assert np.isnan(width.lowest(np.where(e == -5, np.inf, (e + 6) ** 2 + 1)))
    assert width.judge(-2.0, 1.0) == width.judge(-3.0, -1.0) == "reproduced"
    assert width.judge(-1.9, 0.0) == width.judge(-3.0, 1.1) == "partly"
    assert width.judge(0.0, 0.0) == width.judge(-1.0, 2.0) == "not at this size"


@given(seed=SEEDS, m=st.integers(1, 5))
@settings(max_examples=20)
def test_depth_experiment_gradients_agree_with_autograd(depth, seed, m):
    rng = np.random.default_rng(seed)
    n = depth.WIDTH
    w, target = rng.normal(size=(m, 2, n, n)) / np.sqrt(n), rng.normal(size=(2, n, n))
    weights = leaf(w)
    product = weights[0]
    for i in range(1, m):
        product = product @ weights[i]
    losses = 0.5 * (product - torch.tensor(target)).square().sum(dim=(1, 2))
    losses.sum().backward()
    loss, grads = depth.gradients(w, target)
    np.testing.assert_allclose(loss, losses.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(grads, weights.grad.numpy(), rtol=1e-8, atol=1e-10)


def test_depth_experiment_runs_are_plain_gradient_descent(depth, monkeypatch):
    monkeypatch.setattr(depth, "STEPS", 60)
    arrived, final = depth.train("orthogonal", 3)
    rng = np.random.default_rng(0)
    n, index, seed = depth.WIDTH, 3, 1
    target = rng.normal(size=(depth.SEEDS, n, n)) / np.sqrt(n)
    weights = [leaf(w) for w in depth.init("orthogonal", 3, rng)[:, seed]]
    goal, steps = torch.tensor(target[seed]), 60
    for step in range(60):
        loss = 0.5 * (weights[0] @ weights[1] @ weights[2] - goal).square().sum()
        relative = loss.item() / (0.5 * goal.square().sum().item())
        if relative < 0.05:
            steps = step
            break
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w -= depth.RATES[index] / 3 * g
    assert arrived.shape == final.shape == (len(depth.RATES), depth.SEEDS)
    assert arrived[index, seed] == steps < 60
    assert final[index, seed] == pytest.approx(relative)
    assert depth.best_rate(np.array([[9, 9], [5, 7], [6, 6]]), np.array([[1], [2], [1]])) == 2
    assert depth.init("normal", 30, rng).var() == pytest.approx(1 / n, rel=0.03)


# ---- pitfalls and exercises ----


@given(seed=SEEDS, size=st.integers(3, 5))
@settings(max_examples=10, deadline=None)
def test_convolution_singular_values_are_those_of_its_matrix(load, seed, size):
    g = torch.Generator().manual_seed(seed)
    kernel = torch.randn(2, 3, 3, 3, generator=g, dtype=torch.float64)
    inputs = torch.eye(3 * size * size, dtype=torch.float64).view(-1, 3, size, size)
    padded = torch.nn.functional.pad(inputs, (1, 1, 1, 1), mode="circular")
    matrix = torch.nn.functional.conv2d(padded, kernel).flatten(1)
    expected = torch.linalg.svdvals(matrix).sort().values
    ours = load("pitfalls_torch").convolution_singular_values(kernel, size).sort().values
    torch.testing.assert_close(ours, expected[-len(ours) :], rtol=1e-7, atol=1e-7)


def test_delta_orthogonal_kernel_keeps_norms(load):
    g = torch.Generator().manual_seed(0)
    kernel = load("pitfalls_torch").delta_orthogonal(5, 3, g)
    x = torch.randn(2, 5, 6, 6, generator=g)
    y = torch.nn.functional.conv2d(x, kernel, padding=1)
    torch.testing.assert_close(y.norm(), x.norm())


def test_zero_last_gamma_only_touches_the_last_norm(load):
    block = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.BatchNorm2d(3))
    load("initialization_torch").zero_last_gamma(block)
    assert bool((block[0].weight == 1).all()) and not block[2].weight.any()


def test_both_forms_of_mup_take_the_same_step_of_adam(load):
    module = load("exercise_base_shape_numpy")
    std, lr = module.without_multiplier(64, 16, 0.25, 0.1)
    factor, std_inside, lr_inside = module.with_multiplier(64, 16, 0.25, 0.1)
    assert std == pytest.approx(factor * std_inside) and std**2 * 64 == pytest.approx(1 / 4)
    g = torch.Generator().manual_seed(0)
    h, unit = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((5, 64), (64, 1)))
    outputs = []
    for scale, rate, multiplier in ((std, lr, 1.0), (std_inside, lr_inside, factor)):
        w = (unit * scale).requires_grad_()
        optimizer = torch.optim.Adam([w], lr=rate, eps=1e-15)
        (h @ w * multiplier).square().mean().backward()
        optimizer.step()
        outputs.append((h @ w * multiplier).detach())
    torch.testing.assert_close(*outputs)


def test_first_step_of_rezero_agrees_with_autograd(load):
    module = load("exercise_rezero_numpy")
    predicted, measured = module.first_step(3, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    h = torch.tensor(rng.normal(size=module.WIDTH))
    readout = torch.tensor(rng.normal(size=module.WIDTH)) / module.WIDTH**0.5
    shape = (3, 2, module.WIDTH, module.WIDTH)
    weights = torch.tensor(rng.normal(size=shape)) * (2 / module.WIDTH) ** 0.5
    scalars = leaf(np.zeros(3))
    stream = h
    for s, (w1, w2) in zip(scalars, weights, strict=True):
        stream = stream + s * (torch.relu(torch.relu(stream) @ w1) @ w2)
    (stream @ readout).backward()
    assert predicted == pytest.approx(scalars.grad.square().sum().item())
    assert measured == pytest.approx(predicted, rel=1e-3)
