"""What must hold of one neuron beyond the snippets' asserts: agreement with PyTorch."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

SEEDS = st.integers(0, 1000)
SCALES = st.sampled_from([0.0, 1.0, 30.0, 1e4])
EXTREMES = st.one_of(
    st.floats(-30, 30), st.sampled_from([0.0, 1e-300, -745.0, 710.0, 1e4, -1e4, 1e300, -1e300])
)
SIGMOID_SNIPPETS = ["neuron_numpy", "geometry_numpy", "scaling_numpy", "bias_numpy"]


def close(ours, theirs, rtol=1e-9, atol=1e-12):
    """Compare an array or number with a tensor or array."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def leaf(value):
    """A float64 tensor that collects a gradient."""
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def problem(seed, n=40, d=3):
    """Inputs (n, d) and labels that no hyperplane separates."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + rng.normal(size=d)
    y = (x @ rng.normal(size=d) + 2 * rng.normal(size=n) > 0).astype(float)
    return np.vstack([x, x]), np.append(y, 1 - y[: len(y) // 4].repeat(4)[: len(y)])


# ---- geometry ----


@given(seed=SEEDS, d=st.integers(1, 5), scale=st.sampled_from([1e-100, 1.0, 1e100]))
def test_weighted_sum_and_distance_agree_with_pytorch(load, seed, d, scale):
    snippet, rng = load("geometry_numpy"), np.random.default_rng(seed)
    x, w, b = rng.normal(size=(6, d)), scale * rng.normal(size=d), scale * float(rng.normal())
    linear = torch.nn.Linear(d, 1).double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(w[None]))
        linear.bias.fill_(b)
    z = linear(torch.tensor(x)).squeeze(-1)
    close(snippet.weighted_sum(x, w, b), z, atol=1e-12 * scale)
    close(snippet.signed_distance(x, w, b), z / linear.weight.norm(), atol=1e-12)
    foot = snippet.closest_point(x, w, b)
    close(snippet.signed_distance(foot, w, b), np.zeros(6), atol=1e-12)
    close(np.linalg.norm(x - foot, axis=1), np.abs(snippet.signed_distance(x, w, b)))
    origin = snippet.closest_point(np.zeros((1, d)), w, b)[0]
    assert snippet.offset(w, b) == pytest.approx(origin @ w / np.linalg.norm(w), rel=1e-9)
    assert np.sign(snippet.offset(w, b)) == -np.sign(b)


@pytest.mark.parametrize("stem", SIGMOID_SNIPPETS)
@given(z=arrays(np.float64, 7, elements=EXTREMES))
def test_sigmoid_agrees_with_pytorch(load, stem, z):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = load(stem).sigmoid(z)
    close(ours, torch.sigmoid(torch.tensor(z)), rtol=0, atol=1e-15)


# ---- composition ----


@given(seed=SEEDS, name=st.sampled_from(["identity", "tanh", "relu"]))
def test_two_layers_and_collapse_agree_with_pytorch(load, seed, name):
    snippet, rng = load("composition_numpy"), np.random.default_rng(seed)
    d, h, k = rng.integers(1, 5, size=3)
    layers = tuple(rng.normal(size=s) for s in ((d, h), h, (h, k), k))
    x = rng.normal(size=(6, d))
    ours, theirs = {
        "identity": (lambda z: z, lambda z: z),
        "tanh": (np.tanh, torch.tanh),
        "relu": (lambda z: np.maximum(z, 0), torch.relu),
    }[name]
    w1, b1, w2, b2 = (torch.tensor(p) for p in layers)
    expected = F.linear(theirs(F.linear(torch.tensor(x), w1.T, b1)), w2.T, b2)
    close(snippet.two_layers(x, layers, ours), expected)
    if name == "identity":
        w, b = snippet.collapse(*layers)
        close(x @ w + b, expected)


def test_bend_of_a_parabola_is_twice_the_squared_step(load):
    x = np.linspace(-1, 1, 5)
    assert load("composition_numpy").bend(np.square, x, 0.5) == pytest.approx(2 * 0.5**2)
    assert load("composition_numpy").bend(lambda v: 3 * v + 1, x, 0.5) == pytest.approx(0.0)


# ---- the neuron ----


@given(seed=SEEDS, scale=SCALES, n=st.integers(1, 6))
def test_loss_and_gradient_agree_with_autograd(load, seed, scale, n):
    snippet, rng = load("neuron_numpy"), np.random.default_rng(seed)
    x, y = scale * rng.normal(size=(n, 3)), rng.integers(0, 2, size=n).astype(float)
    w, b = leaf(rng.normal(size=3)), leaf(rng.normal())
    value = F.binary_cross_entropy_with_logits(torch.tensor(x) @ w + b, torch.tensor(y))
    value.backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = snippet.loss(x, y, w.detach().numpy(), b.item())
        grad_w, grad_b = snippet.gradient(x, y, w.detach().numpy(), b.item())
    close(ours, value)
    close(grad_w, w.grad, atol=1e-12 * max(1.0, scale))
    close(grad_b, b.grad)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_formulas_of_the_torch_snippet_agree_with_autograd(load, seed):
    x, y = problem(seed)
    w, b = leaf(np.random.default_rng(seed).normal(size=3)), leaf(0.3)
    value = F.binary_cross_entropy_with_logits(torch.tensor(x) @ w + b, torch.tensor(y))
    value.backward()
    ours = load("neuron_torch").formulas(x, y, w.detach().numpy(), 0.3)
    for a, t in zip(ours, (value, w.grad, b.grad), strict=True):
        close(a, t)


@pytest.mark.parametrize("steps", [0, 1, 25])
def test_training_is_plain_gradient_descent_from_zero(load, steps):
    x, y = problem(0)
    w, b = load("neuron_numpy").train(x, y, lr=0.3, steps=steps)
    neuron = load("neuron_torch").train(torch.tensor(x), torch.tensor(y), lr=0.3, steps=steps)
    close(w, neuron.weight[0])
    close(b, neuron.bias[0])
    leaves = [leaf(np.zeros(3)), leaf(0.0)]
    for _ in range(steps):
        value = F.binary_cross_entropy_with_logits(
            torch.tensor(x) @ leaves[0] + leaves[1], torch.tensor(y)
        )
        grads = torch.autograd.grad(value, leaves)
        with torch.no_grad():
            for p, g in zip(leaves, grads, strict=True):
                p -= 0.3 * g
    close(w, leaves[0])
    close(b, leaves[1])


# ---- scaling of the inputs ----


@given(seed=SEEDS)
@settings(max_examples=15)
def test_losses_and_hessian_agree_with_autograd(load, seed):
    snippet, rng = load("scaling_numpy"), np.random.default_rng(seed)
    raw, y = problem(seed)
    x, theta = snippet.with_ones(raw), rng.normal(size=(2, 4))
    assert x.shape == (len(raw), 4) and np.all(x[:, -1] == 1) and np.all(x[:, :-1] == raw)

    def loss(t):
        return F.binary_cross_entropy_with_logits(torch.tensor(x) @ t, torch.tensor(y))

    close(snippet.losses(x, y, theta), [loss(torch.tensor(t)).item() for t in theta])
    hessian = torch.autograd.functional.hessian(loss, torch.tensor(theta[0]))
    close(snippet.hessian(x, theta[0]), hessian)
    optimum = leaf(snippet.newton(x, y))
    loss(optimum).backward()
    close(optimum.grad.numpy(), np.zeros(4))


def test_descend_records_gradient_descent_for_every_rate_and_stops_on_arrival(load):
    snippet = load("scaling_numpy")
    raw, y = problem(3)
    x, rates = snippet.with_ones(raw), np.array([0.02, 0.2])
    lowest = snippet.losses(x, y, snippet.newton(x, y)[None])[0]
    history = snippet.descend(x, y, rates, lowest)
    assert history[-1].min() < snippet.GAP <= history[-2].min()
    for r, rate in enumerate(rates):
        theta = leaf(np.zeros(4))
        for row in history:
            value = F.binary_cross_entropy_with_logits(torch.tensor(x) @ theta, torch.tensor(y))
            assert row[r] == pytest.approx(value.item() - lowest, abs=1e-10)
            (grad,) = torch.autograd.grad(value, theta)
            with torch.no_grad():
                theta -= rate * grad


# ---- bias ----


@pytest.mark.parametrize(("decay_w", "decay_b"), [(0.0, 0.0), (0.1, 0.0), (0.2, 0.3)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_fit_finds_where_autograd_sees_no_gradient(load, decay_w, decay_b, use_bias):
    snippet = load("bias_numpy")
    x, y = problem(5)
    w, b = snippet.fit(x, y, decay_w, decay_b, use_bias)
    weights, bias = leaf(w), leaf(b)
    z = torch.tensor(x) @ weights + bias
    close(snippet.probabilities(x, w, b), torch.sigmoid(z))
    value = F.binary_cross_entropy_with_logits(z, torch.tensor(y))
    value = value + decay_w / 2 * weights.square().sum() + decay_b / 2 * bias.square()
    value.backward()
    close(weights.grad.numpy(), np.zeros(3))
    if use_bias:
        close(bias.grad.numpy(), 0.0)
    else:
        assert b == 0.0


def test_decay_on_weights_only_is_the_penalty_of_scikit_learn(load):
    x, y = problem(6)
    w, b = load("bias_numpy").fit(x, y, 0.1, 0.0)
    theirs = LogisticRegression(C=1 / (0.1 * len(y)), tol=1e-10).fit(x, y)
    close(np.append(w, b), np.append(theirs.coef_, theirs.intercept_), rtol=1e-4)


# ---- the experiment ----


@given(seed=SEEDS, d=st.integers(2, 4))
@settings(max_examples=25)
def test_max_margin_agrees_with_a_support_vector_machine(load, seed, d):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(30, d)), rng.normal(size=d)
    a = x * np.sign(x @ w)[:, None]  # separable through the origin
    a = a[a @ w > 0.2 * np.linalg.norm(w)]
    m = load("experiment_separable").max_margin(a)
    assert (a @ m).min() == pytest.approx(1.0, rel=1e-8)
    both = np.vstack([a, -a])  # mirrored data: the machine's intercept is zero
    labels = np.repeat([1, -1], len(a))
    machine = SVC(kernel="linear", C=1e8, tol=1e-10).fit(both, labels)
    close(m, machine.coef_[0], rtol=1e-3, atol=1e-3)


@given(seed=SEEDS, scale=SCALES)
@settings(max_examples=20)
def test_gradient_of_the_experiment_agrees_with_autograd(load, seed, scale):
    rng = np.random.default_rng(seed)
    a, theta = rng.normal(size=(2, 7, 3)), leaf(scale * rng.normal(size=(2, 3)))
    margins = (torch.tensor(a) @ theta[:, :, None])[:, :, 0]
    ones = torch.ones_like(margins)
    (F.binary_cross_entropy_with_logits(margins, ones, reduction="sum") / 7).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = load("experiment_separable").gradient(a, theta.detach().numpy())
    close(ours, theta.grad)


def test_descend_of_the_experiment_is_sgd_and_follow_agrees_at_late_steps(load):
    snippet, rng = load("experiment_separable"), np.random.default_rng(0)
    a = np.abs(rng.normal(size=(2, 9, 3)))
    first, lr = rng.normal(size=(2, 3)), np.array([0.5, 1.0])
    found = snippet.descend(a, first, lr, {1, 30, 1000, 10_000})
    for run in range(2):
        theta = leaf(first[run])
        optimizer = torch.optim.SGD([theta], lr=lr[run])
        for _ in range(30):
            optimizer.zero_grad()
            F.softplus(-torch.tensor(a[run]) @ theta).mean().backward()
            optimizer.step()
        close(found[30][run], theta)
    late = snippet.follow(a, found[1000], lr, 1000, [4])
    close(late[4], found[10_000], rtol=5e-3)


def test_growth_distance_and_verdict(load):
    snippet = load("experiment_separable")
    m = np.array([[3.0, 4.0], [0.0, 2.0]])
    off = np.array([[4.0, -3.0], [1.0, 0.0]])  # perpendicular to m
    at = {k: m * np.log(10.0) * k + off for k in (4, 5)}
    close(snippet.growth(at[5], at[4], m), [1.0, 1.0], rtol=0.01)
    assert np.all(snippet.distance(at[5], m) < snippet.distance(at[4], m))
    close(snippet.distance(m, off), [2**0.5, 2**0.5])
    assert snippet.judge(at, 5, m) == (2, 2, "reproduced")
    assert snippet.judge({4: at[5], 5: at[4]}, 5, m)[2] == "not at this size"
    broken = {4: at[4], 5: at[5] * np.array([[np.nan], [1.0]])}
    assert snippet.judge(broken, 5, m) == (1, 1, "not at this size")
    three = {k: np.vstack([v, v[:1]]) for k, v in broken.items()}
    three[5][2], m3 = at[5][0], np.vstack([m, m[:1]])
    assert snippet.judge(three, 5, m3) == (2, 2, "partly")
    tilted = np.array([[4.0, 3.0]]) * np.log(10.0) * 5  # length right, direction worse than before
    straight = m[:1] * np.log(10.0) * 4  # direction better, length not grown
    before = np.vstack([m[:1] * np.log(10.0) * 4, at[4][:1], at[4][:1]])
    after = np.vstack([tilted, at[5][:1], straight])
    m1 = np.repeat(m[:1], 3, axis=0)
    assert snippet.judge({4: before, 5: after}, 5, m1) == (
        2,
        2,
        "not at this size",
    )  # one run has both
    assert snippet.span(np.array([1.0, 2.0, 4.5])) == "2.50 (1.00 to 4.50)"


# ---- pitfalls and exercises ----


def test_fit_of_the_pitfall_finds_the_optimum_in_any_unit(load):
    x, y = problem(7)
    theta = leaf(load("pitfalls_numpy").fit(x, y))
    z = torch.tensor(x) @ theta[:-1] + theta[-1]
    F.binary_cross_entropy_with_logits(z, torch.tensor(y)).backward()
    close(theta.grad.numpy(), np.zeros(4))
    scaled = load("pitfalls_numpy").fit(x * [1.0, 10.0, 0.1], y)
    close(scaled[:3] * [1.0, 10.0, 0.1], theta.detach().numpy()[:3], rtol=1e-6)


def test_own_loss_is_right_for_equal_shapes_and_wrong_for_a_column(load):
    loss = load("pitfalls_torch").own_loss
    z, y = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(loss(z, y), F.binary_cross_entropy_with_logits(z, y))
    mean = F.binary_cross_entropy_with_logits(z, torch.full((3,), y.mean().item()))
    torch.testing.assert_close(loss(z[:, None], y), mean)  # every target becomes the base rate


def test_decay_groups_hold_every_parameter_once(load):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    decayed, free = load("pitfalls_torch").decay_groups(model, 0.1)
    assert [p.shape for p in decayed["params"]] == [(4, 3)] and decayed["weight_decay"] == 0.1
    assert len(free["params"]) == 3 and free["weight_decay"] == 0.0


@given(seed=SEEDS)
@settings(max_examples=10)
def test_one_step_by_hand_agrees_with_sgd(load, seed):
    rng = np.random.default_rng(seed)
    x, y, lr = rng.normal(size=3), float(rng.integers(0, 2)), 0.7
    w, b = leaf(rng.normal(size=3)), leaf(rng.normal())
    new_w, new_b = load("exercise_by_hand_numpy").step(x, y, w.detach().numpy(), b.item(), lr)
    optimizer = torch.optim.SGD([w, b], lr=lr)
    F.binary_cross_entropy_with_logits(w @ torch.tensor(x) + b, torch.tensor(y).double()).backward()
    optimizer.step()
    close(new_w, w)
    close(new_b, b)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_tanh_layer_agrees_with_the_sigmoid_layer_in_pytorch(load, seed):
    snippet, rng = load("exercise_tanh_numpy"), np.random.default_rng(seed)
    x, layer = rng.normal(size=(5, 3)), [rng.normal(size=s) for s in ((3, 4), 4, (4, 2), 2)]
    tensors = [torch.tensor(p) for p in layer]
    expected = torch.sigmoid(torch.tensor(x) @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
    w, b, v, c = snippet.to_tanh(*layer)
    close(np.tanh(x @ w + b) @ v + c, expected)
    close(snippet.sigmoid(x), torch.sigmoid(torch.tensor(x)))
