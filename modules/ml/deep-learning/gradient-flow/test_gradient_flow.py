"""What must hold for initialization and gradient flow beyond the snippets' own asserts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

B_VAR = st.floats(0.0, 1.0)
W_VAR = st.floats(0.05, 5.0)
Q = st.floats(1e-3, 3.0)
C = st.floats(0.0, 1.0)


@pytest.fixture(scope="module")
def mf(load):
    return load("mean_field_numpy")


GRID = torch.linspace(-8, 8, 801, dtype=torch.float64)
DENSITY = torch.exp(-(GRID**2) / 2) / torch.exp(-(GRID**2) / 2).sum()


def torch_expectation(f, q, c):
    """E[f(u) f(v)] by the trapezoid rule instead of Gauss-Hermite nodes."""
    u = q**0.5 * GRID
    v = c * u[:, None] + (1 - c * c) ** 0.5 * u
    return (f(u) * DENSITY) @ f(v) @ DENSITY


def torch_tanh_slope(z):
    return 1 - torch.tanh(z) ** 2


# ---- mean field ----


@settings(max_examples=20)
@given(q=Q, c=C, w_var=W_VAR, b_var=B_VAR)
def test_maps_equal_another_quadrature_in_pytorch(mf, q, c, w_var, b_var):
    product = torch_expectation(torch.tanh, q, c).item()
    square = torch_expectation(torch.tanh, q, 1.0).item()
    slopes = torch_expectation(torch_tanh_slope, q, c).item()
    close = {"rel": 1e-3, "abs": 1e-7}
    assert mf.mean_product(np.tanh, q, c) == pytest.approx(product, **close)
    expected = w_var * square + b_var
    assert mf.variance_map(q, w_var, b_var, np.tanh) == pytest.approx(expected, **close)
    expected = (w_var * product + b_var) / expected
    assert mf.correlation_map(c, q, w_var, b_var, np.tanh) == pytest.approx(expected, **close)
    assert mf.chi(c, q, w_var, mf.tanh_slope) == pytest.approx(w_var * slopes, **close)


@given(z=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5))
def test_tanh_slope_equals_autograd(mf, z):
    tensor = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    torch.tanh(tensor).sum().backward()
    np.testing.assert_allclose(mf.tanh_slope(np.array(z)), tensor.grad.numpy(), atol=1e-15)


@given(c=st.floats(0.05, 0.95), q=st.floats(0.01, 1.0), w_var=W_VAR)
def test_chi_is_the_slope_of_the_covariance(mf, c, q, w_var):
    h = 1e-5
    above, below = (w_var * mf.mean_product(np.tanh, q, c + s) / q for s in (h, -h))
    assert mf.chi(c, q, w_var, mf.tanh_slope) == pytest.approx((above - below) / (2 * h), rel=1e-4)


@given(w_var=W_VAR, b_var=st.floats(0.01, 1.0))
def test_fixed_points_are_fixed_and_stable(mf, w_var, b_var):
    q = mf.variance_fixed_point(w_var, b_var, np.tanh)
    assert mf.variance_map(q, w_var, b_var, np.tanh) == pytest.approx(q, rel=1e-9)
    c = mf.correlation_fixed_point(q, w_var, b_var, np.tanh, mf.tanh_slope)
    assert mf.correlation_map(c, q, w_var, b_var, np.tanh) == pytest.approx(c, abs=1e-6)
    assert mf.chi(c, q, w_var, mf.tanh_slope) <= 1 + 1e-6
    assert (c == 1.0) == (mf.chi(1.0, q, w_var, mf.tanh_slope) <= 1.0)


def test_without_bias_small_weights_lose_the_signal(mf):
    assert mf.variance_fixed_point(0.5, 0.0, np.tanh) < 1e-9
    assert mf.variance_fixed_point(2.0, 0.0, np.tanh) > 0.1


@given(q=st.floats(0.01, 5.0), chi_1=st.floats(0.3, 2.0))
def test_variances_at_give_that_fixed_point_and_factor(mf, q, chi_1):
    w_var, b_var = mf.variances_at(q, chi_1, np.tanh, mf.tanh_slope)
    assert mf.variance_map(q, w_var, b_var, np.tanh) == pytest.approx(q, rel=1e-9)
    assert mf.chi(1.0, q, w_var, mf.tanh_slope) == pytest.approx(chi_1, rel=1e-9)


@pytest.mark.parametrize("b_var", [0.001, 0.05, 0.5])
def test_the_critical_line(mf, b_var):
    w_var = mf.critical_weight_variance(b_var, np.tanh, mf.tanh_slope)
    q = mf.variance_fixed_point(w_var, b_var, np.tanh)
    assert mf.chi(1.0, q, w_var, mf.tanh_slope) == pytest.approx(1.0, abs=1e-5) and w_var > 1
    if b_var == 0.05:  # the experiment has its own copy
        assert w_var == pytest.approx(1.76, abs=0.01)


@given(factor=st.floats(0.01, 0.99))
def test_depth_scale(mf, factor):
    scale = mf.depth_scale(factor)
    assert factor**scale == pytest.approx(np.exp(-1))
    assert mf.depth_scale(1 / factor) == pytest.approx(scale)
    assert mf.depth_scale(1.0) == np.inf


@given(q=st.floats(1e-3, 1e3), w_var=W_VAR, b_var=B_VAR)
def test_relu_in_closed_form(mf, q, w_var, b_var):
    relu = lambda z: np.maximum(z, 0)  # noqa: E731
    assert mf.variance_map(q, w_var, b_var, relu) == pytest.approx(w_var * q / 2 + b_var)
    assert mf.chi(1.0, q, w_var, lambda z: (z > 0) * 1.0) == pytest.approx(w_var / 2)


def test_network_and_its_backward_factor_equal_autograd(mf):
    depth, d = 5, 6
    x = np.random.default_rng(3).normal(size=(4, d)).astype(np.float32)
    zs, factor = mf.random_tanh_network(x, depth, 2.0, 0.3, np.random.default_rng(0))
    rng, a, layers = np.random.default_rng(0), torch.tensor(x), []
    for z in zs:
        w, b = (torch.tensor(rng.standard_normal(size, np.float32)) for size in ((d, d), d))
        a = (a @ w * (2.0 / d) ** 0.5 + b * 0.3**0.5).requires_grad_()
        np.testing.assert_allclose(z, a.detach().numpy(), rtol=1e-4, atol=1e-5)
        layers.append(a)
        a = torch.tanh(a)
    delta = torch.tensor(rng.standard_normal(x.shape, np.float32))
    (grad,) = torch.autograd.grad(layers[-1], layers[-3], delta)
    expected = (grad.square().sum() / delta.square().sum()).sqrt().item()  # two layers
    assert factor == pytest.approx(expected, rel=1e-4)


def test_correlations_equal_pytorch(mf):
    z = np.random.default_rng(0).normal(size=(3, 7))
    t = torch.tensor(z)
    expected = [
        torch.cosine_similarity(t[i], t[j], dim=0).item() for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    np.testing.assert_allclose(mf.correlations(z), expected, rtol=1e-12)


# ---- statistics, symmetry, defaults ----


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_hooks_return_what_autograd_returns(load, activation):
    module = load("layer_statistics_torch")
    model = module.network(activation, 2.0)
    x, last = torch.randn(3, module.WIDTH), torch.randn(3, module.WIDTH)
    activations, deltas = module.layer_statistics(model, x, last)
    assert len(activations) == len(deltas) == module.DEPTH
    a, zs = x, []
    for layer in model:
        a = layer(a)
        if isinstance(layer, nn.Linear):
            assert layer.weight.var().item() * module.WIDTH == pytest.approx(2.0, rel=0.05)
            assert not layer.bias.any()
            zs.append(a)
    torch.testing.assert_close(activations[-1], a)
    for ours, theirs in zip(deltas, torch.autograd.grad(a, zs, last), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in model)
    assert module.rms(torch.tensor([3.0, 4.0])) == pytest.approx(12.5**0.5)


def test_units_are_counted(load):
    module, layer = load("symmetry_torch"), nn.Linear(2, 4)
    nn.init.constant_(layer.weight, 1.0)
    nn.init.zeros_(layer.bias)
    assert module.different_units(layer) == 1
    layer.bias.data[2] = 1.0
    layer.weight.data[3, 0] = 2.0
    assert module.different_units(layer) == 3


def test_share_of_the_input(load):
    module = load("defaults_torch")
    layer = nn.Linear(2, 1)
    nn.init.ones_(layer.weight)
    nn.init.constant_(layer.bias, 1.0)
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # z = 3 and -1: mean 1, variance 4
    with torch.no_grad():
        assert module.relu_signal([layer], x) == (5.0, pytest.approx(0.8))
        last = nn.Linear(1, 1)
        nn.init.ones_(last.weight)
        nn.init.zeros_(last.bias)
        assert module.relu_signal([layer, last], x) == (4.5, pytest.approx(0.5))  # 3 and 0


def test_keras_has_the_same_share(load):
    import keras

    module = load("defaults_tensorflow")
    layers = [keras.layers.Dense(1, kernel_initializer="ones") for _ in range(2)]
    x = np.array([[1.0, 2.0], [-1.0, 0.0]], np.float32)  # z = 3 and -1
    assert module.relu_signal(layers, x) == (4.5, pytest.approx(0.5))


# ---- experiment and exercises ----


@pytest.mark.parametrize("w_var", [0.3, 1.0, 4.0, 10.0])
def test_the_experiment_has_the_same_depth_scales(load, mf, w_var):
    module = load("experiment_trainable_depth")
    q = mf.variance_fixed_point(w_var, module.B_VAR, np.tanh)
    c = mf.correlation_fixed_point(q, w_var, module.B_VAR, np.tanh, mf.tanh_slope)
    expected = [mf.depth_scale(mf.chi(x, q, w_var, mf.tanh_slope)) for x in (c, 1.0)]
    np.testing.assert_allclose(module.depth_scales(w_var), expected, rtol=1e-2)
    critical = mf.critical_weight_variance(module.B_VAR, np.tanh, mf.tanh_slope)
    assert module.critical_weight_variance() == pytest.approx(critical, rel=1e-9)


def test_the_experiment_computes_a_tanh_network(load):
    module, g = load("experiment_trainable_depth"), torch.Generator().manual_seed(0)
    sizes = [(2, 5, 4), (2, 4, 4), (2, 4, 3)]
    weights = [torch.randn(s, generator=g) for s in sizes]
    biases = [torch.randn(2, 1, s[2], generator=g) for s in sizes]
    x = torch.randn(6, 5, generator=g)
    z = module.logits(weights, biases, x)
    for s in range(2):
        a = x
        for l in range(2):
            a = torch.tanh(a @ weights[l][s] + biases[l][s])
        torch.testing.assert_close(z[s], a @ weights[2][s] + biases[2][s])


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_correlation_with_dropout_is_a_fixed_point(load, mf, p):
    module = load("exercise_dropout_depth_numpy")
    w_var, b_var, slope = 2.5, 0.1, torch_tanh_slope
    c, xi = module.with_dropout(w_var, b_var, p)
    square = lambda q: torch_expectation(torch.tanh, q, 1.0).item()  # noqa: E731
    q = w_var + b_var
    for _ in range(200):
        q = w_var * square(q) / (1 - p) + b_var
    if p == 0.0:  # two passes are one: c stays at 1
        assert c == pytest.approx(1.0, abs=1e-6)
    else:
        product = torch_expectation(torch.tanh, q, c).item()
        assert c == pytest.approx((w_var * product + b_var) / q, abs=1e-3) and c < 0.9
    chi = w_var * torch_expectation(slope, q, min(c, 1.0)).item()
    assert np.exp(-1 / xi) == pytest.approx(chi, rel=1e-3)
    assert module.mean_product(np.tanh, 1.0, 0.5) == pytest.approx(
        mf.mean_product(np.tanh, 1.0, 0.5), rel=1e-5
    )
