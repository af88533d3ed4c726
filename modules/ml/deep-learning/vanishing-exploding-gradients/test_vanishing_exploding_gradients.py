"""What must hold for vanishing and exploding gradients beyond the snippets' own asserts."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "identity": lambda z: z,
}
NAMES = st.sampled_from(list(TORCH))
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def jp(load):
    return load("jacobian_product_numpy")


@pytest.fixture(scope="module")
def spectrum(load):
    return load("spectrum_numpy")


@pytest.fixture(scope="module")
def recurrent(load):
    return load("recurrent_numpy")


def torch_pre_activations(x, weights, name):
    """Return the pre-activations of all layers as tensors with a graph."""
    a, z = torch.tensor(x), []
    for w in weights:
        z.append(a @ torch.tensor(w, requires_grad=True))
        a = TORCH[name](z[-1])
    return z


# ---- a feedforward network ----


@given(name=NAMES, z=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6))
def test_activations_and_slopes_equal_pytorch(jp, name, z):
    tensor = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = TORCH[name](tensor) * 1.0
    value.sum().backward()
    a, slope = jp.activate(np.array(z, dtype=np.float64), name)
    np.testing.assert_allclose(a, value.detach().numpy(), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=1e-6, atol=1e-15)
    assert slope.max() <= (0.25 if name == "sigmoid" else 1.0)


@given(
    name=NAMES,
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    n=st.integers(1, 4),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 100),
)
def test_deltas_and_jacobian_equal_autograd(jp, name, sizes, n, scale, seed):
    rng = np.random.default_rng(seed)
    weights = jp.init_weights(sizes, scale, rng)
    x, last = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
    inputs, slopes = jp.forward(x, weights, name)
    z = torch_pre_activations(x, weights, name)
    expected = torch.autograd.grad(z[-1], z, torch.tensor(last), retain_graph=True)
    deltas = jp.backward(last, weights, slopes)
    assert len(deltas) == len(inputs) == len(expected) == len(weights)
    for ours, theirs in zip(deltas, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), **CLOSE)
    product = jp.jacobian(weights, slopes, n - 1)
    for k in range(sizes[-1]):
        if len(weights) > 1:
            (row,) = torch.autograd.grad(z[-1][n - 1, k], z[0], retain_graph=True)
            np.testing.assert_allclose(product[k], row[n - 1].numpy(), **CLOSE)
    np.testing.assert_allclose(last[n - 1] @ product, deltas[0][n - 1], **CLOSE)


def test_initial_weights_have_the_stated_variance(jp):
    (w,) = jp.init_weights([400, 300], 2.0, np.random.default_rng(0))
    assert w.shape == (400, 300) and abs(w.var() * 400 - 2.0) < 0.05 and abs(w.mean()) < 1e-3


@given(gain=st.sampled_from([0.5, 1.0, 4.0]), seed=st.integers(0, 50))
def test_the_norm_of_delta_stays_within_the_bounds(jp, gain, seed):
    rng = np.random.default_rng(seed)
    weights = jp.init_weights([8] * 6, gain, rng)
    _, slopes = jp.forward(rng.normal(size=(1, 8)), weights, "sigmoid")
    deltas = jp.backward(rng.normal(size=(1, 8)), weights, slopes)
    bound = np.prod([np.linalg.norm(w, 2) / 4 for w in weights[1:]])
    product = np.linalg.norm(jp.jacobian(weights, slopes, 0), 2)
    ratio = np.linalg.norm(deltas[0]) / np.linalg.norm(deltas[-1])
    assert ratio <= product * (1 + 1e-9) <= bound * (1 + 1e-9)


def test_in_a_homogeneous_network_every_layer_has_the_same_product(jp):
    rng = np.random.default_rng(0)
    weights = jp.init_weights([6, 9, 4, 7, 3], 2.0, rng)
    inputs, slopes = jp.forward(rng.normal(size=(5, 6)), weights, "relu")
    deltas = jp.backward(rng.normal(size=(5, 3)), weights, slopes)
    triples = zip(weights, inputs, deltas, strict=True)
    products = [np.sum(w * (a.T @ d)) for w, a, d in triples]
    np.testing.assert_allclose(products, products[0], rtol=1e-10)


# ---- random products ----


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 32, 101])
def test_digamma_equals_pytorch(spectrum, m):
    expected = torch.special.digamma(torch.tensor(m / 2, dtype=torch.float64)).item()
    assert abs(spectrum.digamma_half(m) - expected) < 1e-12


@pytest.mark.parametrize(("n", "g"), [(1, 1.0), (2, 0.5), (5, 2.0)])
def test_exponents_are_those_of_long_products(spectrum, n, g):
    k = 20_000
    factors = spectrum.random_factors(k, n, g, np.random.default_rng(0))
    exact = spectrum.exact_exponents(n, g)
    assert factors.shape == (k, n, n) and abs(factors.var() * n / g**2 - 1) < 0.05
    assert np.all(np.diff(exact) < 0)
    measured = spectrum.log_stretches(factors)[-1] / k
    np.testing.assert_allclose(measured, exact, atol=5 * 1.2 / np.sqrt(k))


def test_stretches_equal_the_volume_and_the_singular_values(spectrum):
    factors = spectrum.random_factors(12, 3, 1.0, np.random.default_rng(1))
    product = torch.linalg.multi_dot([torch.tensor(f) for f in factors[::-1]])
    logs = spectrum.log_stretches(factors)
    assert logs.shape == (12, 3)
    volume = torch.linalg.slogdet(product).logabsdet.item()
    assert abs(logs[-1].sum() - volume) < 1e-9
    _, r = torch.linalg.qr(product)
    np.testing.assert_allclose(logs[-1], r.diag().abs().log().numpy(), rtol=1e-8, atol=1e-8)


# ---- recurrent networks ----


@given(seed=st.integers(0, 200), size=st.integers(1, 6))
def test_radius_and_norms_of_powers(recurrent, seed, size):
    w = np.random.default_rng(seed).normal(size=(size, size))
    expected = torch.linalg.eigvals(torch.tensor(w)).abs().max().item()
    assert abs(recurrent.spectral_radius(w) - expected) < 1e-9
    norms = recurrent.power_norms(w, 5)
    assert norms[0] == 1.0 and len(norms) == 6
    for k, norm in enumerate(norms):
        power = torch.linalg.matrix_power(torch.tensor(w), k)
        np.testing.assert_allclose(norm, torch.linalg.matrix_norm(power, 2).item(), rtol=1e-9)
        assert expected**k <= norm * (1 + 1e-6) and norm <= norms[1] ** k * (1 + 1e-9)


@given(name=st.sampled_from(["tanh", "relu"]), seed=st.integers(0, 200), steps=st.integers(1, 8))
def test_state_jacobian_equals_autograd(recurrent, name, seed, steps):
    rng = np.random.default_rng(seed)
    w, x, h0 = rng.normal(size=(4, 4)), rng.normal(size=(steps, 4)), rng.normal(size=4)
    states = recurrent.run_states(w, x, h0, name)

    def last_state(h):
        for x_t in torch.tensor(x):
            h = TORCH[name](h @ torch.tensor(w) + x_t)
        return h

    np.testing.assert_allclose(states[-1], last_state(torch.tensor(h0)).numpy(), **CLOSE)
    expected = torch.autograd.functional.jacobian(last_state, torch.tensor(h0)).numpy()
    np.testing.assert_allclose(recurrent.state_jacobian(w, states, name), expected, **CLOSE)


def test_shares_of_the_steps_equal_autograd(recurrent):
    rng = np.random.default_rng(0)
    w, x, h0, grad = (rng.normal(size=s) for s in ((4, 4), (6, 4), 4, 4))
    states = recurrent.run_states(w, x, h0, "tanh")
    copies = [torch.tensor(w, requires_grad=True) for _ in x]  # one w per step
    h = torch.tensor(h0)
    for copy, x_t in zip(copies, torch.tensor(x), strict=True):
        h = torch.tanh(h @ copy + x_t)
    h.backward(torch.tensor(grad))
    expected = [copy.grad.norm().item() for copy in copies]
    np.testing.assert_allclose(
        recurrent.weight_gradient_shares(w, states, grad), expected, rtol=1e-9
    )


# ---- frameworks, experiment, exercises ----


def test_layer_gradients_equal_in_all_three(load, jp):
    rng = np.random.default_rng(3)
    weights = jp.init_weights([5, 7, 6, 4], 1.0, rng)
    x = rng.normal(size=(3, 5))
    _, slopes = jp.forward(x, weights, "relu")
    ours = jp.backward(np.ones((3, 4)), weights, slopes)
    tensorflow_side = load("layer_gradients_tensorflow").layer_gradients(weights, x, "relu")
    z = torch_pre_activations(x, weights, "relu")
    torch_side = torch.autograd.grad(z[-1].sum(), z)
    for a, b, c in zip(ours, tensorflow_side, torch_side, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)
        np.testing.assert_allclose(a, c.numpy(), **CLOSE)


def test_hooks_return_the_gradient_of_each_linear_layer(load):
    module = load("layer_gradients_torch")
    torch.manual_seed(0)
    model = module.relu_network(2, 6, 3).double()
    x, y = torch.randn(4, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    deltas = module.layer_gradients(model, x, y)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    assert len(deltas) == 3
    for delta, layer in zip(deltas, linear, strict=True):
        torch.testing.assert_close(delta.sum(dim=0), layer.bias.grad)


def test_the_experiment_normalizes_and_clips_as_it_says(load):
    module = load("experiment_cures")
    g = torch.Generator().manual_seed(0)
    z = torch.randn(2, 7, 4, generator=g) * 3 + 1
    torch.testing.assert_close(
        module.standardize(z, "batch", 7)[1],
        torch.nn.functional.batch_norm(z[1], None, None, training=True),
        atol=1e-4,
        rtol=1e-4,
    )
    stored = module.standardize(z, "batch", 5)[:, :5]
    torch.testing.assert_close(stored, module.standardize(z[:, :5], "batch", 5))
    torch.testing.assert_close(
        module.standardize(z, "layer", 7), torch.nn.functional.layer_norm(z, (4,))
    )
    assert module.standardize(z, "", 7) is z

    grads = [torch.randn(shape, generator=g) for shape in ((2, 3, 4), (5, 2, 4, 4))]
    small = grads[0].clone(), grads[1].clone()
    for g_ in small:
        g_.select(g_.ndim - 3, 1).mul_(1e-3)  # the second network is below the threshold
    clipped = module.clip(list(small), 1.0)
    first = [small[0][0].clone(), small[1][:, 0].clone()]
    params = [torch.nn.Parameter(torch.zeros_like(p)) for p in first]
    for p, grad in zip(params, first, strict=True):
        p.grad = grad
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    torch.testing.assert_close(clipped[0][0], params[0].grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(clipped[1][:, 0], params[1].grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(clipped[0][1], small[0][1])


@pytest.mark.parametrize("name", ["ReLU, 2/n", "ReLU, 1/n, skip, layer norm"])
def test_the_experiment_has_the_network_that_it_describes(load, name):
    module = load("experiment_cures")
    recipe = module.RECIPES[name]
    params = module.init(recipe.gain, 64, 2)
    assert abs(params[1].var().item() * module.WIDTH - recipe.gain) < 0.05 * recipe.gain
    assert torch.equal(params[0][0], params[0][module.SEEDS])  # copies share their seeds
    assert not torch.equal(params[0][0], params[0][1])
    x = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    h = module.hidden(params, recipe, x, 6)
    assert len(h) == module.LAYERS - 1 and h[0].shape == (2 * module.SEEDS, 6, module.WIDTH)
    z = h[3][2] @ params[1][3, 2]
    if recipe.norm:
        z = torch.nn.functional.layer_norm(z, (module.WIDTH,))
    expected = torch.relu(z) + (h[3][2] if recipe.skip else 0.0)
    torch.testing.assert_close(h[4][2], expected, rtol=1e-4, atol=1e-5)


@example(w=-8.0, b=4.0)  # jumps to and fro, so the number of steps counts
@given(w=st.floats(1.0, 5.0), b=st.floats(-3.0, 1.0))
def test_the_gradient_of_the_cliff_equals_autograd(load, w, b):
    loss, dw, db = load("exercise_cliff_numpy").loss_and_gradient(np.array(w), np.array(b))
    wt = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    bt = torch.tensor(b, dtype=torch.float64, requires_grad=True)
    h = torch.tensor(0.5, dtype=torch.float64)
    for _ in range(50):
        h = wt * torch.sigmoid(h) + bt
    expected = (torch.sigmoid(h) - 0.7) ** 2
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose([dw, db], [wt.grad.item(), bt.grad.item()], rtol=1e-5, atol=1e-9)


@given(bias=st.floats(-5.0, 8.0))
def test_half_life_and_bias_are_inverse(load, bias):
    module = load("exercise_forget_gate_numpy")
    life = module.half_life(bias)
    assert abs(torch.sigmoid(torch.tensor(bias, dtype=torch.float64)).item() ** life - 0.5) < 1e-9
    assert abs(module.bias_for(life) - bias) < 1e-6


def test_clipping_by_value_turns_and_by_norm_scales(load):
    clipped = load("pitfalls_torch").clipped
    grad = torch.tensor([3.0, -40.0])
    torch.testing.assert_close(clipped(grad, by_value=1.0), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(clipped(grad, by_norm=1.0), grad / grad.norm())
    torch.testing.assert_close(clipped(grad, by_norm=100.0), grad)


def test_keras_clips_each_variable_or_all_together(load):
    steps = load("layer_gradients_tensorflow").clipped_steps
    gradients = [np.array([3.0, 4.0], np.float32), np.array([0.5], np.float32)]
    for ours, expected in zip(steps(gradients, clipnorm=1.0), ([0.6, 0.8], [0.5]), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)
    total = np.sqrt(25.25)
    for ours, g in zip(steps(gradients, global_clipnorm=1.0), gradients, strict=True):
        np.testing.assert_allclose(ours, g / total, rtol=1e-5)
