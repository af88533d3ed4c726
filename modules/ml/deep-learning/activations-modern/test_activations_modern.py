"""Smooth activations and gated layers equal PyTorch's, for random and extreme inputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

SPECIAL = [0.0, -0.0, 1e-300, -1e-300, -1e-9, 1e-9, -40.0, 40.0, -750.0, 750.0, -1e300, 1e300]
VALUES = st.one_of(st.sampled_from(SPECIAL), st.floats(-30.0, 30.0), st.floats(-1e300, 1e300))
X = arrays(np.float64, array_shapes(min_dims=1, max_dims=3, max_side=5), elements=VALUES)
SEEDS = st.integers(0, 2**32 - 1)
TORCH = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "swish": F.silu,
    "mish": F.mish,
}
DERIVATIVE = {
    "gelu": "gelu_derivative",
    "gelu_tanh": "gelu_tanh_derivative",
    "swish": "swish_derivative",
    "mish": "mish_derivative",
}
GATES = {
    "GLU": torch.sigmoid,
    "Bilinear": lambda z: z,
    "ReGLU": F.relu,
    "GEGLU": F.gelu,
    "SwiGLU": F.silu,
}


def with_slope(f, x):
    leaf = torch.tensor(x, requires_grad=True)
    y = f(leaf)
    (grad,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
    return y.detach().numpy(), grad.numpy()


def close(actual, expected, rtol=1e-12, atol=1e-14):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


# ---- the functions ----


@pytest.mark.parametrize("name", TORCH)
@given(x=X)
def test_value_and_derivative_equal_torch(load, name, x):
    snippet = load("modern_numpy")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value = getattr(snippet, name)(x)
        slope = getattr(snippet, DERIVATIVE[name])(x)
    inside = np.clip(x, -1e3, 1e3)  # torch itself returns NaN for 1e300 ** 3
    expected, expected_slope = with_slope(TORCH[name], inside)
    close(np.where(np.abs(x) > 1e3, np.maximum(inside, 0), value), expected)
    close(value[np.abs(x) > 1e3], np.maximum(x, 0)[np.abs(x) > 1e3])
    close(slope, expected_slope)
    assert value.shape == slope.shape == x.shape


@given(x=X, beta=st.floats(0.0, 10.0))
def test_swish_with_beta_equals_autograd(load, x, beta):
    snippet = load("modern_numpy")
    x = np.clip(x, -1e290, 1e290)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, slope = snippet.swish(x, beta), snippet.swish_derivative(x, beta)
    inside = np.clip(x, -1e6, 1e6)
    same = np.abs(x) <= 1e6
    expected, expected_slope = with_slope(lambda t: t * torch.sigmoid(beta * t), inside)
    close(value[same], expected[same])
    close(slope[same], expected_slope[same], rtol=1e-9, atol=1e-12)


def test_beta_one_is_silu_zero_is_half_the_identity_and_large_is_relu(load):
    swish = load("modern_numpy").swish
    x = np.linspace(-5.0, 5.0, 21)
    close(swish(x), F.silu(torch.tensor(x)).numpy())
    close(swish(x, 0.0), x / 2)
    close(swish(x, 1e4), np.maximum(x, 0.0))
    assert np.abs(swish(x, 1.702) - swish(x)).max() > 0.1  # other betas are other functions


@given(x=arrays(np.float64, 5, elements=VALUES))
def test_sigmoid_and_normal_cdf_equal_torch(load, x):
    snippet = load("modern_numpy")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        close(snippet.sigmoid(x), torch.sigmoid(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-300)
        close(snippet.normal_cdf(x), torch.special.ndtr(torch.tensor(x)).numpy(), rtol=1e-9)


def test_the_left_tail_keeps_its_digits(load):
    snippet = load("modern_numpy")
    x = np.array([-6.0, -10.0, -20.0, -30.0])
    close(snippet.gelu(x), x * np.exp(torch.special.log_ndtr(torch.tensor(x)).numpy()), 1e-9, 0)
    v = 2 * math.sqrt(2 / math.pi) * (x[:2] + 0.044715 * x[:2] ** 3)
    close(snippet.gelu_tanh(x[:2]), x[:2] * np.exp(v), 1e-6, 0)
    close(snippet.mish(x), x * np.exp(x), 0.01, 0)
    close(snippet.mish_derivative(x), (1 + x) * np.exp(x), 0.01, 0)


def test_float32_stays_float32(load):
    snippet = load("modern_numpy")
    x = np.array([-1e4, -1.0, 0.0, 2.0, 1e4], dtype=np.float32)
    for name in TORCH:
        for f in (getattr(snippet, name), getattr(snippet, DERIVATIVE[name])):
            assert f(x).dtype == np.float32 and np.isfinite(f(x)).all()


def test_torch_snippet_differentiates_and_finds_roots(load):
    snippet = load("modern_torch")
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    close(snippet.derivative(lambda t: t**3, x).numpy(), [12.0, 27.0])
    close(snippet.derivative(lambda t: t**3, x, order=2).numpy(), [-12.0, 18.0])
    assert snippet.root(lambda t: t**2 - 2, 0.0, 3.0) == pytest.approx(math.sqrt(2))
    assert snippet.root(lambda t: 1 - t, -3.0, 3.0) == pytest.approx(1.0)
    assert snippet.value(torch.square, 3.0) == 9.0
    at, error = snippet.largest_error(lambda t: t * torch.exp(-t), torch.zeros_like)
    assert at == pytest.approx(1.0) and error == pytest.approx(math.exp(-1))
    close(snippet.gelu_tanh(x).numpy(), F.gelu(x, approximate="tanh").numpy())
    close(snippet.gelu_sigmoid(x).numpy(), (x / (1 + torch.exp(-1.702 * x))).numpy())


# ---- gated layers ----


@pytest.mark.parametrize("name", GATES)
@given(z=arrays(np.float64, 6, elements=VALUES))
def test_gate_functions_equal_torch(load, name, z):
    snippet = load("gated_numpy")
    assert snippet.GATES[name] in (
        snippet.sigmoid,
        snippet.identity,
        snippet.relu,
        snippet.gelu,
        snippet.silu,
    )
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, slope = snippet.GATES[name](z)
    expected, expected_slope = with_slope(GATES[name], z)
    close(value, expected)
    close(slope, expected_slope)


@pytest.mark.parametrize("name", GATES)
@given(seed=SEEDS, scale=st.sampled_from([0.0, 1.0, 1e3]))
@settings(max_examples=15)
def test_gated_layer_equals_autograd(load, name, seed, scale):
    snippet, rng = load("gated_numpy"), np.random.default_rng(seed)
    x, grad_y = scale * rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    weights = tuple(rng.normal(size=s) for s in ((3, 5), (3, 5), (5, 2)))
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *weights)]
    inputs, w_gate, w_value, w_out = leaves
    y = (GATES[name](inputs @ w_gate) * (inputs @ w_value)) @ w_out
    y.backward(torch.tensor(grad_y))
    close(snippet.forward(x, weights, snippet.GATES[name]), y.detach().numpy(), 1e-9, 1e-9)
    grad_x, grads = snippet.backward(grad_y, x, weights, snippet.GATES[name])
    for ours, leaf in zip((grad_x, *grads), leaves, strict=True):
        close(ours, leaf.grad.numpy(), 1e-9, 1e-9 * max(1.0, scale**2))


def test_glu_without_output_matrix_is_the_glu_of_torch(load):
    snippet, rng = load("gated_numpy"), np.random.default_rng(0)
    x, w_gate, w_value = (rng.normal(size=s) for s in ((4, 3), (3, 6), (3, 6)))
    ours = snippet.forward(x, (w_gate, w_value, np.eye(6)), snippet.sigmoid)
    both = torch.tensor(np.hstack([x @ w_value, x @ w_gate]))  # torch gates with the last half
    close(ours, F.glu(both).numpy())


def test_matched_width(load):
    matched_width = load("gated_numpy").matched_width
    assert matched_width(3072) == 2048
    assert matched_width(4 * 4096) == 10922
    assert matched_width(4 * 4096, 256) == 11008
    assert matched_width(4 * 5120, 256) == 13824  # LLaMA 13B
    assert matched_width(384, 256) == 256


# ---- the experiment ----


@pytest.mark.parametrize("gated", [False, True])
def test_networks_side_by_side_equal_single_networks(load, gated):
    e = load("experiment_gated")
    kinds = [F.relu, F.gelu]
    params = e.init_networks(kinds, gated, [3, 4], copies=2)
    assert len(params[0]) == 8
    x = torch.randint(e.SYMBOLS, (8, 5, e.CONTEXT))
    y = torch.randint(e.SYMBOLS, (8, 5))
    z = e.logits(params, x, kinds, gated)
    loss = e.losses(z, y)
    for s, f in ((0, F.relu), (3, F.relu), (4, F.gelu), (7, F.gelu)):
        embed, w1, w2, w_out, b_out = (p[s] for p in params)
        inputs = embed[x[s]].flatten(1)
        h = inputs @ w1
        if gated:
            width = h.shape[1] // 2
            h = f(h[:, :width]) * h[:, width:]
        else:
            h = f(h)
        alone = (inputs + h @ w2) @ w_out + b_out
        torch.testing.assert_close(z[s], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(loss[s], F.cross_entropy(z[s], y[s]))
    for p in params[:4]:  # order: kind, copy, seed
        assert torch.equal(p[0], p[2]) and not torch.equal(p[0], p[1])
    assert torch.equal(params[1][0], params[1][4])  # a seed means the same numbers for all kinds
    expected = 2 * e.CONTEXT * e.EMBED * e.WIDTH
    assert params[1][0].numel() + params[2][0].numel() == expected


def test_hidden_layers_start_with_outputs_of_equal_size(load):
    e = load("experiment_gated")
    g = torch.Generator().manual_seed(5)
    inputs = torch.randn(20_000, e.CONTEXT * e.EMBED, generator=g)
    for group, gated in ((e.UNGATED, False), (e.GATED, True)):
        for f in group.values():
            _, w1, w2, _, _ = e.init_networks([f], gated, [0, 1, 2], copies=1)
            out = e.hidden(inputs @ w1, [f, f, f], gated) @ w2
            assert out.square().mean().item() == pytest.approx(1.0, rel=0.25)


def test_training_equals_adam_of_torch(load, monkeypatch):
    e = load("experiment_gated")
    monkeypatch.setattr(e, "STEPS", 12)
    text = torch.randint(e.SYMBOLS, (500,), generator=torch.Generator().manual_seed(1))
    trained = e.train(text, [F.silu], True, torch.tensor([[0.03]]), [7])
    params = e.init_networks([F.silu], True, [7], 1)
    optimizer = torch.optim.Adam(params, lr=0.03, betas=(0.9, 0.99), eps=1e-8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / 12)
    g = torch.Generator().manual_seed(1007)
    for _ in range(12):
        starts = torch.randint(len(text) - e.CONTEXT, (1, e.BATCH), generator=g)
        x = torch.stack([text[s : s + e.CONTEXT] for s in starts[0]])[None]
        y = text[starts + e.CONTEXT]
        optimizer.zero_grad()
        e.losses(e.logits(params, x, [F.silu], True), y).sum().backward()
        optimizer.step()
        schedule.step()
    for ours, theirs in zip(trained, params, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-3, atol=1e-4)


def test_the_best_rate_has_the_lowest_mean_loss_and_nan_fails(load):
    tuned = torch.tensor([[[3.0, 1.0], [2.1, 2.1]], [[torch.nan, 1.0], [5.0, 7.0]]])
    rates = load("experiment_gated").best_rates(tuned, torch.tensor([0.1, 0.2]))
    assert rates.tolist() == pytest.approx([0.1, 0.2])


def test_verdicts(load):
    e = load("experiment_gated")
    up = torch.tensor([1.0, 1.1, 0.9, 1.0, 1.05])
    noise = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.1])
    assert e.verdict_of(torch.stack([up, up, up])) == "reproduced"
    assert e.verdict_of(torch.stack([up, noise, up])) == "partly"
    assert e.verdict_of(torch.stack([up, noise, -up])) == "not at this size"
    assert e.verdict_of(torch.stack([noise, noise, noise])) == "not at this size"
    assert e.verdict_of(torch.full((3, 5), torch.nan)) == "not at this size"
    close(e.margins(noise[None]).numpy(), [2.131 * noise.std() / 5**0.5], 1e-6)
    assert len(e.SEEDS) == 16 and not set(e.SEEDS) & set(e.TUNING)  # 2.131 is for 15 degrees


def test_text_is_split_by_topics_and_windows_predict_the_next_character(load):
    e = load("experiment_gated")
    text, held_out = e.load_text()
    assert min(text.min(), held_out.min()) >= 0 and max(text.max(), held_out.max()) < e.SYMBOLS
    assert len(text) > 2 * len(held_out) > 20_000
    contexts, targets = e.windows(torch.arange(100), torch.tensor([[0, 7]]))
    assert contexts.tolist() == [[[0, 1, 2, 3], [7, 8, 9, 10]]] and targets.tolist() == [[4, 11]]
    assert e.PAIRS.keys() < e.GATED.keys() and set(e.PAIRS.values()) == set(e.UNGATED)
    assert all(e.GATED[a] is e.UNGATED[b] for a, b in e.PAIRS.items())
    z = torch.linspace(-5.0, 5.0, 11)
    close(e.gelu_tanh(z), F.gelu(z, approximate="tanh"), 1e-6, 1e-6)
    close(e.gelu_sigmoid(z), z * torch.sigmoid(1.702 * z), 1e-6, 1e-6)
    assert e.identity(z) is z


# ---- pitfalls and exercises ----


@given(seed=SEEDS)
@settings(max_examples=10)
def test_halves_of_the_pitfall(load, seed):
    snippet, g = load("pitfalls_torch"), torch.Generator().manual_seed(seed)
    x, w = torch.randn(4, 3, generator=g), torch.randn(3, 10, generator=g)
    turned = torch.cat([w[:, 5:], w[:, :5]], dim=1)
    torch.testing.assert_close(snippet.swiglu_gate_first(x, w), snippet.swiglu_gate_last(x, turned))
    expected = F.silu(x @ w[:, :5]) * (x @ w[:, 5:])
    torch.testing.assert_close(snippet.swiglu_gate_first(x, w), expected)


def test_naive_forms_are_right_where_nothing_overflows(load):
    snippet = load("pitfalls_torch")
    x = torch.linspace(-10.0, 10.0, 41)
    torch.testing.assert_close(snippet.mish_naive(x), F.mish(x), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(snippet.silu_naive(x), F.silu(x))
    assert snippet.value_and_slope(torch.square, 3.0) == (9.0, 6.0)


@given(x=arrays(np.float64, 4, elements=st.floats(-5.0, 5.0)))
@settings(max_examples=20)
def test_gating_exercise(load, x):
    snippet = load("exercise_gating_numpy")
    close(snippet.gelu(x), F.gelu(torch.tensor(x)).numpy())
    z = np.linspace(-12.0, 12.0, 40_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    mean = np.trapezoid(np.maximum(x[:, None] + z, 0.0) * density, z, axis=1)
    close(snippet.smoothed_relu(x), mean, 1e-6, 1e-6)


def test_fits_exercise(load):
    snippet = load("exercise_fits_numpy")
    x = torch.tensor(snippet.X)
    assert snippet.best(lambda k: (k - 1.7) ** 2, 1.0, 2.0) == pytest.approx(1.7, abs=1e-6)
    close(snippet.sigmoid_gate(1.5), torch.sigmoid(1.5 * x).numpy())
    close(x * snippet.tanh_gate(0.044715), F.gelu(x, approximate="tanh").numpy())
    exact = (F.gelu(x) - x * torch.sigmoid(1.6 * x)).abs().max().item()
    assert snippet.error(snippet.sigmoid_gate(1.6)) == pytest.approx(exact)
    gate = (torch.special.ndtr(x) - torch.sigmoid(1.6 * x)).abs().max().item()
    assert snippet.error(snippet.sigmoid_gate(1.6), of_gelu=False) == pytest.approx(gate)
