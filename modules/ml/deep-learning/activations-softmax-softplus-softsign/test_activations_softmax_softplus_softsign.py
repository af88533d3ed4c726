"""What must hold beyond the snippets' own asserts: agreement with PyTorch, extremes, masks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import check_grad

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6))
LOGITS = st.one_of(
    st.floats(-30, 30), st.sampled_from([0.0, 1e4, -1e4, 1e300, -1e300, 1e308, -1e308])
)
Z = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=LOGITS))
MODERATE = SHAPES.flatmap(lambda s: arrays(np.float64, s, elements=st.floats(-30, 30)))
X = arrays(
    np.float64,
    12,
    elements=st.one_of(
        st.floats(-30, 30), st.sampled_from([0.0, 1e-300, 700.0, -700.0, 1e4, -1e4, 1e308, -1e308])
    ),
)
SEEDS = st.integers(0, 2**31 - 1)
TORCH = {
    "softmax": lambda t: F.softmax(t, dim=-1),
    "log_softmax": lambda t: F.log_softmax(t, dim=-1),
    "log_sum_exp": lambda t: torch.logsumexp(t, dim=-1),
}


@pytest.fixture(autouse=True)
def strict():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        yield


def close(ours, theirs, rtol=1e-12, atol=1e-14):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def autograd(f, x, weights=None):
    tensor = torch.tensor(x, requires_grad=True)
    y = f(tensor)
    y.backward(torch.ones_like(y) if weights is None else torch.tensor(weights))
    return y.detach().numpy(), tensor.grad.numpy()


@pytest.mark.parametrize("name", TORCH)
@given(z=Z)
def test_values_equal_torch_for_any_finite_logits(load, name, z):
    ours = getattr(load("softmax_numpy"), name)(z)
    close(ours, TORCH[name](torch.tensor(z)))
    assert not np.isnan(ours).any()


@given(z=MODERATE, seed=SEEDS)
def test_backward_passes_equal_autograd(load, z, seed):
    module, g = load("softmax_numpy"), np.random.default_rng(seed).normal(size=z.shape)
    p = module.softmax(z)
    close(module.softmax_backward(g, p), autograd(TORCH["softmax"], z, g)[1])
    close(module.log_softmax_backward(g, p), autograd(TORCH["log_softmax"], z, g)[1])
    close(p, autograd(TORCH["log_sum_exp"], z)[1])  # the gradient of log-sum-exp is softmax


@given(z=arrays(np.float64, 5, elements=st.floats(-8, 8)))
def test_jacobian_is_autograds_and_its_spectrum_is_bounded(load, z):
    module = load("softmax_numpy")
    p = module.softmax(z)
    jacobian = module.softmax_jacobian(p)
    close(jacobian, torch.autograd.functional.jacobian(TORCH["softmax"], torch.tensor(z)))
    values, sorted_p = np.linalg.eigvalsh(jacobian)[::-1], np.sort(p)[::-1]
    assert np.all(values <= sorted_p + 1e-12) and np.all(values[:-1] >= sorted_p[1:] - 1e-12)
    largest = p.max()
    assert 5 / 4 * largest * (1 - largest) - 1e-12 <= values[0] <= 2 * (p * (1 - p)).max() + 1e-12
    assert values[0] <= 0.5 + 1e-12
    close(values.sum(), 1 - (p**2).sum())


@given(z=MODERATE, temperature=st.sampled_from([1e-300, 0.01, 0.5, 1.0, 3.0, 1e9]))
def test_temperature_divides_the_logits_and_keeps_the_order(load, z, temperature):
    module = load("softmax_numpy")
    p = module.softmax(z, temperature)
    if temperature > 1e-3:
        close(p, F.softmax(torch.tensor(z) / temperature, dim=-1), rtol=1e-10)
    close(p.sum(axis=-1), 1.0)
    top = z.max(axis=-1, keepdims=True)
    assert np.all(np.where(z == top, p, 0).max(axis=-1) == p.max(axis=-1))


def test_limits_of_the_temperature(load):
    softmax = load("softmax_numpy").softmax
    z = np.array([[3.0, 1.0, 3.0], [1e308, -1e308, 0.0]])
    close(softmax(z, 1e-300), [[0.5, 0, 0.5], [1, 0, 0]])  # ties share
    close(softmax(z[:1], 1e12), np.full((1, 3), 1 / 3), rtol=1e-9)


@given(z=MODERATE, shift=st.floats(-50, 50))
def test_log_sum_exp_is_a_smooth_maximum(load, z, shift):
    module = load("softmax_numpy")
    value, top = module.log_sum_exp(z), z.max(axis=-1)
    assert np.all(top <= value) and np.all(value <= top + np.log(z.shape[1]) + 1e-12)
    close(module.log_sum_exp(z + shift), value + shift, atol=1e-12)
    close(module.softmax(z + shift), module.softmax(z), rtol=1e-11)


@given(z=MODERATE)
def test_entropy(load, z):
    module = load("softmax_numpy")
    p = module.softmax(z)
    close(module.entropy(p), torch.distributions.Categorical(torch.tensor(p)).entropy(), atol=1e-12)
    assert module.entropy(np.array([1.0, 0.0])) == 0.0


def test_entropy_slope_in_the_temperature(load):
    module, z = load("softmax_numpy"), np.array([1.0, -2.0, 0.3])
    for t in (0.5, 2.0):
        p, h = module.softmax(z, t), 1e-5
        slope = (
            module.entropy(module.softmax(z, t + h)) - module.entropy(module.softmax(z, t - h))
        ) / (2 * h)
        assert slope == pytest.approx((p @ z**2 - (p @ z) ** 2) / t**3, rel=1e-7)


@given(z=Z, seed=SEEDS)
def test_masked_softmax_equals_safe_softmax(load, z, seed):
    module = load("softmax_numpy")
    z = np.clip(z, -1e300, 1e300)
    keep = np.random.default_rng(seed).random(z.shape) < 0.6
    keep[0] = False
    ours = module.masked_softmax(z, keep)
    close(ours, torch._safe_softmax(torch.tensor(np.where(keep, z, -np.inf)), -1))
    assert not ours[~keep].any() and not ours[0].any()
    assert not module.softmax_backward(np.ones_like(z), ours)[0].any()
    low = module.masked_softmax(np.array([-1e10, 5.0]), np.array([True, False]))
    assert low.tolist() == [1.0, 0.0]  # a finite number as mask would win here


@settings(deadline=None)
@given(x=X, beta=st.sampled_from([0.1, 1.0, 7.0]))
def test_softplus_equals_torch(load, x, beta):
    module = load("softplus_softsign_numpy")
    value, slope = autograd(lambda t: F.softplus(t, beta, threshold=600.0), x)  # exact form
    close(module.softplus(x, beta), value)
    close(module.softplus_derivative(x, beta), slope)


@given(
    y=arrays(
        np.float64,
        6,
        elements=st.one_of(st.floats(1e-12, 50), st.sampled_from([1e-300, 1e4, 1e308])),
    ),
    beta=st.sampled_from([0.1, 1.0, 7.0]),
)
def test_softplus_inverse(load, y, beta):
    module = load("softplus_softsign_numpy")
    x = module.softplus_inverse(y, beta)
    close(module.softplus(x, beta), y, rtol=1e-10, atol=0)
    small = y[y < 600 / beta]
    close(module.softplus_inverse(small, beta), np.log(np.expm1(beta * small)) / beta, atol=1e-10)


def test_softplus_keeps_small_values_in_both_precisions(load):
    softplus = load("softplus_softsign_numpy").softplus
    x = np.array([-20.0, -60.0, -80.0])
    close(softplus(x), np.exp(x), rtol=1e-8, atol=0)
    close(softplus(x.astype(np.float32)), np.exp(x), rtol=1e-5, atol=0)
    assert np.isfinite(softplus(np.array([6e4, -6e4], dtype=np.float16))).all()


@given(x=X)
def test_softsign_equals_torch(load, x):
    module = load("softplus_softsign_numpy")
    small = x[np.abs(x) < 1e5]  # beyond, autograd subtracts two nearly equal numbers
    value, slope = autograd(F.softsign, small)
    close(module.softsign(small), value)
    close(module.softsign_derivative(small), slope, rtol=1e-9)
    assert (
        np.all(np.abs(module.softsign(x)) <= 1) and np.isfinite(module.softsign_derivative(x)).all()
    )


def test_softsign_slope_far_out(load):
    derivative = load("softplus_softsign_numpy").softsign_derivative
    x = np.array([-1e6, 1e9, 1e150])
    close(derivative(x), (1 + np.abs(x)) ** -2.0, rtol=1e-12, atol=0)
    assert derivative(np.array([3e38], dtype=np.float32)) == 0.0


def test_torch_snippet(load):
    snippet = load("softmax_softplus_softsign_torch")
    x, weights = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 5.0])
    value, gradient = snippet.value_and_gradient(torch.square, x, weights)
    close(value, [1.0, 4.0])
    close(gradient, [6.0, -20.0])
    assert (
        np.abs(snippet.softsign_slope_error(np.array([0.5, 3.0, -4.0]), torch.float64)).max()
        < 1e-14
    )


def test_pitfalls_are_right_where_they_are_not_wrong(load):
    pitfalls = load("pitfalls_torch")
    z = torch.tensor([[0.3, -1.0, 2.0], [5.0, 5.0, 1.0]])
    close(pitfalls.softmax_naive(z), F.softmax(z, -1), rtol=1e-6)
    y = torch.tensor([0.5, 3.0], dtype=torch.float64)
    close(F.softplus(pitfalls.softplus_inverse_naive(y)), y)
    keep = torch.tensor([[True, False, True], [False, True, True]])
    expected = F.softmax(z.masked_fill(~keep, -torch.inf), -1)
    close(pitfalls.repaired_after(z, keep), expected)
    close(pitfalls.repaired_before(z, keep), expected)


@pytest.mark.parametrize(("name", "size"), [("temperature", 1), ("vector", 6), ("matrix", 12)])
def test_maps_and_their_gradients(load, name, size):
    experiment, rng = load("experiment_temperature_scaling"), np.random.default_rng(0)
    z, y, theta = 3 * rng.normal(size=(20, 3)), rng.integers(3, size=20), rng.normal(size=size)

    def loss(t):
        return experiment.loss_and_grad(t, name, z, y)[0]

    assert check_grad(loss, lambda t: experiment.loss_and_grad(t, name, z, y)[1], theta) < 1e-6
    mapped = torch.tensor(experiment.apply_map(name, theta, z))
    assert loss(theta) == pytest.approx(F.cross_entropy(mapped, torch.tensor(y)).item())
    w, b = theta[:-3], theta[-3:]
    by_hand = {
        "temperature": lambda: theta * z,
        "vector": lambda: w * z + b,
        "matrix": lambda: z @ w.reshape(3, 3) + b,
    }
    close(mapped, by_hand[name]())
    close(experiment.log_softmax(z), F.log_softmax(torch.tensor(z), -1))
    identity = experiment.apply_map("none", np.zeros(0), z)
    assert identity is z and len(experiment.fit_map("none", z, y)) == 0


def test_fit_finds_the_temperature_of_drawn_labels(load):
    experiment, rng = load("experiment_temperature_scaling"), np.random.default_rng(1)
    z = 4 * rng.normal(size=(20_000, 4))
    p = np.exp(experiment.log_softmax(z / 2.5))
    y = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=3)
    theta = experiment.fit_map("temperature", z, y)
    assert 1 / theta[0] == pytest.approx(2.5, rel=0.05)
    q = experiment.log_softmax(theta[0] * z)
    expected_logit = (np.exp(q) * z).sum(axis=1).mean()
    assert expected_logit == pytest.approx(z[np.arange(len(y)), y].mean(), abs=1e-2)
    assert experiment.calibration_error(np.exp(q), y) < 0.02
    assert experiment.calibration_error(np.exp(experiment.log_softmax(z)), y) > 0.05


def test_calibration_error_by_hand(load):
    error = load("experiment_temperature_scaling").calibration_error
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    y = np.array([0, 1, 1, 0])
    # bins: {0.9, 0.9} half right: |1 - 1.8| = 0.8; {0.6} right: 0.4; {1.0} right: 0
    assert error(p, y) == pytest.approx((0.8 + 0.4 + 0.0) / 4)
    # the 1.0 is wrong now and has its own, last bin: {0.9, 0.9} right: 0.2; {0.6}: 0.4; {1.0}: 1
    assert error(p, np.array([0, 0, 1, 1])) == pytest.approx((0.2 + 0.4 + 1.0) / 4)
    rows = np.array([[0.1], [0.3]])
    assert load("experiment_temperature_scaling").ece_range(rows) == "0.200 (0.100 to 0.300)"


def test_gap_and_verdict(load):
    experiment = load("experiment_temperature_scaling")
    base, step = np.zeros((experiment.SEEDS, 8)), np.arange(experiment.SEEDS) / 100
    table = {name: base.copy() for name in experiment.MAPS}
    table["none"][:, [0, 4, 5]] = 0.3, 0.6, 0.9
    table["vector"][:, 0] = table["matrix"][:, 0] = step
    mean, error = experiment.gap(table, "vector")
    assert mean == pytest.approx(0.045)
    assert error == pytest.approx(2 * (sum((step - 0.045) ** 2) / 9) ** 0.5 / 10**0.5)
    runs = experiment.SEEDS
    assert experiment.judge({"a": table}) == (runs, runs, "reproduced")
    table["vector"][:, 0] = -step  # vector is better
    assert experiment.judge({"a": table}) == (runs, runs, "partly")
    table["none"][0, [0, 5]] = -0.1, 0.5  # one seed against both other claims
    assert experiment.judge({"a": table}) == (runs - 1, runs - 1, "not at this size")


def test_networks_of_the_experiment(load):
    experiment = load("experiment_temperature_scaling")
    x, y = experiment.load_split(3, 0.0)
    again, noisy = experiment.load_split(3, 0.2)
    assert np.array_equal(x, again) and 0.0 <= x.min() < x.max() <= 1.0
    assert 0.13 < np.mean(y != noisy) < 0.23  # 20 % redrawn, a tenth of them to the same label
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 5, 4), (2, 1, 4), (2, 4, 3), (2, 1, 3)]
    params = [torch.randn(*shape, generator=generator) for shape in shapes]
    batch = torch.randn(2, 7, 5, generator=generator)
    w1, b1, w2, b2 = (p[1] for p in params)
    close(
        experiment.logits(params, batch)[1],
        torch.relu(batch[1] @ w1 + b1) @ w2 + b2,
        rtol=1e-4,
        atol=1e-5,
    )


def test_exercises(load):
    attention, bottleneck = load("exercise_attention_numpy"), load("exercise_bottleneck_numpy")
    assert attention.sharpness(np.zeros((3, 4))) == (0.25, 0.75)
    close(attention.scores(4, 2.0, 5, 3) * 2, attention.scores(4, 1.0, 5, 3))
    z = np.array([-700.0, 3.0, 800.0, 799.0])
    close(bottleneck.log_softmax(z), F.log_softmax(torch.tensor(z), -1))
    left, right = (
        bottleneck.merge((z[0], 1.0), (z[1], 1.0)),
        bottleneck.merge((z[2], 1.0), (z[3], 1.0)),
    )
    m, s = bottleneck.merge(left, right)
    assert m == 800.0 and m + np.log(s) == pytest.approx(torch.logsumexp(torch.tensor(z), 0).item())
