"""What must hold for the MLP beyond the snippets' asserts: three frameworks, one training."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

LOGITS = st.one_of(
    st.just(0.0), st.floats(-10, 10), st.sampled_from([1e-300, -50.0, 700.0, -1e4, 1e4, 1e300])
)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
SEED_STEPS = 100


@pytest.fixture(scope="module")
def mlp(load):
    return load("mlp_numpy")


@pytest.fixture(scope="module")
def shared(mlp):
    """Data, initial weights and the first 100 batches that every framework must see."""
    x, y = mlp.load_splits(0)[0]
    rng = np.random.default_rng(0)
    params = mlp.init_params(rng)
    rows = [b for _ in range(3) for b in mlp.batches(len(x), rng)][:SEED_STEPS]
    return x, y, params, rows


@pytest.fixture(scope="module")
def numpy_curve(mlp, shared):
    """The losses by the functions of the page, one step after the other."""
    x, y, params, rows = shared
    losses = []
    for batch in rows:
        logits, h = mlp.forward(x[batch], params)
        loss, grad_logits = mlp.cross_entropy(logits, y[batch])
        grads = mlp.backward(x[batch], h, grad_logits, params)
        params = [p - mlp.LR * g for p, g in zip(params, grads, strict=True)]
        losses.append(loss)
    return losses


# ---- the three loss curves ----


def test_fit_records_these_losses(mlp, shared, numpy_curve):
    splits = mlp.load_splits(0)
    _, steps, epochs = mlp.fit(splits[0], splits[1], seed=0)
    np.testing.assert_allclose(steps[:SEED_STEPS], numpy_curve, **CLOSE)
    assert len(epochs) == mlp.EPOCHS and len(steps) == mlp.EPOCHS * 36


def test_pytorch_repeats_the_losses_for_100_steps(load, shared, numpy_curve):
    module = load("mlp_torch")
    x, y, params, rows = shared
    model = module.MLP().double()
    module.load_params(model, params)
    optimizer = torch.optim.SGD(model.parameters(), lr=module.LR)
    losses = [
        module.train_step(model, optimizer, torch.from_numpy(x[b]), torch.from_numpy(y[b]))
        for b in rows
    ]
    assert np.abs(np.subtract(losses, numpy_curve)).max() < 1e-6
    np.testing.assert_allclose(losses, numpy_curve, **CLOSE)


@pytest.mark.parametrize("kind", ["functional", "subclassed"])
def test_keras_repeats_the_losses_for_100_steps(load, shared, numpy_curve, kind):
    import keras

    module = load("mlp_tensorflow")
    x, y, params, rows = shared
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # kept since the first layer was made
    try:
        model = module.functional_model() if kind == "functional" else module.SubclassedModel()
        model(x[:1])
        model.set_weights(params)
        train = module.losses_by_keras if kind == "functional" else module.losses_by_tape
        losses = train(model, x, y, rows)
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
    assert np.abs(np.subtract(losses, numpy_curve)).max() < 1e-6
    np.testing.assert_allclose(losses, numpy_curve, **CLOSE)


@pytest.mark.parametrize("name", ["mlp_torch", "mlp_tensorflow"])
def test_the_copies_by_hand_are_the_same_training(load, shared, numpy_curve, name):
    x, y, params, rows = shared
    kept = [p.copy() for p in params]
    np.testing.assert_allclose(load(name).numpy_losses(x, y, params, rows), numpy_curve, **CLOSE)
    assert all(np.array_equal(p, k) for p, k in zip(params, kept, strict=True))


def test_a_weight_of_the_wrong_shape_raises(load, shared):
    module = load("mlp_torch")
    w1, b1, w2, b2 = shared[2]
    with pytest.raises(RuntimeError, match="size mismatch"):
        module.load_params(module.MLP().double(), [w1.T.copy(), b1, w2, b2])


# ---- the parts, against autograd ----


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 7), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_forward_and_backward_equal_autograd(mlp, seed, n, scale):
    rng = np.random.default_rng(seed)
    params = [scale * p for p in mlp.init_params(rng)]
    params[1], params[3] = rng.normal(size=mlp.HIDDEN), rng.normal(size=10)
    x, targets = rng.uniform(size=(n, 64)), rng.integers(0, 10, size=n)
    w1, b1, w2, b2 = (torch.tensor(p, requires_grad=True) for p in params)
    hidden = torch.relu(torch.from_numpy(x) @ w1 + b1)
    expected = hidden @ w2 + b2
    loss = F.cross_entropy(expected, torch.from_numpy(targets))
    grads = torch.autograd.grad(loss, [w1, b1, w2, b2])

    logits, h = mlp.forward(x, params)
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(h, hidden.detach().numpy(), rtol=1e-9, atol=1e-9)
    value, grad_logits = mlp.cross_entropy(logits, targets)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-9, atol=1e-9)
    ours = mlp.backward(x, h, grad_logits, params)
    for a, b, p in zip(ours, grads, params, strict=True):
        assert a.shape == p.shape
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-7, atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(logits=arrays(np.float64, (3, 10), elements=LOGITS), seed=st.integers(0, 100))
def test_cross_entropy_equals_pytorch_for_extreme_logits(mlp, logits, seed):
    targets = np.random.default_rng(seed).integers(0, 10, size=3)
    z = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(z, torch.from_numpy(targets))
    expected.backward()
    value, grad = mlp.cross_entropy(logits, targets)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad, z.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_unit_at_exactly_zero_has_no_gradient_as_in_the_frameworks(mlp):
    params = [np.zeros((64, 32)), np.zeros(32), np.ones((32, 10)), np.zeros(10)]
    x = np.ones((2, 64))
    _, h = mlp.forward(x, params)
    grads = mlp.backward(x, h, np.ones((2, 10)), params)
    assert not grads[0].any() and not grads[1].any()


# ---- data ----


@pytest.mark.parametrize("seed", [0, 1])
def test_splits_are_disjoint_complete_stratified_and_scaled(mlp, seed):
    splits = mlp.load_splits(seed)
    assert [len(y) for _, y in splits] == [1150, 287, 360]
    x, y = load_digits(return_X_y=True)
    together = np.concatenate([np.column_stack([a * 16, b]) for a, b in splits])
    everything = np.column_stack([x, y])
    for rows in (together, everything):
        rows[:] = rows[np.lexsort(rows.T)]
    assert np.array_equal(together, everything)  # every digit once, nothing twice
    share = np.bincount(y) / len(y)
    for a, b in splits:
        assert a.min() == 0.0 and a.max() == 1.0
        assert np.abs(np.bincount(b) - share * len(b)).max() <= 1.0
    again = mlp.load_splits(seed)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(splits, again, strict=True))


@given(n=st.integers(1, 200), seed=st.integers(0, 100))
def test_batches_are_a_permutation(mlp, n, seed):
    parts = list(mlp.batches(n, np.random.default_rng(seed)))
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert all(len(p) == mlp.BATCH for p in parts[:-1]) and 0 < len(parts[-1]) <= mlp.BATCH


def test_initial_variances(mlp):
    draws = [mlp.init_params(np.random.default_rng(s)) for s in range(40)]
    w1, w2 = (np.stack([d[i] for d in draws]) for i in (0, 2))
    assert abs(w1.var() * 64 / 2 - 1) < 0.02 and abs(w2.var() * 32 - 1) < 0.05
    assert not draws[0][1].any() and not draws[0][3].any()


def test_accuracy_and_the_kept_epoch(mlp):
    splits = mlp.load_splits(3)
    params, _, epochs = mlp.fit(splits[0], splits[1], seed=3)
    logits, _ = mlp.forward(splits[1][0], params)
    kept = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(splits[1][1])).item()
    assert abs(kept - min(v for _, v in epochs)) < 1e-12  # the best, not the last
    right = (torch.from_numpy(logits).argmax(1).numpy() == splits[1][1]).mean()
    assert mlp.accuracy(splits[1], params) == right


def test_scikit_learn_computes_the_same_function(mlp):
    splits = mlp.load_splits(0)
    (x, y), params = splits[0], mlp.fit(splits[0], splits[1], seed=0)[0]
    model = MLPClassifier(mlp.HIDDEN, random_state=0)
    model.partial_fit(x[:50], y[:50], classes=np.arange(10))
    model.coefs_, model.intercepts_ = [params[0], params[2]], [params[1], params[3]]
    logits, _ = mlp.forward(x, params)
    p = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    np.testing.assert_allclose(model.predict_proba(x), p, rtol=1e-9, atol=1e-12)


# ---- experiments and exercises ----


@pytest.mark.parametrize("hidden", [False, True])
def test_the_experiment_trains_with_the_right_gradients(load, hidden):
    module, rng = load("experiment_hidden_layer"), np.random.default_rng(0)
    shapes = [(64, 8), (8,), (8, 10), (10,)] if hidden else [(64, 10), (10,)]
    params = [0.3 * rng.normal(size=s) for s in shapes]
    x, y = rng.uniform(size=(5, 64)), rng.integers(0, 10, size=5)
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    a = torch.from_numpy(x)
    if hidden:
        a = torch.relu(a @ tensors[0] + tensors[1])
    logits = a @ tensors[-2] + tensors[-1]
    loss = F.cross_entropy(logits, torch.from_numpy(y))
    for ours, g in zip(
        module.gradients(params, x, y), torch.autograd.grad(loss, tensors), strict=True
    ):
        np.testing.assert_allclose(ours, g.numpy(), **CLOSE)
    value, error = module.loss_and_error(params, (x, y))
    wrong = (logits.argmax(1).numpy() != y).mean()
    np.testing.assert_allclose([value, error], [loss.item(), 100 * wrong], **CLOSE)
    log_p = F.log_softmax(logits, dim=1).detach().numpy()
    np.testing.assert_allclose(module.log_softmax(params, x)[0], log_p, **CLOSE)


def test_the_experiment_splits_as_the_page_does(load, mlp):
    for ours, theirs in zip(
        load("experiment_hidden_layer").split(2), mlp.load_splits(2), strict=True
    ):
        assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])


def test_the_one_bit_experiment_changes_one_bit_and_is_the_training_of_the_page(load, mlp):
    module, (x, y) = load("experiment_one_bit"), mlp.load_splits(0)[0]
    data = (x[:70], y[:70])  # the last batch has 6 rows
    path, params = module.train(data, 0, 0.2, "float64")
    expected = [
        p.astype(np.float32).astype(float) for p in mlp.init_params(np.random.default_rng(0))
    ]
    rng = np.random.default_rng(1000)
    for _ in range(module.EPOCHS):
        for rows in mlp.batches(70, rng):
            a, b = data[0][rows], data[1][rows]
            logits, h = mlp.forward(a, expected)
            grads = mlp.backward(a, h, mlp.cross_entropy(logits, b)[1], expected)
            expected = [p - 0.2 * g for p, g in zip(expected, grads, strict=True)]
    for a, b in zip(params, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert path.shape == (3 * module.EPOCHS, 2410)
    base = module.train(data, 0, 0.0, "")[0][0].astype(np.float32)
    bit = module.train(data, 0, 0.0, "one bit")[0][0].astype(np.float32)
    differ = np.flatnonzero(base != bit)
    assert len(differ) == 1
    assert (base.view(np.uint32) ^ bit.view(np.uint32))[differ[0]] == 1
    assert np.array_equal(module.predict(params, x), mlp.forward(x, params)[0].argmax(1))


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(load):
    module, rng = load("experiment_one_bit"), np.random.default_rng(0)
    shapes = [(3, 4), (4,), (4, 2), (2,)]
    params = [rng.normal(size=s) for s in shapes]
    x, y = rng.normal(size=(6, 3)), rng.integers(0, 2, size=6)

    def loss(v):
        parts = torch.split(v, [p.size for p in params])
        w1, b1, w2, b2 = (p.reshape(s) for p, s in zip(parts, shapes, strict=True))
        logits = torch.relu(torch.from_numpy(x) @ w1 + b1) @ w2 + b2
        return F.cross_entropy(logits, torch.from_numpy(y))

    flat = torch.from_numpy(np.concatenate([p.ravel() for p in params]))
    hessian = torch.autograd.functional.hessian(loss, flat)
    expected = torch.linalg.eigvalsh(hessian).abs().max().item()
    np.testing.assert_allclose(module.sharpness(params, x, y), expected, rtol=1e-3)


def test_error_bars(load):
    module = load("exercise_error_bar_numpy")
    p = torch.distributions.Binomial(360, torch.tensor(0.03, dtype=torch.float64))
    np.testing.assert_allclose(module.standard_error(0.03, 360), p.stddev.item() / 360)
    n = module.examples_needed(0.04, 0.02)
    gap = np.hypot(module.standard_error(0.04, n), module.standard_error(0.02, n))
    assert 2 * gap <= 0.02 < 2.01 * gap


def test_no_bug_gives_no_difference(load, mlp):
    module, (x, y) = load("exercise_first_difference_numpy"), mlp.load_splits(0)[0]
    steps = mlp.fit((x, y), (x, y), seed=0)[1]
    np.testing.assert_allclose(module.losses_with("", x, y), steps[:72], **CLOSE)
    assert module.first_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.1]) == 3


def test_pitfall_training_starts_where_it_says(load):
    model = load("pitfalls_torch").model_from(0)
    w = np.random.default_rng(0).normal(size=(64, 32)) / 8
    np.testing.assert_allclose(model[0].weight.detach().numpy(), w.T)
    assert not model[0].bias.any()
