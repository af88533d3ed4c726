"""What must hold of a feedforward network beyond the snippets' asserts: agreement with PyTorch."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Bernoulli, Categorical, Independent, Normal, Poisson

SEEDS = st.integers(0, 10_000)
SIZES = st.lists(st.integers(1, 6), min_size=2, max_size=5)
SCALES = st.sampled_from([0.0, 1.0, 30.0, 300.0])
TASKS = ["regression", "binary", "multi-class", "multi-label", "counts"]


def close(ours, theirs, rtol=1e-9, atol=1e-12):
    """Compare an array or number with a tensor or array."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def random_network(sizes, seed, n=5):
    """A module with random weights and biases, its parameters for rows, and inputs."""
    rng = np.random.default_rng(seed)
    params = [(rng.normal(size=s), rng.normal(size=s[1])) for s in pairwise(sizes)]
    layers = []
    for w, b in params:
        linear = nn.Linear(*w.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(w.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]), params, rng.normal(size=(n, sizes[0]))


def distribution(task, z):
    """PyTorch's distribution of the target of one example, for z (N, K)."""
    each = {
        "regression": lambda: Normal(z, 1.0),
        "binary": lambda: Bernoulli(logits=z),
        "multi-class": lambda: Categorical(logits=z),
        "multi-label": lambda: Bernoulli(logits=z),
        "counts": lambda: Poisson(z.exp()),
    }[task]()
    return each if task == "multi-class" else Independent(each, 1)


# ---- the forward pass ----


@settings(deadline=None, max_examples=50)
@given(sizes=SIZES, seed=SEEDS)
def test_the_forward_pass_agrees_with_pytorch_in_both_layouts(load, sizes, seed):
    snippet = load("network_numpy")
    model, params, x = random_network(sizes, seed)
    rows = snippet.forward(x, params)
    columns = snippet.forward_columns(x.T, [(w.T, b[:, None]) for w, b in params])
    a, expected = torch.tensor(x), [torch.tensor(x)]
    for module in model:
        a = module(a)
        if isinstance(module, nn.ReLU):
            expected.append(a)
    for ours, twin, theirs in zip(rows, columns, [*expected, a], strict=True):
        close(ours, theirs)
        close(twin, theirs.T)
    close(snippet.unit_by_unit(x, params), a)
    close(load("network_torch").by_hand(x, model), a)


@settings(deadline=None)
@given(seed=SEEDS, scale=st.sampled_from([1e-150, 1e-3, 1e3, 1e100]))
def test_relu_networks_without_biases_scale_with_their_input(load, seed, scale):
    snippet, (_, params, x) = load("network_numpy"), random_network([3, 5, 4, 2], seed)
    bare = [(w, np.zeros_like(b)) for w, b in params]
    close(snippet.forward(scale * x, bare)[-1] / scale, snippet.forward(x, bare)[-1])


def test_an_empty_batch_and_a_single_example(load):
    snippet, (model, params, x) = load("network_numpy"), random_network([3, 5, 2], 0)
    assert snippet.forward(x[:0], params)[-1].shape == (0, 2)
    assert snippet.unit_by_unit(x[:0], params).shape == (0, 2)
    close(snippet.forward(x[:1], params)[-1], model(torch.tensor(x[:1])))


# ---- counts ----


@settings(deadline=None, max_examples=10)
@given(sizes=SIZES, n=st.integers(1, 9))
def test_counts_agree_with_pytorch(load, sizes, n):
    from torch.utils.flop_counter import FlopCounterMode

    snippet, (model, _, _) = load("network_numpy"), random_network(sizes, 0)
    expected = sum(p.numel() for p in model.parameters())
    assert snippet.count_parameters(sizes) == expected
    assert sum(load("exercise_counts_numpy").layer_parameters(sizes)) == expected
    assert sum(p.numel() for p in load("network_torch").network(sizes).parameters()) == expected
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(n, sizes[0], dtype=torch.float64))
    assert counter.get_total_flops() == 2 * snippet.count_products(n, sizes)


def test_initial_weights_have_the_variance_of_kaiming(load):
    params = load("network_numpy").init_params([400, 300, 200], np.random.default_rng(0))
    for (w, b), (d, k) in zip(params, [(400, 300), (300, 200)], strict=True):
        linear = nn.Linear(d, k)
        torch.manual_seed(0)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        assert w.shape == (d, k) and b.shape == (k,) and not b.any()
        assert abs(w.std() / linear.weight.std().item() - 1) < 0.02


# ---- output layers ----


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, scale=SCALES)
def test_loss_mean_and_gradient_agree_with_pytorch(load, task, seed, scale):
    snippet, rng = load("outputs_numpy"), np.random.default_rng(seed)
    k = 1 if task == "binary" else 4
    z = (min(scale, 5.0) if task == "counts" else scale) * rng.normal(size=(6, k))
    y = snippet.draw_targets(task, 6, k, rng)
    leaf = torch.tensor(z, requires_grad=True)
    target = torch.tensor(y.argmax(axis=1) if task == "multi-class" else y)
    theirs = distribution(task, leaf)
    loss = -theirs.log_prob(target).mean()
    loss.backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = snippet.negative_log_likelihood(task, z, y)
        grad, mean = snippet.gradient(task, z, y), snippet.mean(task, z)
    close(ours, loss)
    close(grad, leaf.grad)
    close(mean, theirs.probs if task == "multi-class" else theirs.mean)


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_the_log_normalizer_has_the_mean_as_gradient(load, task, seed):
    snippet = load("outputs_numpy")
    z = np.random.default_rng(seed).normal(size=(3, 1 if task == "binary" else 4))
    leaf = torch.tensor(z, requires_grad=True)
    value = {
        "regression": leaf.square().sum(1) / 2,
        "multi-class": torch.logsumexp(leaf, 1),
        "counts": leaf.exp().sum(1),
    }.get(task, F.softplus(leaf).sum(1))
    (grad,) = torch.autograd.grad(value.sum(), leaf)
    close(snippet.log_normalizer(task, z), value)
    close(snippet.mean(task, z), grad)


@pytest.mark.parametrize("task", TASKS)
def test_targets_are_of_the_kind_of_the_task(load, task):
    y = load("outputs_numpy").draw_targets(task, 500, 3, np.random.default_rng(0))
    other = load("network_torch").targets_of(task, 500, 3, torch.Generator().manual_seed(0))
    for values in (y, other.numpy()):
        whole = np.array_equal(values, values.round())
        assert values.shape == (500, 3) and whole == (task != "regression")
        assert (values.sum(axis=1) == 1).all() == (task == "multi-class")
        assert (values.min() < 0) == (task == "regression")
        assert (values.max() > 1) == (task in ("regression", "counts"))


def test_the_heads_of_pytorch_are_the_tasks_of_the_page(load):
    snippet, heads = load("outputs_numpy"), load("network_torch").HEADS
    assert list(heads) == list(snippet.TASKS) == TASKS
    rng = np.random.default_rng(0)
    for task, (k, mean, _) in heads.items():
        z = rng.normal(size=(5, k))
        close(snippet.mean(task, z), mean(torch.tensor(z)))


# ---- exercises and pitfalls ----


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, data=st.data())
def test_twins_compute_the_same(load, seed, data):
    snippet, rng = load("exercise_symmetries_numpy"), np.random.default_rng(seed)
    params = [rng.normal(size=s) for s in ((3, 5), 5, (5, 2), 2)]
    x, order = rng.normal(size=(4, 3)), data.draw(st.permutations(range(5)))
    signs = np.array(data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5)))
    w1, b1, w2, b2 = (torch.tensor(p) for p in params)
    expected = torch.tanh(torch.tensor(x) @ w1 + b1) @ w2 + b2
    close(snippet.network(x, params), expected)
    close(snippet.network(x, snippet.twin(params, order, signs)), expected)


def test_the_best_softmax_for_several_labels_is_their_share(load):
    labels = torch.tensor([[1, 0, 1], [1, 1, 1], [0, 0, 1], [1, 0, 1]]).double()
    fit = load("pitfalls_torch").fit
    shares = labels.sum(0) / labels.sum()
    torch.testing.assert_close(fit("softmax", labels), shares, atol=1e-4, rtol=0)
    sigmoid = fit("sigmoid", labels[:, :2])
    torch.testing.assert_close(sigmoid, labels[:, :2].mean(0), atol=1e-4, rtol=0)


def test_a_silent_output_has_no_gradient(load):
    shares = load("pitfalls_torch").silent_shares(500, 20, torch.Generator().manual_seed(1))
    assert 0.4 < shares[0] < 0.6 and 0 <= shares[1] < shares[0]
    z = torch.tensor([-1.0, -0.5], requires_grad=True)
    F.mse_loss(torch.relu(z), torch.tensor([3.0, 4.0])).backward()
    assert not z.grad.any()


# ---- the experiment ----


def test_the_loss_with_a_variance_agrees_with_pytorch_and_the_page(load):
    module, generator = load("experiment_error_bars"), torch.Generator().manual_seed(0)
    z = torch.randn(3, 7, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(3, 7, 1, generator=generator, dtype=torch.float64)
    leaf = z.clone().requires_grad_()
    value = module.loss(leaf, y)
    for r in range(3):
        expected = F.gaussian_nll_loss(z[r, :, :1], y[r], z[r, :, 1:].exp())
        torch.testing.assert_close(value[r], expected)
    (grad,) = torch.autograd.grad(value.sum(), leaf)
    error, variance = z[..., :1] - y, z[..., 1:].exp()
    by_hand = torch.cat([error / variance, 0.5 * (1 - error**2 / variance)], dim=-1) / 7
    torch.testing.assert_close(grad, by_hand)
    torch.testing.assert_close(module.loss(z[..., :1], y)[0], F.mse_loss(z[0, :, :1], y[0]) / 2)


def test_the_score_is_the_expectation_over_new_data(load):
    module = load("experiment_error_bars")
    params = [torch.zeros(1, 1, 16), torch.zeros(1, 1, 16), torch.zeros(1, 16, 2)]
    params.append(torch.tensor([[[0.3, -0.4]]]))  # mean 0.3, log variance -0.4 everywhere
    total, precise, noisy, nll = module.score(params, torch.ones(1, 1, 1))
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-1, 1, 401)[:, None].expand(-1, 2000)
    mean, sd = module.truth(x)
    y = mean + sd * torch.randn(x.shape, generator=generator)
    scale = torch.tensor(math.exp(-0.2))
    assert abs(-Normal(0.3, scale).log_prob(y).mean() - nll) < 0.005
    torch.testing.assert_close(total[0], ((mean - 0.3) ** 2).mean())
    assert abs((precise + noisy) / 2 - total) < 0.01
    one = [*params[:2], params[2][..., :1], params[3][..., :1]]
    same = module.score(one, torch.full((1, 1, 1), math.exp(-0.4)))
    torch.testing.assert_close(same[3], nll)


def test_a_gain_must_exceed_two_standard_errors(load):
    gain = load("experiment_error_bars").gain
    noise = np.array([0.1, -0.1, 0.2, -0.2, 0.0, 0.05])
    assert gain(noise + 1.0, np.zeros(6))[1] and not gain(noise, np.zeros(6))[1]
    assert not gain(np.zeros(6), noise + 1.0)[1]  # a loss is no gain
    assert not gain(np.append(noise, np.nan), np.zeros(7))[1]  # nan counts as failure


def test_both_output_layers_see_the_same_data_and_start(load):
    module = load("experiment_error_bars")
    seeds = [torch.Generator().manual_seed(s) for s in (0, 1)]
    x, y = module.draw(50, seeds)
    copies = len(module.RATES)
    assert x.shape == y.shape == (2 * copies, 50, 1)
    assert torch.equal(x[:2], x[-2:]) and not torch.equal(x[0], x[1])
    many, targets = module.draw(20_000, seeds[:1])
    noise = (targets[0] - module.truth(many[0])[0]) / module.truth(many[0])[1]
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    mean, sd = module.truth(torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(mean, torch.tensor([-math.sin(4), math.sin(4)]))
    torch.testing.assert_close(sd, torch.tensor([math.exp(-3), 1.0]))
    assert x.abs().max() <= 1 and not torch.equal(y, module.truth(x)[0])
