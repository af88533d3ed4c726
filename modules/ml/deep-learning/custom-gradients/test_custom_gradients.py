"""What must hold for custom rules beyond the snippets' own asserts: agreement with autograd."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.autograd import gradcheck, gradgradcheck

VALUES = st.one_of(
    st.floats(-40, 40), st.sampled_from([0.0, -0.0, 1e-300, 1e4, -1e4, 1e300, -1e300])
)
SEEDS = st.integers(0, 2**31 - 1)
VECTORS = arrays(float, st.integers(1, 6), elements=VALUES)
ROWS = arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=VALUES)


def leaf(array):
    return torch.tensor(np.asarray(array, dtype=float), requires_grad=True)


def close(ours, theirs, rtol=1e-9, atol=1e-12):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def through_tensorflow(f, x):
    z = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = f(z)
    return y.numpy(), tape.gradient(y, z).numpy()


# ---- operations and tape in NumPy ----


@given(x=VECTORS, scale=st.floats(-3, 3))
def test_log1pexp_agrees_with_both_softplus_functions(load, x, scale):
    value, rule = load("custom_gradients_numpy").log1pexp(x)
    (grad,) = rule(np.full(len(x), scale))
    z = leaf(x)
    expected = torch.logaddexp(z, torch.zeros_like(z))
    close(value, expected)
    close(grad, scale * torch.sigmoid(z))
    theirs, their_grad = through_tensorflow(tf.math.softplus, x)
    close(value, theirs)
    close(grad, scale * their_grad)


@given(z=ROWS, seed=SEEDS)
def test_logsumexp_agrees_with_both_frameworks(load, z, seed):
    value, rule = load("custom_gradients_numpy").logsumexp(z)
    upstream = np.random.default_rng(seed).normal(size=len(z))
    (grad,) = rule(upstream)
    t = leaf(z)
    y = torch.logsumexp(t, dim=1)
    close(value, y)
    close(grad, torch.autograd.grad(y, t, torch.tensor(upstream))[0])
    theirs, their_grad = through_tensorflow(lambda v: tf.reduce_logsumexp(v, axis=1), z)
    close(value, theirs)
    close(grad, upstream[:, None] * their_grad)


@given(
    x=arrays(float, (3, 4), elements=st.floats(-40, 40)), power=st.integers(-250, 250), seed=SEEDS
)
def test_norm_agrees_with_pytorch_at_every_scale_and_at_zero(load, x, power, seed):
    x[0] = 0.0
    norm = load("custom_gradients_numpy").norm
    upstream = np.random.default_rng(seed).normal(size=3)
    value, rule = norm(x * 10.0**power)
    t = leaf(x)
    y = torch.linalg.vector_norm(t, dim=1)
    close(value / 10.0**power, y, rtol=1e-9, atol=1e-9)
    assert not rule(upstream)[0][0].any()
    (expected,) = torch.autograd.grad(y, t, torch.tensor(upstream))
    large = np.linalg.norm(x, axis=1) > 1e-6
    close(rule(upstream)[0][large], expected.numpy()[large], atol=1e-9)


@given(z=VECTORS, upstream=st.floats(-3, 3))
def test_step_is_the_step_forward_and_the_identity_backward(load, z, upstream):
    value, rule = load("custom_gradients_numpy").step(z)
    close(value, torch.heaviside(torch.tensor(z), torch.zeros(1, dtype=torch.float64)))
    close(rule(np.full(len(z), upstream))[0], np.full(len(z), upstream))


@given(x=arrays(float, (3, 4), elements=st.floats(-3, 3)), seed=SEEDS)
def test_tape_adds_at_a_fan_out_and_ignores_what_is_not_used(load, x, seed):
    snippet = load("custom_gradients_numpy")

    def multiply(a, b):
        return a * b, lambda g: (g * b, g * a)

    upstream = np.random.default_rng(seed).normal(size=3)
    tape, v = snippet.Tape(), snippet.Variable(x)
    product = tape.apply(multiply, tape.apply(snippet.exp, v), v)
    unused = tape.apply(snippet.exp, v)
    last = tape.apply(snippet.logsumexp, tape.apply(multiply, product, product))
    grads = tape.gradients(upstream)
    t = leaf(x)
    y = torch.logsumexp((t.exp() * t) ** 2, dim=1)
    close(last.value, y)
    close(grads[v], torch.autograd.grad(y, t, torch.tensor(upstream))[0], rtol=1e-7)
    assert unused not in grads


@given(x=arrays(float, 5, elements=st.floats(-0.9, 30)))
def test_recorded_rules_are_right_where_nothing_overflows(load, x):
    snippet = load("custom_gradients_numpy")
    tape, v = snippet.Tape(), snippet.Variable(x)
    tape.apply(snippet.log1p, tape.apply(snippet.exp, v))
    close(tape.gradients(np.ones(5))[v], torch.sigmoid(torch.tensor(x)))
    y, rule = snippet.log1p(x)
    close(y, torch.log1p(torch.tensor(x)))
    close(rule(np.ones(5))[0], 1 / (1 + x))
    y, rule = snippet.exp(x)
    close(rule(np.full(5, 2.0))[0], 2 * np.exp(x))


def test_a_rule_with_too_few_gradients_is_refused(load):
    snippet = load("custom_gradients_numpy")
    tape, v = snippet.Tape(), snippet.Variable(np.ones(2))
    tape.apply(lambda a, b: (a * b, lambda g: (g * b,)), v, v)
    with pytest.raises(ValueError, match="shorter"):
        tape.gradients(np.ones(2))


# ---- the straight-through estimator ----


@given(a=st.floats(-30, 30), y=st.floats(0, 1))
def test_closed_forms_of_the_straight_through_gradient(load, a, y):
    snippet = load("straight_through_numpy")
    t = leaf(a)
    p = torch.sigmoid(t)
    expected = p * (1 - y) ** 2 / 2 + (1 - p) * y**2 / 2
    (truth,) = torch.autograd.grad(expected, t)
    p = p.item()
    close(snippet.probability(a), p)
    close(snippet.expected_loss(a, y), expected)
    close(snippet.true_gradient(a, y), truth)
    close(snippet.straight_through(a, y), p - y)
    close(snippet.straight_through_slope(a, y), truth + p * (1 - p) * (p - 0.5))
    mean, deviation = snippet.score_function(a, y)
    close(mean, truth)
    on, off = (1 - y) ** 2 / 2 * (1 - p), y**2 / 2 * (0 - p)
    close(deviation, np.sqrt(p * (1 - p)) * abs(on - off), atol=1e-9)


def test_a_sampled_unit_agrees_with_the_exact_sums(load):
    snippet = load("straight_through_numpy")
    generator = torch.Generator().manual_seed(0)
    a, y = torch.full((200_000,), 0.7, dtype=torch.float64, requires_grad=True), 0.3
    p = torch.sigmoid(a)
    h = torch.bernoulli(p.detach(), generator=generator)
    loss = ((h + p - p.detach() - y) ** 2 / 2).sum() / len(a)
    (with_slope,) = torch.autograd.grad(loss, a)
    assert float(with_slope.sum()) == pytest.approx(
        snippet.straight_through_slope(0.7, y), abs=2e-3
    )
    samples = ((h - y) ** 2 / 2 * (h - p.detach())).numpy()
    mean, deviation = snippet.score_function(0.7, y)
    assert samples.mean() == pytest.approx(mean, abs=2e-3)
    assert samples.std() == pytest.approx(deviation, rel=0.02)


# ---- PyTorch ----


@given(x=VECTORS)
@settings(max_examples=20)
def test_log1pexp_of_pytorch_at_any_input(load, x):
    z = leaf(x)
    y = load("custom_gradients_torch").Log1pExp.apply(z)
    close(y.detach().numpy(), np.logaddexp(x, 0))
    close(torch.autograd.grad(y.sum(), z)[0].numpy(), torch.sigmoid(z))


def test_functions_pass_the_checks_that_they_should(load):
    snippet = load("custom_gradients_torch")
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert gradcheck(snippet.Log1pExp.apply, z, check_forward_ad=True, check_batched_grad=True)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    for check in (gradcheck, gradgradcheck):
        assert check(snippet.Log1pExp.apply, z)
        assert check(snippet.Linear.apply, (x, z))
    assert gradcheck(snippet.Outside.apply, z)
    assert not gradcheck(snippet.PlantedSlip.apply, z, raise_exception=False)
    assert not snippet.passes(gradcheck, snippet.PlantedSlip, z)
    assert snippet.passes(gradcheck, snippet.Log1pExp, z)
    assert torch.equal(torch.autograd.grad(snippet.Step.apply(z).sum(), z)[0], torch.ones_like(z))


def test_linear_computes_only_what_is_needed(load):
    snippet = load("custom_gradients_torch")
    x, w = torch.randn(4, 3), torch.randn(3, 2, requires_grad=True)
    assert snippet.backward_flops(x, w) == 2 * 4 * 3 * 2
    assert snippet.backward_flops(x.requires_grad_(), w) == 2 * 2 * 4 * 3 * 2
    frozen = w.detach()
    assert snippet.backward_flops(x, frozen) == 2 * 4 * 3 * 2


# ---- TensorFlow ----


@given(x=VECTORS)
@settings(max_examples=20)
def test_log1pexp_of_tensorflow_at_any_input(load, x):
    y, first, second = load("custom_gradients_tensorflow").derivatives(
        load("custom_gradients_tensorflow").log1pexp, x
    )
    close(y, np.logaddexp(x, 0))
    p = torch.sigmoid(torch.tensor(x))
    close(first, p)
    close(second, p * (1 - p))


@given(seed=SEEDS)
@settings(max_examples=10)
def test_layer_agrees_with_the_recorded_product(load, seed):
    rng = np.random.default_rng(seed)
    w, x = tf.Variable(rng.normal(size=(3, 2))), tf.constant(rng.normal(size=(4, 3)))
    grads = []
    for f in (load("custom_gradients_tensorflow").layer(w), lambda x: x @ w):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.tanh(f(x)))
        grads.append(tape.gradient(loss, [x, w]))
    for ours, theirs in zip(*grads, strict=True):
        close(ours.numpy(), theirs.numpy())


# ---- exercises and experiment ----


@given(x=arrays(float, (3, 4), elements=st.floats(0.1, 9)), seed=SEEDS)
def test_normalize_agrees_with_autograd(load, x, seed):
    snippet = load("exercise_normalize_numpy")
    upstream = np.random.default_rng(seed).normal(size=(3, 4))
    t = leaf(x)
    y = torch.nn.functional.normalize(t, dim=1)
    close(snippet.normalize(x), y)
    expected = torch.autograd.grad(y, t, torch.tensor(upstream))[0]
    close(snippet.normalize_rule(x, upstream), expected, rtol=1e-7, atol=1e-10)


@given(
    z=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=5)
)
def test_add_zero_is_exact_and_straight_through(load, z):
    snippet = load("exercise_detach_torch")
    t = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    h = snippet.add_zero(t)
    assert torch.equal(h, (t > 0).float())
    for f in (snippet.add_zero, snippet.subtract_first):
        assert torch.equal(torch.autograd.grad(f(t).sum(), t)[0], torch.ones_like(t))


@given(seed=SEEDS, size=st.floats(0.1, 0.8))
@settings(max_examples=10)
def test_fixed_point_agrees_with_the_unrolled_loop(load, seed, size):
    snippet = load("exercise_fixed_point_torch")
    generator = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(s, dtype=torch.float64, generator=generator) for s in ((2, 3), (3, 3)))
    w = (w * size / torch.linalg.matrix_norm(w, 2)).requires_grad_()
    x.requires_grad_()
    grads = [
        torch.autograd.grad(f(x, w).exp().sum(), [x, w])
        for f in (snippet.FixedPoint.apply, snippet.unrolled)
    ]
    for ours, theirs in zip(*grads, strict=True):
        close(ours.numpy(), theirs, atol=1e-8)


@pytest.mark.parametrize(
    "proxy", ["identity", "ReLU", "clipped ReLU", "sigmoid slope", "true derivative"]
)
def test_proxies_are_derivatives_of_what_they_are_called(load, proxy):
    snippet = load("experiment_straight_through")
    functions = {
        "identity": lambda z: z,
        "ReLU": torch.relu,
        "clipped ReLU": lambda z: torch.clamp(z, 0, 1),
        "sigmoid slope": torch.sigmoid,
        "true derivative": lambda z: z * 0,
    }
    z = torch.randn(50, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(functions[proxy](z).sum(), z)
    y = snippet.BinaryStep.apply(z, proxy)
    assert torch.equal(y, (z > 0).double())
    close(torch.autograd.grad((3 * y).sum(), z)[0].numpy(), 3 * expected)


def test_experiment_helpers(load):
    snippet = load("experiment_straight_through")
    assert snippet.worse(np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0, 2.9]))
    assert not snippet.worse(np.array([1.0, 9.0, 2.0]), np.array([1.0, 2.0, 2.9]))
    assert not snippet.worse(np.array([1.0, 2.0]), np.array([3.0, 4.1]))
    params = [torch.randn(1, 4, 3), torch.zeros(1, 1, 3), torch.eye(3)[None], torch.zeros(1, 1, 3)]
    x, reference = torch.randn(1, 5, 4), torch.randn(1, 50, 4)
    z = (x @ params[0] - (reference @ params[0]).mean(dim=1)) / (reference @ params[0]).std(
        dim=1, correction=0
    )
    out = snippet.logits(params, x, reference, torch.tanh, True)
    close(out.numpy(), torch.tanh(z), rtol=1e-3, atol=1e-4)
    same = snippet.logits(params, x, x, torch.tanh, False)
    close(same.numpy(), torch.tanh(x @ params[0]), rtol=1e-4, atol=1e-5)


def test_validation_and_test_images_are_kept_apart(load, monkeypatch):
    snippet = load("experiment_straight_through")
    monkeypatch.setattr(snippet, "STEPS", 20)
    data = [
        (torch.zeros(n, 64), torch.full((n,), label)) for n, label in ((1000, 0), (3, 0), (5, 1))
    ]
    validation, test = snippet.train("all sigmoid", False, data)
    assert np.all(validation[-1] == 0) and np.all(test[-1] == 100)


def test_training_many_rates_at_once_agrees_with_one_by_one(load, monkeypatch):
    snippet = load("experiment_straight_through")
    monkeypatch.setattr(snippet, "STEPS", 15)
    monkeypatch.setattr(snippet, "SEEDS", 2)
    data = snippet.load()
    errors = snippet.train("all sigmoid", False, data)
    for row, rate in enumerate(snippet.RATES):
        generator = torch.Generator().manual_seed(1)
        layers = [torch.nn.Linear(*sizes) for sizes in ((64, 32), (32, 32), (32, 10))]
        for layer in layers:
            d_out, d_in = layer.weight.shape
            w = torch.rand(d_in, d_out, generator=generator)
            layer.weight.data, layer.bias.data = (2 * w - 1).T * (3 / d_in) ** 0.5, w[0] * 0
        sigmoid = torch.nn.Sigmoid()
        model = torch.nn.Sequential(layers[0], sigmoid, layers[1], sigmoid, layers[2])
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(snippet.STEPS):
            index = torch.randint(1000, (snippet.BATCH,), generator=generator)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                model(data[0][0][index]), data[0][1][index]
            ).backward()
            optimizer.step()
        for part, (x, y) in enumerate(data[1:]):
            wrong = 100 * (model(x).argmax(dim=1) != y).float().mean()
            assert errors[part, row, 1] == pytest.approx(wrong.item(), abs=0.7)
