"""What must hold for backpropagation beyond the snippets' own asserts: agreement with autograd."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

# Zeros, tiny and usual values; the large ones saturate tanh.
VALUES = st.one_of(st.just(0.0), st.floats(-3, 3), st.sampled_from([1e-300, 1e4, -1e4]))
LOGITS = st.one_of(st.floats(-30, 30), st.sampled_from([0.0, 1e4, -1e4, 1e300, -1e300]))
SEEDS = st.integers(0, 2**31 - 1)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def close(ours, theirs, atol=1e-12):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=atol)


# ---- the graph of numbers ----

# name: (value, local derivatives, the same in PyTorch)
OPERATIONS = {
    "add": (lambda a, b: a + b, lambda a, b: (1.0, 1.0), torch.add),
    "multiply": (lambda a, b: a * b, lambda a, b: (b, a), torch.mul),
    "tanh": (lambda a: float(np.tanh(a)), lambda a: (1 - float(np.tanh(a)) ** 2,), torch.tanh),
    "square": (lambda a: a**2, lambda a: (2 * a,), torch.square),
}


@st.composite
def graphs(draw):
    """A random graph: every node picks earlier nodes as parents, also the same one twice."""
    leaves = {f"x{i}": draw(st.floats(-2, 2)) for i in range(draw(st.integers(1, 3)))}
    names, nodes = list(leaves), []
    for i in range(draw(st.integers(1, 8))):
        operation = draw(st.sampled_from(["add", "multiply", "tanh", "square"]))
        arity = 1 if operation in ("tanh", "square") else 2
        parents = tuple(draw(st.sampled_from(names)) for _ in range(arity))
        nodes.append((f"n{i}", operation, parents))
        names.append(f"n{i}")
    return leaves, nodes


@given(graph=graphs())
def test_every_node_of_a_random_graph_has_the_gradient_of_autograd(load, graph):
    snippet = load("graph_numpy")
    leaves, nodes = graph
    ours = {
        name: snippet.Node(parents, OPERATIONS[operation][0], OPERATIONS[operation][1])
        for name, operation, parents in nodes
    }
    tensors = {name: leaf(np.float64(value)) for name, value in leaves.items()}
    for name, operation, parents in nodes:
        tensors[name] = OPERATIONS[operation][2](*(tensors[parent] for parent in parents))
    last = nodes[-1][0]
    if not torch.isfinite(tensors[last]) or tensors[last].abs() > 1e100:
        return
    expected = torch.autograd.grad(tensors[last], list(tensors.values()), allow_unused=True)

    values = snippet.evaluate(ours, leaves)
    grads = snippet.backpropagate(ours, values)
    assert list(grads) == list(tensors)
    for name, grad in zip(tensors, expected, strict=True):
        close(values[name], tensors[name])
        close(grads[name], 0.0 if grad is None else grad)


def test_a_value_that_the_output_does_not_use_has_gradient_zero(load):
    snippet = load("graph_numpy")
    graph = {"y": snippet.Node(("x",), lambda x: 3 * x, lambda x: (3.0,))}
    grads = snippet.backpropagate(graph, snippet.evaluate(graph, {"x": 1.0, "unused": 5.0}))
    assert grads == {"x": 3.0, "unused": 0.0, "y": 1.0}


# ---- the network ----


def random_network(snippet, sizes, seed):
    rng = np.random.default_rng(seed)
    return [(w, rng.normal(size=b.shape)) for w, b in snippet.init_params(sizes, rng)]


def torch_logits(x, params):
    for w, b in params[:-1]:
        x = torch.tanh(x @ w + b)
    w, b = params[-1]
    return x @ w + b


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5), n=st.integers(1, 6), seed=SEEDS,
    data=st.data(),
)  # fmt: skip
def test_network_agrees_with_autograd_in_values_and_gradients(load, sizes, n, seed, data):
    snippet = load("backprop_numpy")
    x = data.draw(arrays(np.float64, (n, sizes[0]), elements=VALUES))
    targets = data.draw(arrays(np.int64, n, elements=st.integers(0, sizes[-1] - 1)))
    params = random_network(snippet, sizes, seed)
    theirs = [(leaf(w), leaf(b)) for w, b in params]
    expected = torch_logits(torch.tensor(x), theirs)
    expected_loss = torch.nn.functional.cross_entropy(expected, torch.tensor(targets))
    expected_loss.backward()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits, inputs = snippet.forward(x, params)
        loss, grad_logits = snippet.cross_entropy(logits, targets)
        grads = snippet.backward(grad_logits, inputs, params)
    close(logits, expected)
    close(loss, expected_loss)
    scale = max(1.0, np.abs(x).max())
    for (grad_w, grad_b), (w, b) in zip(grads, theirs, strict=True):
        assert grad_w.shape == tuple(w.shape) and grad_b.shape == tuple(b.shape)
        close(grad_w, w.grad, atol=1e-12 * scale)
        close(grad_b, b.grad)


@given(data=st.data(), n=st.integers(1, 5), k=st.integers(1, 5))
def test_cross_entropy_agrees_with_pytorch_also_for_huge_logits(load, data, n, k):
    logits = data.draw(arrays(np.float64, (n, k), elements=LOGITS))
    targets = data.draw(arrays(np.int64, n, elements=st.integers(0, k - 1)))
    theirs = leaf(logits)
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(targets))
    expected.backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, grad = load("backprop_numpy").cross_entropy(logits, targets)
    close(loss, expected)
    close(grad, theirs.grad)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_central_differences_agree_with_the_backward_pass_and_restore_the_parameters(load, seed):
    snippet = load("backprop_numpy")
    params = random_network(snippet, [3, 4, 2], seed)
    before = [(w.copy(), b.copy()) for w, b in params]
    rng = np.random.default_rng(seed)
    x, targets = rng.normal(size=(5, 3)), rng.integers(0, 2, size=5)
    numeric = snippet.central_differences(x, targets, params, step=1e-5)
    logits, inputs = snippet.forward(x, params)
    exact = snippet.backward(snippet.cross_entropy(logits, targets)[1], inputs, params)
    for ours, theirs in zip(numeric, exact, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    for (w, b), (w_before, b_before) in zip(params, before, strict=True):
        assert np.array_equal(w, w_before) and np.array_equal(b, b_before)


def test_initial_weights_have_variance_1_over_fan_in_and_zero_biases(load):
    params = load("backprop_numpy").init_params([400, 300, 7], np.random.default_rng(0))
    assert [w.shape for w, _ in params] == [(400, 300), (300, 7)]
    assert params[0][0].var() == pytest.approx(1 / 400, rel=0.02)
    assert not any(b.any() for _, b in params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_the_input_is_not_changed(load, dtype):
    snippet = load("backprop_numpy")
    params = [(w.astype(dtype), b.astype(dtype)) for w, b in random_network(snippet, [3, 4, 2], 0)]
    x = np.ones((1, 3), dtype=dtype)  # a single row
    logits, inputs = snippet.forward(x, params)
    loss, grad_logits = snippet.cross_entropy(logits, np.array([1]))
    grads = snippet.backward(grad_logits, inputs, params)
    assert isinstance(loss, float) and np.all(x == 1.0)
    assert logits.dtype == grad_logits.dtype == dtype
    assert {a.dtype for pair in grads for a in pair} == {np.dtype(dtype)}


def test_the_loss_is_a_mean_so_repeating_the_batch_changes_no_gradient(load):
    snippet = load("backprop_numpy")
    params = random_network(snippet, [3, 4, 2], 1)
    x, targets = np.random.default_rng(1).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])

    def gradients(x, targets):
        logits, inputs = snippet.forward(x, params)
        return snippet.backward(snippet.cross_entropy(logits, targets)[1], inputs, params)

    once, thrice = gradients(x, targets), gradients(np.tile(x, (3, 1)), np.tile(targets, 3))
    for a, b in zip(once, thrice, strict=True):
        close(a[0], b[0])
        close(a[1], b[1])


@given(seed=SEEDS, n=st.integers(1, 6), scale=st.sampled_from([0.0, 1.0, 1e4]))
@settings(max_examples=20)
def test_four_equations_agree_with_autograd(load, seed, n, scale):
    snippet = load("backprop_torch")
    rng = np.random.default_rng(seed)
    x, targets = scale * rng.normal(size=(n, 5)), rng.integers(0, 3, size=n)
    params = [scale * rng.normal(size=size) for size in ((5, 4), 4, (4, 3), 3)]
    expected = snippet.autograd_gradients(
        torch.tensor(x), torch.tensor(targets), [torch.tensor(p) for p in params]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = snippet.four_equations(x, targets, params)
    for a, b in zip(ours, expected, strict=True):
        close(a, b, atol=1e-12 * max(1.0, scale))


# ---- the two layouts ----


@given(seed=SEEDS, n=st.integers(1, 6))
@settings(max_examples=20)
def test_layouts_agree_with_autograd_and_the_mixed_notation_is_n_times_off_in_da(load, seed, n):
    snippet = load("conventions_numpy")
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 3))
    params = [rng.normal(size=size) for size in ((5, 4), 4, (4, 3), 3)]
    w1, b1, w2, b2 = leaves = [leaf(p) for p in params]
    h = torch.tanh(torch.tensor(x) @ w1 + b1)
    h.retain_grad()
    (0.5 * (h @ w2 + b2 - torch.tensor(y)).square().sum() / n).backward()
    expected = dict(zip(("w1", "b1", "w2", "b2"), (p.grad for p in leaves), strict=True))
    expected["h"] = h.grad

    columns = (x.T, y.T, params[0].T, params[1][:, None], params[2].T, params[3][:, None])
    rows = snippet.backward_rows(x, y, *params)
    transposed = snippet.backward_columns(*columns)
    mixed = snippet.backward_mixed(*columns)
    for name, grad in expected.items():
        close(rows[name], grad)
        close(transposed[name], np.atleast_2d(grad.numpy()).T)
        close(mixed[name], transposed[name] * (n if name == "h" else 1))


# ---- cost ----


@pytest.mark.parametrize("sizes", [[3, 2], [3, 5, 2], [64, 128, 128, 10]])
@pytest.mark.parametrize("n", [1, 7])
def test_cost_formulas_agree_with_what_pytorch_counts_and_keeps(load, sizes, n):
    snippet = load("cost_torch")
    model = snippet.dense_network(sizes)
    x, targets = torch.randn(n, sizes[0]), torch.zeros(n, dtype=torch.long)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in model) == len(sizes) - 1
    forward, loss = snippet.count(lambda: torch.nn.functional.cross_entropy(model(x), targets))
    backward, _ = snippet.count(loss.backward)
    assert forward == snippet.forward_cost(n, sizes)
    assert backward == snippet.backward_cost(n, sizes)
    assert snippet.kept(model, x, targets) == snippet.stored_numbers(n, sizes)


def test_cost_of_a_small_network_by_hand(load):
    snippet = load("cost_torch")
    assert snippet.forward_cost(10, [3, 5, 2]) == 10 * (15 + 10)
    assert snippet.backward_cost(10, [3, 5, 2]) == 10 * (15 + 2 * 10)
    assert snippet.stored_numbers(10, [3, 5, 2]) == 10 * (3 + 5 + 2)


# ---- the experiment ----


@given(z=arrays(np.float64, 6, elements=LOGITS))
def test_sigmoid_agrees_with_pytorch(load, z):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = load("experiment_symmetry").sigmoid(z)
    close(ours, torch.sigmoid(torch.tensor(z)))


@given(seed=SEEDS, scale=st.sampled_from([0.0, 0.3, 3.0, 1e4]))
@settings(max_examples=20)
def test_gradients_of_the_experiment_agree_with_autograd_run_by_run(load, seed, scale):
    snippet = load("experiment_symmetry")
    rng = np.random.default_rng(seed)
    x, targets = rng.integers(0, 2, (9, 6)).astype(float), rng.integers(0, 2, (9, 1)).astype(float)
    params = [scale * rng.normal(size=(4, *s)) for s in ((6, 3), (1, 3), (3, 1), (1, 1))]
    w1, b1, w2, b2 = leaves = [leaf(p) for p in params]
    y = torch.sigmoid(torch.sigmoid(torch.tensor(x) @ w1 + b1) @ w2 + b2)
    (0.5 * (y - torch.tensor(targets)).square().sum()).backward()
    outputs, grads = snippet.gradients(x, targets, params)
    close(outputs, y)
    for ours, theirs in zip(grads, leaves, strict=True):
        close(ours, theirs.grad, atol=1e-12 * max(1.0, scale))


def test_the_experiment_trains_as_sgd_with_momentum_of_pytorch(load, monkeypatch):
    snippet = load("experiment_symmetry")
    monkeypatch.setattr(snippet, "RUNS", 3)
    monkeypatch.setattr(snippet, "SWEEPS", 60)
    x = np.random.default_rng(1).integers(0, 2, (9, 6)).astype(float)
    targets = x[:, :1]  # easy: solved within the sweeps
    trained, outputs, first = snippet.train(x, targets, hidden=2, step=0.1)

    rng = np.random.default_rng(0)
    shapes = [(6, 2), (1, 2), (2, 1), (1, 1)]
    leaves = [leaf(rng.uniform(-0.3, 0.3, size=(3, *shape))) for shape in shapes]
    optimizer = torch.optim.SGD(leaves, lr=0.1, momentum=0.9)
    solved = np.full(3, -1)
    for sweep in range(60):
        w1, b1, w2, b2 = leaves
        y = torch.sigmoid(torch.sigmoid(torch.tensor(x) @ w1 + b1) @ w2 + b2)
        right = ((y.detach().numpy() > 0.5) == (targets > 0.5)).all(axis=(1, 2))
        solved[right & (solved < 0)] = sweep
        optimizer.zero_grad()
        (0.5 * (y - torch.tensor(targets)).square().sum()).backward()
        optimizer.step()
    close(trained, leaves[0])
    close(outputs, y)
    assert first.tolist() == solved.tolist() and 0 < min(solved) < 50


def test_codes_are_recognized_up_to_order_scale_and_sign(load):
    snippet = load("experiment_symmetry")
    side = np.array([[-6.0, 3.0, 12.0], [4.0, -2.0, 3.0], [1.0, 1.0, 4.0]])
    w1 = np.stack([np.concatenate([side, -side[:, ::-1]], axis=1)] * 2, axis=2)  # (3, 6, 2)
    ratios = snippet.codes(w1)
    close(ratios, [[1, 2, 4], [1, 1.5, 2], [1, 1, 4]])
    assert snippet.near(ratios, [1, 2, 4]).tolist() == [True, False, False]
    assert snippet.near(ratios, [1, 1.5, 2]).tolist() == [False, True, False]


def test_quartiles_are_written_as_text(load):
    assert (
        load("experiment_symmetry").quartiles(np.arange(0, 4001, 1000)) == "2,000 (1,000 to 3,000)"
    )


# ---- pitfalls and exercises ----


@given(seed=SEEDS, scale=st.sampled_from([0.0, 1.0, 1e4]))
@settings(max_examples=20)
def test_loss_of_the_pitfalls_agrees_with_pytorch(load, seed, scale):
    snippet = load("pitfalls_numpy")
    rng = np.random.default_rng(seed)
    x, w1, w2 = (scale * rng.normal(size=s) for s in ((5, 4), (4, 3), (3, 2)))
    targets = rng.integers(0, 2, 5)
    weight = leaf(w1)
    logits = torch.tanh(torch.tensor(x) @ weight) @ torch.tensor(w2)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(targets))
    close(snippet.loss(x, np.eye(2)[targets], w1, w2), expected)
    if scale == 1.0:
        expected.backward()
        numeric = snippet.finite_differences(x, np.eye(2)[targets], w1, w2, 1e-5, central=True)
        np.testing.assert_allclose(numeric, weight.grad.numpy(), rtol=1e-5, atol=1e-9)
        numeric = snippet.finite_differences(x, np.eye(2)[targets], w1, w2, 1e-7, central=False)
        np.testing.assert_allclose(numeric, weight.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_relative_errors(load):
    right = np.array([3.0, 4.0])
    assert load("pitfalls_numpy").error(2 * right, right) == pytest.approx(1.0)
    tensor = torch.tensor(right)
    assert load("pitfalls_torch").relative_error(tensor / 2, tensor) == pytest.approx(0.5)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_a_linear_network_scales_the_gradient_by_the_gain_per_layer(load, gain):
    rng = np.random.default_rng(0)
    ratio = load("pitfalls_numpy").first_to_last(20, gain, 400, rng)
    assert abs(np.log(ratio) - 20 * np.log(gain)) < 1.0


def test_refused_returns_the_message_or_nothing(load):
    refused = load("pitfalls_torch").refused
    weight = torch.ones(2, requires_grad=True)
    assert refused(lambda: None) == ""
    assert refused((weight * 2).backward).startswith("grad can be implicitly created only")


@given(seed=SEEDS, n=st.integers(1, 5))
def test_network_on_paper_agrees_with_autograd(load, seed, n):
    snippet = load("exercise_by_hand_numpy")
    rng = np.random.default_rng(seed)
    # whole numbers: pre-activations are often exactly 0, where both take the derivative 0
    x, y = rng.integers(-2, 3, (n, 2)).astype(float), rng.integers(-2, 3, (n, 1)).astype(float)
    w1, w2 = rng.integers(-2, 3, (2, 2)).astype(float), rng.integers(-2, 3, (2, 1)).astype(float)
    parts = {"w1": leaf(w1), "b1": leaf(np.zeros(2)), "w2": leaf(w2), "b2": leaf(np.zeros(1))}
    a1 = torch.relu(torch.tensor(x) @ parts["w1"] + parts["b1"])
    residual = a1 @ parts["w2"] + parts["b2"] - torch.tensor(y)
    expected = 0.5 * residual.square().sum() / n
    expected.backward()
    close(snippet.loss(x, y, w1, w2), expected)
    ours = snippet.backward(x, y, w1, w2)
    for name, part in parts.items():
        close(ours[name], part.grad)


@given(seed=SEEDS, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_path_sums_agree_with_autograd(load, seed, sizes):
    snippet = load("exercise_paths_numpy")
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes, [*sizes[1:], 1], strict=True))
    weights, x = [rng.normal(size=shape) for shape in shapes], rng.normal(size=sizes[0])
    a = inputs = leaf(x)
    for w in weights[:-1]:
        a = torch.tanh(a @ torch.tensor(w))
    (a @ torch.tensor(weights[-1])).sum().backward()
    by_paths, paths = snippet.sum_over_paths(x, weights)
    close(by_paths, inputs.grad)
    close(snippet.backpropagated(x, weights), inputs.grad)
    assert paths == np.prod(sizes)
    assert [len(s) for s in snippet.slopes(x, weights)] == [*sizes[1:], 1]


@given(seed=SEEDS)
@settings(max_examples=20)
def test_tied_gradient_agrees_with_autograd(load, seed):
    snippet = load("exercise_tied_weights_torch")
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(7, 5)), rng.normal(size=(5, 3))
    close(sum(snippet.tied_gradient(x, w)), snippet.autograd_gradient(x, w))
    encoder, decoder, inputs = leaf(w), leaf(w), torch.tensor(x)
    reconstruction = torch.tanh(inputs @ encoder) @ decoder.T
    (0.5 * (reconstruction - inputs).square().sum() / len(x)).backward()
    for ours, theirs in zip(snippet.tied_gradient(x, w), (encoder, decoder), strict=True):
        close(ours, theirs.grad)


@given(seed=SEEDS, m=st.integers(1, 6), t=st.sampled_from([0.0, 0.3, -2.0, 1e4]))
@settings(max_examples=20)
def test_both_modes_agree_with_autograd(load, seed, m, t):
    snippet = load("exercise_modes_numpy")
    rng = np.random.default_rng(seed)
    w1, w2 = rng.normal(size=(1, 4)), rng.normal(size=(4, m))
    expected = torch.autograd.functional.jacobian(
        lambda t: torch.tanh(t @ torch.tensor(w1)) @ torch.tensor(w2),
        torch.tensor([float(t)]).double(),
    )[:, 0]
    (forward, forward_cost), (reverse, reverse_cost) = (
        snippet.forward_mode(t, w1, w2),
        snippet.reverse_mode(t, w1, w2),
    )
    close(forward, expected)
    close(reverse, expected)
    assert reverse_cost == m * forward_cost == m * (4 + 4 * m)


@pytest.mark.parametrize("start", ["zero", "equal", "random"])
def test_starts_are_as_named_with_zero_biases(load, start):
    model = load("exercise_zero_init_torch").network(start)
    weights = model[0].weight.detach()
    assert not model[0].bias.any() and not model[2].bias.any()
    assert bool((weights == weights[0]).all()) == (start != "random")
    assert bool(weights.any()) == (start != "zero")


def test_zero_init_exercise_trains_by_plain_gradient_descent(load):
    snippet = load("exercise_zero_init_torch")
    x, targets = torch.randn(20, 2), torch.tensor([0, 1] * 10)
    largest, final = snippet.train(snippet.network("random"), x, targets)
    model = snippet.network("random")
    for step in range(300):
        loss = torch.nn.functional.cross_entropy(model(x), targets)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        if step == 0:
            first = [float(g.abs().max()) for g in grads]
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p -= 1.0 * g
    assert list(largest.values()) == pytest.approx(first)
    assert final == pytest.approx(loss.item(), rel=1e-3)
