"""The rectifiers equal PyTorch's in value and gradient, for random and extreme inputs and at 0."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import nn

SPECIAL = [0.0, -0.0, 1e-300, -1e-300, -1e-9, 1e-9, -40.0, 40.0, -1e4, 1e4, -1e300, 1e300]
VALUES = st.one_of(st.sampled_from(SPECIAL), st.floats(-30.0, 30.0), st.floats(-1e300, 1e300))
X = arrays(np.float64, array_shapes(min_dims=1, max_dims=3, max_side=5), elements=VALUES)
TORCH = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
}


def torch_value_and_derivative(f, x):
    tensor = torch.tensor(x, requires_grad=True)
    y = f(tensor)
    (grad,) = torch.autograd.grad(y, tensor, torch.ones_like(y))
    return y.detach().numpy(), grad.numpy()


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", TORCH)
@given(x=X)
def test_value_and_derivative_equal_torch(load, name, x):
    numpy = load("relu_family_numpy")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, derivative = getattr(numpy, name)(x), getattr(numpy, f"{name}_derivative")(x)
    expected, expected_derivative = torch_value_and_derivative(TORCH[name], x)
    same(value, expected)
    same(derivative, expected_derivative)
    assert value.shape == derivative.shape == x.shape


@given(x=X, parameter=st.floats(0.0, 3.0))
def test_slope_and_alpha_equal_torch(load, x, parameter):
    numpy = load("relu_family_numpy")
    x = np.clip(x, -1e299, 1e299)  # 3 * 1e300 is still finite, but keep a margin
    for f, derivative, expected in [
        (numpy.leaky_relu, numpy.leaky_relu_derivative, lambda v: F.leaky_relu(v, parameter)),
        (numpy.elu, numpy.elu_derivative, lambda v: F.elu(v, parameter)),
    ]:
        value, slope = torch_value_and_derivative(expected, x)
        same(f(x, parameter), value)
        same(derivative(x, parameter), slope)


@given(data=st.data())
def test_prelu_equals_torch(load, data):
    numpy = load("relu_family_numpy")
    shape = data.draw(array_shapes(min_dims=1, max_dims=4, max_side=4))
    channels = shape[1] if len(shape) > 1 else 1
    elements = st.one_of(st.sampled_from([0.0, -0.0, -1e4, 1e4]), st.floats(-30, 30))
    x = data.draw(arrays(np.float64, shape, elements=elements))
    grad_output = data.draw(arrays(np.float64, shape, elements=st.floats(-10, 10)))
    size = data.draw(st.sampled_from([1, channels]))
    a = data.draw(arrays(np.float64, (size,), elements=st.floats(-2, 2)))

    x_torch, a_torch = torch.tensor(x, requires_grad=True), torch.tensor(a, requires_grad=True)
    y = F.prelu(x_torch, a_torch)
    y.backward(torch.tensor(grad_output))
    grad_x, grad_a = numpy.prelu_backward(grad_output, x, a)
    same(numpy.prelu(x, a), y.detach().numpy())
    same(grad_x, x_torch.grad.numpy())
    same(numpy.prelu_derivative(x, a) * grad_output, x_torch.grad.numpy())
    np.testing.assert_allclose(grad_a, a_torch.grad.numpy(), rtol=1e-9, atol=1e-9)
    assert grad_a.shape == a.shape


def test_prelu_is_finite_at_extremes(load):
    numpy = load("relu_family_numpy")
    x = np.array([[-1e300, -1e4, 0.0, 1e4, 1e300]]).T
    a = np.array([0.25])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value = numpy.prelu(x, a)
        grad_x, grad_a = numpy.prelu_backward(np.ones_like(x), x, a)
    same(value[:, 0], [-2.5e299, -2.5e3, 0.0, 1e4, 1e300])
    same(grad_x[:, 0], [0.25, 0.25, 0.25, 1.0, 1.0])
    same(grad_a, [-1e300])


@pytest.mark.parametrize("a", [np.ones(2), np.ones((1, 3)), np.array(0.25)])
def test_prelu_refuses_a_wrong_shape(load, a):
    with pytest.raises(ValueError, match="a must have shape"):
        load("relu_family_numpy").prelu(np.ones((4, 3)), a)


def test_derivative_at_zero_is_that_of_the_left_branch(load):
    numpy = load("relu_family_numpy")
    for zero in (np.array([0.0]), np.array([-0.0])):
        assert numpy.relu_derivative(zero) == 0.0
        assert numpy.leaky_relu_derivative(zero) == 0.01
        assert numpy.prelu_derivative(zero, np.array([0.25])) == 0.25
        assert numpy.elu_derivative(zero) == 1.0
        assert numpy.elu_derivative(zero, 2.0) == 2.0
        assert numpy.selu_derivative(zero) == numpy.SELU_SCALE * numpy.SELU_ALPHA


def test_float32_stays_float32(load):
    numpy = load("relu_family_numpy")
    x, a = np.array([[-1.0, 2.0]], dtype=np.float32), np.array([0.25], dtype=np.float32)
    for name in TORCH:
        assert getattr(numpy, name)(x).dtype == np.float32
        assert getattr(numpy, f"{name}_derivative")(x).dtype == np.float32
    results = [numpy.prelu(x, a), numpy.prelu_derivative(x, a), *numpy.prelu_backward(x, x, a)]
    assert all(r.dtype == np.float32 for r in results)


def test_tiny_negative_inputs_keep_their_digits(load):
    numpy = load("relu_family_numpy")
    same(numpy.elu(np.array([-1e-20])) / -1e-20, [1.0])
    same(numpy.selu(np.array([-1e-20])) / -1e-20, [numpy.SELU_SCALE * numpy.SELU_ALPHA])


def test_derivatives_follow_from_the_outputs(load):
    numpy = load("relu_family_numpy")
    x = np.linspace(-5.0, 0.0, 50)
    same(numpy.elu_derivative(x, 0.7), numpy.elu(x, 0.7) + 0.7)
    floor = numpy.SELU_SCALE * numpy.SELU_ALPHA
    same(numpy.selu_derivative(x), numpy.selu(x) + floor)


def test_selu_constants(load):
    moments, numpy = load("gaussian_moments_numpy"), load("relu_family_numpy")
    same(moments.selu_constants(), (numpy.SELU_ALPHA, numpy.SELU_SCALE))
    same(moments.selu_moments(1.0), (0.0, 1.0))


@given(nu=st.floats(0.01, 9.0), k=st.sampled_from([1.0, 2.0]))
def test_gaussian_closed_forms(load, nu, k):
    moments, numpy = load("gaussian_moments_numpy"), load("relu_family_numpy")
    mean = moments.gaussian_mean(numpy.selu, nu)
    variance = moments.gaussian_mean(lambda z: numpy.selu(z) ** 2, nu) - mean**2
    np.testing.assert_allclose(moments.selu_moments(nu), (mean, variance), atol=1e-10)
    tail = moments.gaussian_mean(lambda z: (z < 0) * np.exp(k * np.minimum(z, 0.0)), nu)
    np.testing.assert_allclose(moments.tail_mean(k, nu), tail, atol=1e-10)
    np.testing.assert_allclose(moments.gaussian_mean(lambda z: z**4, nu), 3 * nu**2, rtol=1e-10)
    z = np.linspace(-3.0, 3.0, 7)
    same(moments.elu(z, nu), numpy.elu(z, nu))


def test_second_moments_by_sampling(load):
    numpy = load("relu_family_numpy")
    z = np.random.default_rng(0).normal(size=1_000_000)
    assert abs(np.mean(numpy.relu(z) ** 2) - 0.5) < 0.005
    assert abs(np.var(numpy.relu(z)) - (0.5 - 1 / (2 * np.pi))) < 0.005
    assert abs(np.mean(numpy.leaky_relu(z, 0.3) ** 2) - (1 + 0.3**2) / 2) < 0.005
    assert abs(np.mean(numpy.selu(z))) < 0.005 and abs(np.var(numpy.selu(z)) - 1) < 0.01


def test_torch_recommends_three_quarters_for_selu():
    assert nn.init.calculate_gain("selu") == 0.75  # not the gain 1 of self-normalization
    assert nn.init.calculate_gain("leaky_relu", 0.3) ** 2 == pytest.approx(2 / (1 + 0.3**2))


def test_keras_agrees_away_from_zero(load):
    keras_snippet, numpy = load("conventions_tensorflow"), load("relu_family_numpy")
    x = np.random.default_rng(0).normal(size=(20, 3)) * 10.0 ** np.arange(-3, 4, 3)
    for name in ("relu", "elu", "selu"):
        f = getattr(keras_snippet.keras.activations, name)
        value, derivative = keras_snippet.value_and_derivative(f, x)
        np.testing.assert_allclose(value, getattr(numpy, name)(x), rtol=1e-6, atol=1e-12)
        expected = getattr(numpy, f"{name}_derivative")(x)
        np.testing.assert_allclose(derivative, expected, rtol=1e-6, atol=1e-12)


def test_torch_snippet_differentiates(load):
    torch_snippet = load("relu_family_torch")
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    value, derivative = torch_snippet.value_and_derivative(lambda v: v**2, x)
    same(value, [4.0, 9.0])
    same(derivative, [-4.0, 6.0])


def test_self_normalization_uses_the_right_functions(load):
    experiment, numpy = load("experiment_self_normalization"), load("relu_family_numpy")
    z = np.array([-1e300, -3.0, -0.1, 0.0, 0.1, 3.0, 1e300])
    same(experiment.elu(z), numpy.elu(z))
    same(experiment.selu(z), numpy.selu(z))
    same(experiment.relu(z), numpy.relu(z))


def test_domain_of_the_theorem(load):
    in_domain = load("experiment_self_normalization").in_domain
    mean = np.array([0.0, 0.1, -0.1, 0.11, -0.11, 0.0, 0.0])
    variance = np.array([1.0, 0.8, 1.5, 1.0, 1.0, 0.79, 1.51])
    assert in_domain(mean, variance).tolist() == [True] * 3 + [False] * 4


def test_selu_gradient_growth_equals_autograd(load):
    experiment = load("experiment_self_normalization")
    x = np.random.default_rng(1).normal(size=(8, 20))
    layers = experiment.forward(experiment.selu, 1.0, x, np.random.default_rng(2))
    growth = experiment.selu_gradient_growth(layers, np.random.default_rng(3))

    first = torch.tensor(layers[0][1], requires_grad=True)
    h = first
    for w, expected in layers[1:]:
        h = F.selu(h @ torch.tensor(w))
        np.testing.assert_allclose(h.detach().numpy(), expected, rtol=1e-8, atol=1e-8)
    grad_output = torch.tensor(np.random.default_rng(3).normal(size=h.shape))
    h.backward(grad_output)
    ratio = (first.grad**2).sum() / (grad_output**2).sum()
    assert growth == pytest.approx(ratio.item() ** (1 / (experiment.DEPTH - 1)), rel=1e-8)


def test_networks_side_by_side_equal_single_networks(load):
    experiment = load("experiment_deep_training")
    params = experiment.init_networks(depth=3, gain=2.0, inputs=7, copies=2)
    x, y = torch.randn(11, 7), torch.randint(10, (11,))
    z = experiment.logits(params, F.relu, x)
    loss = experiment.losses(z, y)
    for s in (0, experiment.SEEDS - 1, experiment.SEEDS):
        h = x
        for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            h = F.relu(h @ w[s] + b[s])
        alone = h @ params[-2][s] + params[-1][s]
        torch.testing.assert_close(z[s], alone)
        torch.testing.assert_close(loss[s], F.cross_entropy(alone, y))
    assert torch.equal(params[0][0], params[0][experiment.SEEDS])  # same seed, other rate
    assert not torch.equal(params[0][0], params[0][1])
    first, hidden, last = (params[i].detach() for i in (0, 2, -2))  # 7 -> 48, 48 -> 48, 48 -> 10
    assert first.var().item() == pytest.approx(2 / 7, rel=0.15)
    assert hidden.var().item() == pytest.approx(2 / 48, rel=0.1)
    assert last.var().item() == pytest.approx(1 / 48, rel=0.15)


def test_dead_means_inactive_for_every_example(load):
    experiment = load("experiment_sparsity")
    network = experiment.make_network(nn.ReLU, seed=0)
    x = torch.randn(50, 64)
    with torch.no_grad():
        network[0].bias[5] = -1e3
    off = experiment.inactive(network, x)
    assert off.shape == (50, 3, 128)
    assert off[:, 0, 5].all() and not off[:, 0, 6].all()
    F.cross_entropy(network(x), torch.zeros(50, dtype=torch.long)).backward()
    assert not network[0].weight.grad[5].any() and network[0].bias.grad[5] == 0.0
    assert network[0].weight.grad[6].any()


def test_each_parameter_is_in_one_group(load):
    experiment = load("experiment_prelu")
    network = experiment.make_network(lambda: nn.PReLU(64), seed=0)
    groups = experiment.parameter_groups(network, decay=0.01, decay_slopes=False)
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    decayed = [p for g in groups if g["weight_decay"] for p in g["params"]]
    assert len(decayed) == 4 and all(p.ndim == 2 for p in decayed)


@given(x=X)
def test_safe_elu_equals_torch(load, x):
    pitfalls = load("pitfalls_torch")
    value, slope = torch_value_and_derivative(pitfalls.elu_safe, x)
    expected, expected_slope = torch_value_and_derivative(F.elu, x)
    same(value, expected)
    same(slope[x != 0], expected_slope[x != 0])


def test_gain_exercise(load):
    exercise, moments = load("exercise_gains"), load("gaussian_moments_numpy")
    for f in (exercise.elu, lambda z: exercise.leaky_relu(z, 0.3)):
        for variance in (0.5, 1.0, 2.0):
            integral = moments.gaussian_mean(lambda z, f=f: f(z) ** 2, variance)
            assert exercise.second_moment(f, variance) == pytest.approx(integral, rel=1e-5)
    z = exercise.last_pre_activation(lambda z: exercise.leaky_relu(z, 1.0), 1.0, 1.0, depth=1)
    assert z.shape == (300, 300) and abs(np.var(z) - 1) < 0.05
