"""What must hold for gradient checking beyond the snippets' own asserts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

SEEDS = st.integers(0, 2**31 - 1)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def close(ours, theirs, rtol=1e-7, atol=1e-12):
    ours, theirs = (
        a.detach().numpy() if isinstance(a, torch.Tensor) else a for a in (ours, theirs)
    )
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# ---- numeric gradients ----


def network(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    x, targets = rng.normal(size=(7, 4)), rng.integers(0, 3, 7)
    return scale * rng.normal(size=4 * 5 + 5 + 5 * 3 + 3), x, targets


def torch_loss(theta, x, targets):
    w1, b1, w2, b2 = torch.split(theta, [20, 5, 15, 3])
    a = torch.tanh(torch.tensor(x) @ w1.reshape(4, 5) + b1)
    return F.cross_entropy(a @ w2.reshape(5, 3) + b2, torch.tensor(targets))


@given(seed=SEEDS, scale=st.sampled_from([0.0, 1.0, 3.0, 1e3]))
@settings(max_examples=20)
def test_loss_and_gradient_agree_with_autograd(load, seed, scale):
    snippet = load("gradient_checking_numpy")
    theta, x, targets = network(seed, scale)
    parameters = leaf(theta)
    expected = torch_loss(parameters, x, targets)
    expected.backward()
    close(snippet.loss(theta, x, targets, 5, 3), expected)
    close(snippet.gradient(theta, x, targets, 5, 3), parameters.grad)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_four_numeric_gradients_agree_with_autograd(load, seed):
    snippet = load("gradient_checking_numpy")
    theta, x, targets = network(seed)
    before, parameters = theta.copy(), leaf(theta)
    torch_loss(parameters, x, targets).backward()
    exact = parameters.grad.numpy()
    calls = []

    def f(point):
        calls.append(1)
        return snippet.loss(point, x, targets, 5, 3)

    for difference, h, tolerance, cost in (
        (snippet.forward_difference, 1e-8, 1e-6, theta.size + 1),
        (snippet.central_difference, 1e-5, 1e-9, 2 * theta.size),
        (snippet.complex_step, 1e-20, 1e-14, theta.size),
    ):
        calls.clear()
        close(difference(f, theta, h), exact, atol=tolerance)
        assert len(calls) == cost
    calls.clear()
    v = np.random.default_rng(seed).normal(size=theta.size)
    close(snippet.directional_difference(f, theta, v, 1e-5), exact @ v, atol=1e-7)
    assert len(calls) == 2 and np.array_equal(theta, before)


@given(x=st.floats(-3, 3), h=st.sampled_from([0.5, 0.1, 1e-3]))
def test_truncation_errors_are_those_of_taylor(load, x, h):
    snippet = load("gradient_checking_numpy")
    at = np.array([x])
    cube = lambda t: t[0] ** 3  # noqa: E731
    slope = 3 * x**2
    close(snippet.forward_difference(cube, at, h), [slope + 3 * x * h + h**2], atol=1e-9)
    close(snippet.central_difference(cube, at, h), [slope + h**2], atol=1e-9)
    close(snippet.complex_step(cube, at, h), [slope - h**2], atol=1e-9)
    v = np.array([2.0])
    close(snippet.directional_difference(cube, at, v, h), 2 * slope + 8 * h**2, atol=1e-9)


def test_the_step_is_the_one_that_was_stored(load):
    snippet = load("gradient_checking_numpy")
    at = np.array([1e9])  # x + 1e-7 is rounded to a neighbor of x, 1.2e-7 away
    line = lambda t: t[0] - 1e9  # noqa: E731
    close(snippet.forward_difference(line, at, 1e-7), [1.0])
    close(snippet.central_difference(line, at, 1e-7), [1.0])


def test_relative_errors_and_their_zeros(load):
    snippet = load("gradient_checking_numpy")
    a = np.array([3.0, 4.0])
    assert snippet.relative_error(a, 2 * a) == snippet.relative_error(2 * a, a) == 0.5
    assert snippet.relative_error(a, -a) == 2.0
    assert snippet.relative_error(0 * a, 0 * a) == 0.0
    assert snippet.relative_error(a, 0 * a) == 1.0
    errors = snippet.entry_errors(np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 5.0, -1.0, 1.5]))
    assert errors.tolist() == [0.0, 1.0, 2.0, 0.25]


# ---- the best step ----


def test_derivatives_of_the_cases_agree_with_autograd(load):
    snippet = load("step_size_numpy")
    functions = {
        "exp": torch.exp,
        "sin": torch.sin,
        "log": torch.log,
        "tanh": torch.tanh,
        "softplus": F.softplus,
    }
    for name, (f, x, *derivatives) in snippet.CASES.items():
        t = leaf(np.float64(x))
        value = functions[name.split()[0]](t)
        close(f(np.array(x)), value)
        for derivative in derivatives:
            (value,) = torch.autograd.grad(value, t, create_graph=True)
            close(derivative, value)
    close(
        snippet.softplus(np.array([-700.0, 0.0, 30.0])), F.softplus(torch.tensor([-700.0, 0, 30]))
    )


@given(
    value=st.floats(1e-6, 1e6),
    derivative=st.floats(1e-6, 1e6),
    u=st.sampled_from([2.0**-53, 2.0**-24]),
    order=st.sampled_from([1, 2]),
)
def test_best_step_minimizes_the_bound(load, value, derivative, u, order):
    step = load("step_size_numpy").best_step(-value, -derivative, u, order)

    def bound(h):
        r = u * value
        return h * derivative / 2 + 2 * r / h if order == 1 else h**2 * derivative / 6 + r / h

    assert bound(step) < min(bound(0.99 * step), bound(1.01 * step))


def test_rule_of_thumb_scales_with_large_x_only(load):
    rule = load("step_size_numpy").rule_of_thumb
    u = float(np.finfo(float).eps) / 2
    assert rule(0.0, u, 1) == rule(-1.0, u, 1) == pytest.approx(1.49e-8, rel=1e-2)
    assert rule(-200.0, u, 2) == pytest.approx(200 * 6.06e-6, rel=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_difference_agrees_with_autograd_and_marks_steps_that_vanish(load, dtype):
    difference = load("step_size_numpy").difference
    steps = np.array([1e-3, 1e-2, 1e-30], dtype=dtype)
    t = leaf(np.float64(0.7))
    torch.tanh(t).backward()
    for order, rtol in ((1, 2e-2), (2, 1e-3)):
        slopes = difference(np.tanh, 0.7, steps, order)
        close(slopes[:2], [t.grad.item()] * 2, rtol=rtol)
        assert np.isnan(slopes[2])
    square = difference(np.square, 1.0, np.array([0.25], dtype=dtype), 1)
    assert square.tolist() == [2.25]  # forward: 2 + h
    assert difference(np.square, 1.0, np.array([0.25], dtype=dtype), 2).tolist() == [2.0]


@given(slope=st.floats(-4, 4), factor=st.floats(1e-6, 1e6))
def test_fitted_slope_is_the_exponent(load, slope, factor):
    steps = np.geomspace(1e-8, 1.0, 9)
    assert load("step_size_numpy").fitted_slope(steps, factor * steps**slope) == pytest.approx(
        slope, abs=1e-8
    )


# ---- kinks ----


@given(seed=SEEDS)
@settings(max_examples=20)
def test_relu_gradients_agree_with_autograd_where_nothing_crosses(load, seed):
    snippet = load("kinks_numpy")
    rng = np.random.default_rng(seed)
    x, w, v = rng.normal(size=(6, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    weights = leaf(w)
    (torch.relu(torch.tensor(x) @ weights) @ torch.tensor(v)).mean().backward()
    close(snippet.analytic(x, w, v), weights.grad)
    distances = snippet.kink_distances(x, w)
    assert distances.shape == (6, 4, 3)
    h = 0.1
    numeric, free = snippet.central(x, w, v, h), distances.min(axis=0) > h
    close(numeric[free], weights.grad.numpy()[free], atol=1e-10)
    for d, k in np.argwhere(~free):  # one weight at a time, and as autograd's loss sees it
        move = torch.zeros(4, 3, dtype=torch.float64)
        move[d, k] = h
        with torch.no_grad():
            up, down = (
                (torch.relu(torch.tensor(x) @ (weights + m)) @ torch.tensor(v)).mean()
                for m in (move, -move)
            )
        close(numeric[d, k], (up - down) / (2 * h), atol=1e-10)


def test_a_step_crosses_beyond_the_distance_and_not_before(load):
    snippet = load("kinks_numpy")
    x, w = np.array([[2.0, -1.0]]), np.array([[0.5], [0.4]])  # z = 0.6
    close(snippet.kink_distances(x, w)[0, :, 0], [0.3, 0.6])
    for i, distance in enumerate((0.3, 0.6)):
        for factor, crosses in ((0.99, False), (1.01, True)):
            signs = {float(np.sign(0.6 + s * factor * distance * x[0, i])) for s in (-1, 1)}
            assert (len(signs) == 2) == crosses


@pytest.mark.parametrize("h", [1e-3, 0.1, 1.0])
def test_predicted_share_agrees_with_a_cauchy_distribution(load, h):
    share = load("kinks_numpy").predicted_share
    cauchy = torch.distributions.Cauchy(0.0, 1.0)
    p = float(cauchy.cdf(torch.tensor(h, dtype=torch.float64)) * 2 - 1)
    assert share(1, h) == pytest.approx(p, rel=1e-4)
    assert share(7, h) == pytest.approx(1 - (1 - p) ** 7, rel=1e-4)


# ---- gradcheck ----


def test_planted_functions_have_the_values_and_the_bugs_that_they_claim(load):
    snippet = load("gradcheck_torch")
    x = leaf(np.array([-2.0, 0.5, 3.0]))
    y = snippet.Cube.apply(x, 0.1, 2.0)
    close(y, 0.1 * x.detach().numpy() ** 3)
    close(torch.autograd.grad(y.sum(), x)[0], 0.2 * x.detach().numpy() ** 2)
    y = snippet.Leaky.apply(x)
    close(y, F.leaky_relu(x, 0.1))
    close(torch.autograd.grad(y.sum(), x)[0], [0.0, 1.0, 1.0])
    y = snippet.OneWrong.apply(x)
    close(torch.autograd.grad(y.sum(), x)[0], [2.0, 1.0, 1.0])
    assert y.tolist() == x.tolist()


def test_accepted_is_gradcheck_and_seeded_dropout_repeats_its_mask(load):
    snippet = load("gradcheck_torch")
    x = torch.ones(100, dtype=torch.float64)
    assert snippet.accepted(torch.sin, x) and not x.requires_grad
    assert not snippet.accepted(torch.sin, x.float())
    first = snippet.seeded_dropout(x)
    torch.rand(1)
    before = torch.random.get_rng_state()
    second = snippet.seeded_dropout(x)
    assert torch.equal(first, second) and set(first.tolist()) == {0.0, 2.0}
    assert torch.equal(before, torch.random.get_rng_state())


# ---- the experiment ----


def problem(snippet, seed):
    rng = np.random.default_rng(seed)
    s = snippet.S
    x, targets = rng.normal(size=(s, s)), rng.integers(0, s, s)
    return rng.normal(size=2 * s * s + 2 * s) / 2, x, targets


def torch_objective(snippet, parts, x, targets, net):
    w1, b1, w2, b2 = parts
    a = (torch.tanh if net == "tanh" else torch.relu)(torch.tensor(x) @ w1 + b1)
    penalty = w1.square().sum() + w2.square().sum()
    return F.cross_entropy(a @ w2 + b2, torch.tensor(targets)) + snippet.DECAY / 2 * penalty


@given(seed=SEEDS, net=st.sampled_from(["tanh", "relu"]))
@settings(max_examples=20)
def test_right_backward_pass_agrees_with_autograd_and_every_bug_does_not(load, seed, net):
    snippet = load("experiment_planted_bugs")
    theta, x, targets = problem(snippet, seed)
    parts = [leaf(part[0]) for part in snippet.split(theta[None])]
    expected = torch_objective(snippet, parts, x, targets, net)
    expected.backward()
    exact = np.concatenate([p.grad.numpy().ravel() for p in parts])
    close(snippet.losses(theta[None], x, targets, net), [expected.item()])
    close(snippet.backward(theta, x, targets, net), exact)
    close(
        snippet.activation(x, net), (torch.tanh if net == "tanh" else torch.relu)(torch.tensor(x))
    )
    for bug in snippet.BUGS:
        wrong = snippet.backward(theta, x, targets, net, bug)
        assert np.abs(wrong - exact).max() > 1e-7 * np.abs(exact).max()


def test_bugs_touch_the_arrays_that_they_name(load):
    snippet = load("experiment_planted_bugs")
    theta, x, targets = problem(snippet, 0)
    right = snippet.split(snippet.backward(theta, x, targets, "tanh")[None])
    touched = {}
    for bug in snippet.BUGS:
        wrong = snippet.split(snippet.backward(theta, x, targets, "tanh", bug)[None])
        names = zip(("w1", "b1", "w2", "b2"), right, wrong, strict=True)
        touched[bug] = [name for name, a, b in names if not np.allclose(a, b, rtol=1e-9, atol=0)]
    assert touched == {
        "no 1/N": ["w1", "b1", "w2", "b2"],
        "wrong axis": ["b2"],
        "no transpose": ["w1", "b1"],
        "db without f'": ["b1"],
        "stale": ["w2"],
        "no penalty": ["w1", "w2"],
        "float16": ["w2"],
        "one entry": ["w1"],
    }
    doubled = snippet.backward(theta, x, targets, "tanh", "one entry")
    close(doubled[:2], [2 * right[0][0, 0, 0], right[0][0, 0, 1]])
    w1, b1, w2, b2 = (part[0] for part in snippet.split(theta[None]))
    delta = torch.softmax(torch.tensor(np.tanh(x @ w1 + b1) @ w2 + b2), dim=1).numpy()
    delta = (delta - np.eye(snippet.S)[targets]) / snippet.S
    before = np.tanh(x @ (w1 + snippet.LR * right[0][0]) + b1 + snippet.LR * right[1][0])
    stale = snippet.split(snippet.backward(theta, x, targets, "tanh", "stale")[None])
    close(stale[2][0], before.T @ delta + snippet.DECAY * w2)  # a step of gradient descent earlier


def test_errors_of_a_gradient_by_entry_norm_and_direction(load):
    snippet = load("experiment_planted_bugs")
    size = 2 * snippet.S**2 + 2 * snippet.S
    numeric, v = np.ones(size), np.ones(size)
    a = numeric.copy()
    a[-1] = 2.0  # one entry of b2: 1 of 8
    entry, norm, direction, rule = snippet.errors(a, numeric, v, float(size))
    assert entry == 0.5
    assert rule == pytest.approx(1 / (1e-5 + 1e-3))  # atol + rtol |numeric|
    assert norm == pytest.approx(1 / np.sqrt(snippet.S + 3))
    assert direction == pytest.approx(1 / (size + 1))
    assert snippet.errors(0 * a, 0 * a, v, 0.0) == [0.0, 0.0, 0.0, 0.0]
    assert snippet.ratio(
        np.array([1.0, 0.0]), np.array([4.0, 0.0]), np.array([-2.0, 0.0])
    ).tolist() == [0.25, 0]


def test_separation_is_the_best_of_all_thresholds(load):
    separation = load("experiment_planted_bugs").separation
    right = np.array([0.1, 0.2, 0.3, 0.4])
    assert separation(right, np.array([0.5, 0.6])) == 1.0
    assert separation(right, np.array([0.35, 0.6])) == 0.75  # refused above 0.3
    assert separation(right, right - 1) == 0.0


def test_measure_finds_the_right_gradient_right(load, monkeypatch):
    snippet = load("experiment_planted_bugs")
    monkeypatch.setattr(snippet, "SEEDS", 2)
    result = snippet.measure("tanh", np.float64)
    assert result.shape == (len(snippet.STEPS), 9, 4, 2)
    at = result[snippet.FIXED_STEP]
    assert snippet.STEPS[snippet.FIXED_STEP] == pytest.approx(1e-5)
    assert at[0, :3].max() < 1e-5 and at[0, 3].max() < 1 < at[1, 3].min()
    assert (at[1:6, 0] > 0.1).all() and (at[1:, :3] > at[0, :3]).all()


# ---- exercises ----


@given(seed=SEEDS)
@settings(max_examples=10)
def test_exercise_functions_agree_with_autograd(load, seed):
    rng = np.random.default_rng(seed)
    snippet = load("exercise_zero_gradient_numpy")
    x, b = leaf(rng.normal(size=(9, 3))), leaf(rng.normal(size=3))
    z = x + b
    expected = 0.5 * torch.tanh(z - z.mean(dim=0)).square().sum()
    expected.backward()
    arrays = b.detach().numpy(), x.detach().numpy()
    close(snippet.loss(*arrays), expected)
    close(snippet.gradient(*arrays), x.grad)
    close(snippet.gradient(*arrays).sum(axis=0), b.grad, atol=1e-13)
    five = load("exercise_five_point_numpy")
    close(five.five_point(lambda t: t**4, 1.5, np.array([0.1, 0.5])), [13.5, 13.5])
    r, fifth = 2.0**-53, float(rng.uniform(0.1, 10))
    step = five.best_step(1.0, fifth, 2.0**-53)
    bound = lambda h: h**4 * fifth / 30 + 1.5 * r / h  # noqa: E731
    assert bound(step) < min(bound(0.99 * step), bound(1.01 * step))
    h, error = load("exercise_predict_numpy").central_step(2.3, 0.7, 2.0**-24)
    assert error == pytest.approx(h**2 * 0.7 / 6 + 2.0**-24 * 2.3 / h)
