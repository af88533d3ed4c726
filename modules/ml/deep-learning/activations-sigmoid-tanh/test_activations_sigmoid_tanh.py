"""Sigmoid, tanh, their hard versions and DyT equal the libraries', at random and extreme inputs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

SPECIAL = [0.0, -0.0, 1e-300, -1e-300, -1e-9, 1e-9, 36.8, -36.8, 800.0, -800.0, 1e308, -1e308]
VALUES = st.one_of(st.sampled_from(SPECIAL), st.floats(-30.0, 30.0), st.floats(-1e4, 1e4))
X = arrays(np.float64, array_shapes(min_dims=1, max_dims=3, max_side=5), elements=VALUES)
TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "log_sigmoid": F.logsigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "hard_tanh": F.hardtanh,
}


def torch_value_and_derivative(f, x):
    tensor = torch.tensor(x, requires_grad=True)
    y = f(tensor)
    (grad,) = torch.autograd.grad(y, tensor, torch.ones_like(y))
    return y.detach().numpy(), grad.numpy()


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", TORCH)
@given(x=X)
def test_value_and_derivative_equal_torch(load, name, x):
    numpy = load("sigmoid_tanh_numpy")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = getattr(numpy, name)(x)
        if name == "log_sigmoid":
            derivative = numpy.sigmoid(-x)
        else:
            derivative = getattr(numpy, f"{name}_derivative")(x)
    value, expected = torch_value_and_derivative(TORCH[name], x)
    same(y, value)
    assert y.shape == derivative.shape == x.shape
    tolerance = 1e-8 if name == "hard_sigmoid" else 1e-15  # PyTorch's 1/6 there is a float32
    np.testing.assert_allclose(derivative, expected, rtol=1e-12, atol=tolerance)


def test_small_values_keep_their_digits(load):
    numpy = load("sigmoid_tanh_numpy")
    x = np.array([1.0, 20.0, 40.0, 300.0, 700.0])
    np.testing.assert_allclose(numpy.sigmoid(-x), np.exp(-x) / (1 + np.exp(-x)), rtol=1e-14)
    np.testing.assert_allclose(numpy.sigmoid_derivative(x), numpy.sigmoid_derivative(-x), rtol=0)
    np.testing.assert_allclose(numpy.sigmoid_derivative(x[1:]), np.exp(-x[1:]), rtol=1e-8)
    np.testing.assert_allclose(numpy.log_sigmoid(x[1:]), -np.exp(-x[1:]), rtol=1e-8)
    np.testing.assert_allclose(numpy.tanh_derivative(x[1:4]), 4 * np.exp(-2 * x[1:4]), rtol=1e-12)
    tiny = np.array([1e-20, -1e-20, 1e-300])
    np.testing.assert_allclose(numpy.tanh(tiny), tiny, rtol=1e-15)


def test_maxima_of_the_derivatives(load):
    numpy = load("sigmoid_tanh_numpy")
    zero, x = np.array([0.0, -0.0]), np.linspace(-9.0, 9.0, 999)
    assert np.all(numpy.sigmoid_derivative(zero) == 0.25) and np.all(
        numpy.tanh_derivative(zero) == 1
    )
    assert numpy.sigmoid_derivative(x).max() <= 0.25 and numpy.tanh_derivative(x).max() <= 1.0


@given(x=X)
def test_identities(load, x):
    numpy = load("sigmoid_tanh_numpy")
    small = np.clip(x, -1e4, 1e4)
    pairs = [
        (numpy.tanh(small), 2 * numpy.sigmoid(2 * small) - 1),
        (numpy.sigmoid(-x), 1 - numpy.sigmoid(x)),
        (numpy.hard_tanh(small), 2 * numpy.hard_sigmoid(small, 0.5) - 1),
    ]
    for left, right in pairs:  # differences cancel digits, and exp differs between CPUs
        np.testing.assert_allclose(left, right, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("slope", [1 / 6, 0.2, 0.5])
def test_hard_sigmoid_with_any_slope(load, slope):
    numpy = load("sigmoid_tanh_numpy")
    x = np.linspace(-5.0, 5.0, 1001) + 1e-4
    same(numpy.hard_sigmoid(x, slope), np.maximum(0.0, np.minimum(1.0, slope * x + 0.5)))
    inside = np.abs(x) < 0.5 / slope
    same(numpy.hard_sigmoid_derivative(x, slope), slope * inside)


def test_derivative_at_the_kinks_is_zero_as_in_torch(load):
    numpy = load("sigmoid_tanh_numpy")
    three, one = np.array([-3.0, 3.0]), np.array([-1.0, 1.0])
    assert not numpy.hard_sigmoid_derivative(three).any()
    assert not numpy.hard_tanh_derivative(one).any()
    assert not torch_value_and_derivative(F.hardsigmoid, three)[1].any()
    assert not torch_value_and_derivative(F.hardtanh, one)[1].any()


def test_float32_stays_float32(load):
    numpy = load("sigmoid_tanh_numpy")
    x = np.array([[-1e4, -100.0, 2.0, 1e4]], dtype=np.float32)
    with np.errstate(over="raise", invalid="raise"):
        for name in TORCH:
            assert getattr(numpy, name)(x).dtype == np.float32
            if name != "log_sigmoid":
                assert getattr(numpy, f"{name}_derivative")(x).dtype == np.float32


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.1, 1.0, 50.0]))
def test_dyt_equals_autograd(load, seed, scale):
    numpy, module = load("sigmoid_tanh_numpy"), load("sigmoid_tanh_torch").DyT(3)
    rng = np.random.default_rng(seed)
    x, grad_output = scale * rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.tensor(rng.normal(size=p.shape)))
    tensor = torch.tensor(x, requires_grad=True)
    y = module(tensor)
    y.backward(torch.tensor(grad_output))
    alpha, gamma, beta = (p.detach().numpy() for p in (module.alpha, module.gamma, module.beta))
    np.testing.assert_allclose(numpy.dyt(x, alpha, gamma, beta), y.detach().numpy(), rtol=1e-12)
    grads = numpy.dyt_backward(grad_output, x, alpha, gamma)
    expected = {"x": tensor, "alpha": module.alpha, "gamma": module.gamma, "beta": module.beta}
    for name, parameter in expected.items():
        np.testing.assert_allclose(grads[name], parameter.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_new_dyt_is_tanh_of_half_its_input(load):
    module = load("sigmoid_tanh_torch").DyT(2)
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(x), torch.tanh(x / 2))


def test_torch_snippet_knows_the_old_hard_sigmoid(load):
    snippet, numpy = load("sigmoid_tanh_torch"), load("sigmoid_tanh_numpy")
    x = torch.linspace(-4.0, 4.0, 81, dtype=torch.float64) + 1e-3
    value, derivative = snippet.value_and_derivative(snippet.hard_sigmoid_fifth, x)
    same(value, numpy.hard_sigmoid(x.numpy(), 0.2))
    same(derivative, numpy.hard_sigmoid_derivative(x.numpy(), 0.2))


def test_keras_agrees(load):
    snippet, numpy = load("conventions_tensorflow"), load("sigmoid_tanh_numpy")
    x = np.linspace(-5.0, 5.0, 101) + 1e-3
    keras = snippet.keras.activations
    for name in ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh"):
        value, derivative = snippet.value_and_derivative(getattr(keras, name), x)
        same(value, getattr(numpy, name)(x))
        same(derivative, getattr(numpy, f"{name}_derivative")(x))
    old, slope = snippet.value_and_derivative(snippet.keras_2.hard_sigmoid, x)
    same(old, numpy.hard_sigmoid(x, 0.2))
    same(slope, numpy.hard_sigmoid_derivative(x, 0.2))


def test_where_float32_sigmoid_becomes_one(load):
    saturation = load("saturation_torch")
    at = saturation.first_at(1.0, "sigmoid", torch.float32)
    assert torch.sigmoid(torch.tensor(at)) == 1 > torch.sigmoid(torch.tensor(at - 0.01))
    assert (
        saturation.derivative("sigmoid", at + 0.01) == 0 < saturation.derivative("sigmoid", at - 1)
    )
    assert saturation.derivative("tanh", 0.0) == 1.0
    zero = saturation.first_at(0.0, "sigmoid", torch.float32, sign=-1.0)
    assert torch.sigmoid(torch.tensor(-zero - 0.01)) == 0 < torch.sigmoid(torch.tensor(-zero + 0.1))


def test_recovery_steps_by_autograd(load):
    steps = load("saturation_torch").steps_to_recover
    losses = {
        "squared": lambda z: 0.5 * torch.sigmoid(z) ** 2,
        "cross-entropy": lambda z: F.binary_cross_entropy_with_logits(z, torch.zeros_like(z)),
    }
    for name, loss in losses.items():
        z, count = torch.tensor(4.0, dtype=torch.float64, requires_grad=True), 0
        while z > 0:
            (grad,) = torch.autograd.grad(loss(z), z)
            z, count = (z - grad).detach().requires_grad_(), count + 1
        assert steps(4.0, name) == count
    assert steps(4.0, "squared", limit=3) == 3


def test_saturated_shares_of_a_gaussian_layer(load):
    flat, every, square = load("saturation_torch").saturated(1.0)
    z = np.random.default_rng(0).normal(size=1_000_000)
    slope = 1 - np.tanh(z) ** 2
    assert abs(flat - np.mean(slope < 0.01)) < 0.003 and every == 0.0
    assert abs(square - np.mean(slope**2)) < 0.02


def test_all_four_networks_start_as_the_same_function(load):
    experiment = load("experiment_centering")
    x = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    outputs = []
    for f, scale, shift in experiment.ACTIVATIONS.values():
        z = torch.linspace(-3, 3, 7)
        torch.testing.assert_close(f(z), scale * torch.tanh(scale * z) + shift)
        params = experiment.init_networks(scale, shift, 20, copies=2)
        outputs.append(experiment.logits(params, f, x))
        assert torch.equal(params[2][0], params[2][experiment.SEEDS])  # same seed, other rate
        assert not torch.equal(params[2][0], params[2][1])
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], atol=2e-5, rtol=1e-4)
    assert outputs[0].std() > 0.3


def test_centering_experiment_measures_what_it_says(load):
    experiment = load("experiment_centering")
    positive, mixed = torch.tensor([[[1.0, -1.0], [2.0, 3.0]]]), -torch.ones(1, 2, 2)
    assert experiment.same_sign_share([positive, mixed]) == 0.75
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(1, 4, 3, generator=generator)
    params = [weights.requires_grad_(), torch.zeros(1, 1, 3, requires_grad=True)]
    x, y = torch.randn(9, 4, generator=generator), torch.arange(9) % 3

    def loss(w, b):
        return F.cross_entropy(x @ w + b, y)

    blocks = torch.autograd.functional.hessian(loss, (params[0][0], params[1][0, 0]))
    size = [12, 3]
    rows = [torch.cat([blocks[i][j].reshape(size[i], size[j]) for j in (0, 1)], 1) for i in (0, 1)]
    largest = torch.linalg.eigvalsh(torch.cat(rows)).max().item()
    found = experiment.largest_curvature(params, torch.tanh, x, y)
    assert found == pytest.approx(largest, rel=0.05) and found <= largest * 1.001
    z = torch.randn(2, 9, 3, generator=generator)
    expected = torch.stack([F.cross_entropy(each, y) for each in z])
    torch.testing.assert_close(experiment.losses(z, y), expected)


def test_lecun_exercise(load):
    exercise = load("exercise_lecun_numpy")
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64, requires_grad=True)
    y = 1.7159 * torch.tanh(2 * x / 3)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    same(exercise.scaled_tanh(x.detach().numpy()), y.detach().numpy())
    same(exercise.second_derivative(x.detach().numpy()), bend.numpy())
    assert exercise.detour(0.0, 1.0) == pytest.approx(2**0.5)


def test_naive_forms_are_right_where_they_do_not_overflow(load):
    pitfalls, numpy = load("pitfalls_torch"), load("sigmoid_tanh_numpy")
    x = np.linspace(-30.0, 30.0, 61)
    same(pitfalls.tanh_naive(x), numpy.tanh(x))
    same(pitfalls.sigmoid_naive(x), numpy.sigmoid(x))
    assert pitfalls.value_and_slope(torch.sigmoid, 0.0) == (0.5, 0.25)
