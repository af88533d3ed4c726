"""What must hold for cross-entropy beyond the snippets' asserts: agreement with the frameworks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

REDUCTIONS = ["mean", "sum", "none"]
LOGITS = st.one_of(
    st.just(0.0),
    st.floats(-10, 10),
    st.sampled_from([1e-300, -50.0, 700.0, -1e4, 1e4, 1e300, -1e300]),
)
# Not 1e-45: there PyTorch's (1 - y) z + ... cancels, and this code, which adds, is the exact one.
SOFT = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.001, 0.999))
CLOSE = {"rtol": 1e-6, "atol": 1e-12}


@st.composite
def problems(draw, ignored=True):
    """Logits (N, K), targets (N,) and the loss's options; one row, one class and ties included."""
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    logits = draw(arrays(np.float64, (n, k), elements=LOGITS))
    classes = st.integers(0, k - 1)
    targets = draw(
        arrays(np.int64, n, elements=st.one_of(classes, st.just(-100)) if ignored else classes)
    )
    weights = arrays(np.float64, k, elements=st.floats(0.1, 10.0))
    options = {
        "weight": draw(st.one_of(st.none(), weights)),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }
    return logits, targets, options


def as_torch(options):
    """The same options with a tensor for the weight."""
    weight = options.get("weight")
    return {**options, "weight": None if weight is None else torch.tensor(weight)}


def torch_value_and_grad(loss, logits):
    """Return the loss and the gradient of its sum, by autograd."""
    z = torch.tensor(logits, requires_grad=True)
    value = loss(z)
    value.sum().backward()
    return value.detach().numpy(), z.grad.numpy()


@pytest.fixture(scope="module")
def ce(load):
    return load("cross_entropy_numpy")


@pytest.fixture(scope="module")
def bce(load):
    return load("binary_cross_entropy_numpy")


# ---- cross-entropy ----


@settings(max_examples=400, deadline=None)
@given(problem=problems())
def test_value_and_gradient_equal_pytorch(ce, problem):
    logits, targets, options = problem
    value = ce.cross_entropy(logits, targets, **options)
    grad = ce.cross_entropy_grad(logits, targets, **options)
    expected, expected_grad = torch_value_and_grad(
        lambda z: F.cross_entropy(z, torch.tensor(targets), **as_torch(options)), logits
    )
    np.testing.assert_allclose(value, expected, **CLOSE)
    np.testing.assert_allclose(grad, expected_grad, **CLOSE)
    assert np.isfinite(value).all() or not (targets >= 0).any()
    assert np.isfinite(grad).all()


@settings(max_examples=200, deadline=None)
@given(logits=arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=LOGITS))
def test_log_softmax_equals_pytorch_in_value_and_jacobian(ce, logits):
    expected = torch.log_softmax(torch.tensor(logits), dim=-1).numpy()
    np.testing.assert_allclose(ce.log_softmax(logits), expected, **CLOSE)
    np.testing.assert_allclose(ce.log_softmax(logits[0]), expected[0], **CLOSE)
    np.testing.assert_allclose(
        ce.log_softmax(ce.log_softmax(logits)), expected, **CLOSE
    )  # a projection


def test_another_ignore_index_and_the_defaults(ce):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    for options in ({}, {"ignore_index": 1}, {"ignore_index": -1}):
        expected, expected_grad = torch_value_and_grad(
            lambda z, options=options: F.cross_entropy(z, torch.tensor(targets), **options), logits
        )
        np.testing.assert_allclose(ce.cross_entropy(logits, targets, **options), expected, **CLOSE)
        grad = ce.cross_entropy_grad(logits, targets, **options)
        np.testing.assert_allclose(grad, expected_grad, **CLOSE)


@pytest.mark.parametrize("target", [3, -1])
def test_a_target_that_is_no_class_raises_as_in_pytorch(ce, target):
    for loss in (ce.cross_entropy, ce.cross_entropy_grad):
        with pytest.raises(IndexError, match="neither a class"):
            loss(np.zeros((1, 3)), np.array([target]))
    with pytest.raises(IndexError):
        F.cross_entropy(torch.zeros(1, 3), torch.tensor([target]))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_all_ignored_gives_nan_and_a_zero_gradient_as_in_pytorch(ce, label_smoothing):
    logits, targets = np.random.default_rng(0).normal(size=(2, 3)), np.array([-100, -100])
    expected, expected_grad = torch_value_and_grad(
        lambda z: F.cross_entropy(z, torch.tensor(targets), label_smoothing=label_smoothing), logits
    )
    assert np.isnan(ce.cross_entropy(logits, targets, label_smoothing=label_smoothing))
    assert np.isnan(expected)
    grad = ce.cross_entropy_grad(logits, targets, label_smoothing=label_smoothing)
    assert np.array_equal(grad, np.zeros((2, 3))) and np.array_equal(grad, expected_grad)
    assert ce.cross_entropy(logits, targets, reduction="sum") == 0.0


def test_weights_that_add_up_to_zero_give_nan_for_the_rows_that_count(ce):
    logits, targets, weight = np.array([[1.0, 2.0]] * 2), np.array([0, -100]), np.array([0.0, 1.0])
    expected, expected_grad = torch_value_and_grad(
        lambda z: F.cross_entropy(z, torch.tensor(targets), torch.tensor(weight)), logits
    )
    assert np.isnan(ce.cross_entropy(logits, targets, weight)) and np.isnan(expected)
    grad = ce.cross_entropy_grad(logits, targets, weight)
    assert np.isnan(grad[0]).all() and np.isnan(expected_grad[0]).all()
    assert np.array_equal(grad[1], np.zeros(2))


def test_a_class_masked_with_minus_infinity(ce):
    logits, targets = np.array([[0.0, -np.inf, 1.0]]), np.array([2])
    expected, expected_grad = torch_value_and_grad(
        lambda z: F.cross_entropy(z, torch.tensor(targets)), logits
    )
    np.testing.assert_allclose(ce.cross_entropy(logits, targets), expected, **CLOSE)
    np.testing.assert_allclose(ce.cross_entropy_grad(logits, targets), expected_grad, **CLOSE)


@given(problem=problems(ignored=False), shift=st.sampled_from([-1e4, -3.0, 1e4]))
def test_adding_a_constant_to_the_logits_changes_nothing(ce, problem, shift):
    logits, targets, options = problem
    logits = np.clip(logits, -1e4, 1e4)
    moved = ce.cross_entropy(logits + shift, targets, **options)
    np.testing.assert_allclose(
        moved, ce.cross_entropy(logits, targets, **options), rtol=1e-9, atol=1e-8
    )
    options["reduction"] = "none"
    rows = ce.cross_entropy_grad(logits, targets, **options).sum(axis=1)
    np.testing.assert_allclose(rows, 0.0, atol=1e-12 * max(1.0, len(logits[0])) * 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(ce, bce, dtype):
    logits, targets, weight = np.ones((2, 3), dtype), np.array([0, 2]), np.ones(3, dtype)
    assert ce.log_softmax(logits).dtype == dtype
    for options in ({}, {"weight": weight, "label_smoothing": 0.1}, {"reduction": "none"}):
        assert ce.cross_entropy(logits, targets, **options).dtype == dtype
        assert ce.cross_entropy_grad(logits, targets, **options).dtype == dtype
    z, y = np.array([0.5, -1.0], dtype), np.array([1.0, 0.0], dtype)
    assert bce.binary_cross_entropy_with_logits(z, y, 3.0).dtype == dtype
    assert bce.binary_cross_entropy_with_logits_grad(z, y, 3.0).dtype == dtype


# ---- binary cross-entropy ----


@settings(max_examples=300, deadline=None)
@given(
    logits=arrays(np.float64, 4, elements=LOGITS),
    targets=arrays(np.float64, 4, elements=SOFT),
    pos_weight=st.one_of(st.none(), st.floats(0.1, 10.0)),
    reduction=st.sampled_from(REDUCTIONS),
)
def test_binary_value_and_gradient_equal_pytorch(bce, logits, targets, pos_weight, reduction):
    value = bce.binary_cross_entropy_with_logits(logits, targets, pos_weight, reduction)
    grad = bce.binary_cross_entropy_with_logits_grad(logits, targets, pos_weight, reduction)
    tensor = None if pos_weight is None else torch.tensor(pos_weight, dtype=torch.float64)
    expected, expected_grad = torch_value_and_grad(
        lambda z: F.binary_cross_entropy_with_logits(
            z, torch.tensor(targets), pos_weight=tensor, reduction=reduction
        ),
        logits,
    )
    np.testing.assert_allclose(value, expected, **CLOSE)
    np.testing.assert_allclose(grad, expected_grad, **CLOSE)
    assert np.isfinite(value).all() and np.isfinite(grad).all()


def test_pos_weight_may_differ_by_column(bce):
    rng = np.random.default_rng(0)
    z, y, pos_weight = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3)), np.array([1.0, 2.0, 9.0])
    expected, expected_grad = torch_value_and_grad(
        lambda t: F.binary_cross_entropy_with_logits(
            t, torch.tensor(y), pos_weight=torch.tensor(pos_weight)
        ),
        z,
    )
    np.testing.assert_allclose(
        bce.binary_cross_entropy_with_logits(z, y, pos_weight), expected, **CLOSE
    )
    grad = bce.binary_cross_entropy_with_logits_grad(z, y, pos_weight)
    np.testing.assert_allclose(grad, expected_grad, **CLOSE)


@given(z=arrays(np.float64, 5, elements=LOGITS), y=arrays(np.int64, 5, elements=st.integers(0, 1)))
def test_one_logit_equals_two_logits(ce, bce, z, y):
    pair = np.stack([np.zeros_like(z), z], axis=1)
    one = bce.binary_cross_entropy_with_logits(z, y, reduction="none")
    np.testing.assert_allclose(one, ce.cross_entropy(pair, y, reduction="none"), **CLOSE)
    grad = bce.binary_cross_entropy_with_logits_grad(z, y, reduction="none")
    pair_grad = ce.cross_entropy_grad(pair, y, reduction="none")
    np.testing.assert_allclose(grad, pair_grad[:, 1], **CLOSE)


@given(x=arrays(np.float64, 6, elements=LOGITS))
def test_softplus_and_sigmoid_equal_pytorch_in_value_and_gradient(bce, x):
    # torch's own softplus is linear above its threshold of 20; logaddexp(x, 0) is the same function
    value, slope = torch_value_and_grad(lambda t: torch.logaddexp(t, torch.zeros_like(t)), x)
    np.testing.assert_allclose(bce.softplus(x), value, **CLOSE)
    np.testing.assert_allclose(bce.sigmoid(x), slope, **CLOSE)
    np.testing.assert_allclose(bce.sigmoid(x), torch.sigmoid(torch.tensor(x)).numpy(), rtol=1e-6)


# ---- Keras ----


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_weights_and_ignored_targets_equal_keras(load, ce, problem):
    logits, targets, options = problem
    keras_side = load("cross_entropy_tensorflow")
    k = logits.shape[1]
    weight = np.ones(k) if options["weight"] is None else options["weight"]
    kept = targets >= 0
    sample_weight = np.where(kept, weight[targets * kept], 0.0)
    criterion = keras_side.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=-100, reduction="mean_with_sample_weight", dtype="float64"
    )
    value, grad = keras_side.value_and_grad(criterion, logits, targets, sample_weight)
    if kept.any():
        np.testing.assert_allclose(ce.cross_entropy(logits, targets, weight), value, **CLOSE)
        np.testing.assert_allclose(ce.cross_entropy_grad(logits, targets, weight), grad, **CLOSE)
    else:  # the convention differs: 0 in Keras, nan in PyTorch and here
        assert value == 0.0 and np.isnan(ce.cross_entropy(logits, targets, weight))


def test_smoothing_and_default_reduction_equal_keras(load, ce):
    import keras

    value_and_grad = load("cross_entropy_tensorflow").value_and_grad
    rng = np.random.default_rng(0)
    logits, targets = 5 * rng.normal(size=(7, 4)), rng.integers(0, 4, size=7)
    criterion = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.2, dtype="float64"
    )
    value, grad = value_and_grad(criterion, logits, np.eye(4)[targets])
    np.testing.assert_allclose(
        ce.cross_entropy(logits, targets, label_smoothing=0.2), value, **CLOSE
    )
    ours = ce.cross_entropy_grad(logits, targets, label_smoothing=0.2)
    np.testing.assert_allclose(ours, grad, **CLOSE)

    weight = np.array([1.0, 2.0, 3.0, 4.0])
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    value, grad = value_and_grad(criterion, logits, targets, weight[targets])
    np.testing.assert_allclose(
        ce.cross_entropy(logits, targets, weight, reduction="sum") / 7, value
    )
    ours = ce.cross_entropy_grad(logits, targets, weight, reduction="sum") / 7
    np.testing.assert_allclose(ours, grad, **CLOSE)


@settings(max_examples=40, deadline=None)
@given(
    logits=arrays(np.float64, (4, 1), elements=LOGITS),
    targets=arrays(np.float64, (4, 1), elements=st.sampled_from([0.0, 0.3, 1.0])),
)
def test_binary_equals_keras_and_tensorflow(load, bce, logits, targets):
    tensorflow_side = load("cross_entropy_tensorflow")
    criterion = tensorflow_side.BinaryCrossentropy(from_logits=True, dtype="float64")
    value, grad = tensorflow_side.value_and_grad(criterion, logits, targets)
    np.testing.assert_allclose(
        bce.binary_cross_entropy_with_logits(logits, targets), value, **CLOSE
    )
    ours = bce.binary_cross_entropy_with_logits_grad(logits, targets)
    np.testing.assert_allclose(ours, grad, **CLOSE)

    logits = np.where(np.abs(logits) < 1e-299, 0.5, logits)  # its gradient at 0: next test
    value, grad = tensorflow_side.value_and_grad(tensorflow_side.weighted, logits, targets)
    ours = bce.binary_cross_entropy_with_logits(logits, targets, 3.0, "sum")
    np.testing.assert_allclose(ours, value, **CLOSE)
    ours = bce.binary_cross_entropy_with_logits_grad(logits, targets, 3.0, "sum")
    np.testing.assert_allclose(ours, grad, **CLOSE)


@pytest.mark.parametrize(("target", "right", "at_kink"), [(0.0, 0.5, 1.0), (1.0, -1.5, 0.0)])
def test_the_weighted_loss_of_tensorflow_has_another_gradient_at_zero(
    load, bce, target, right, at_kink
):
    tensorflow_side = load("cross_entropy_tensorflow")
    y, zero = np.array([target]), np.array([0.0])
    assert tensorflow_side.value_and_grad(tensorflow_side.weighted, zero, y)[1] == at_kink
    np.testing.assert_allclose(
        tensorflow_side.value_and_grad(tensorflow_side.weighted, np.array([1e-9]), y)[1],
        right,
        atol=1e-8,
    )
    assert bce.binary_cross_entropy_with_logits_grad(zero, y, 3.0) == right
    _, grad = torch_value_and_grad(
        lambda z: F.binary_cross_entropy_with_logits(
            z, torch.tensor(y), pos_weight=torch.tensor(3.0).double()
        ),
        zero,
    )
    assert grad == right


# ---- curvature, likelihood, soft targets, micro-batches ----


@given(logits=arrays(np.float64, st.integers(2, 6), elements=LOGITS), data=st.data())
def test_jacobian_and_squared_error_equal_autograd(load, logits, data):
    module = load("softmax_jacobian_numpy")
    target, z = data.draw(st.integers(0, len(logits) - 1)), torch.tensor(logits)
    jacobian = module.softmax_jacobian(logits)
    expected = torch.autograd.functional.jacobian(lambda t: torch.softmax(t, 0), z).numpy()
    np.testing.assert_allclose(jacobian, expected, **CLOSE)
    loss = torch.tensor(target)
    hessian = torch.autograd.functional.hessian(lambda t: F.cross_entropy(t, loss), z).numpy()
    np.testing.assert_allclose(jacobian, hessian, **CLOSE)
    np.testing.assert_allclose(module.softmax(logits), torch.softmax(z, 0).numpy(), **CLOSE)
    one_hot = F.one_hot(loss, len(logits))
    value, grad = torch_value_and_grad(
        lambda t: (torch.softmax(t, 0) - one_hot).square().sum(), logits
    )
    np.testing.assert_allclose(module.squared_error(logits, target), value, **CLOSE)
    np.testing.assert_allclose(module.squared_error_grad(logits, target), grad, **CLOSE)
    eigenvalues = np.linalg.eigvalsh(jacobian)
    assert eigenvalues.min() > -1e-12 and eigenvalues.max() < 0.5 + 1e-12
    np.testing.assert_allclose(jacobian @ np.ones(len(logits)), 0.0, atol=1e-12)


@given(seed=st.integers(0, 1000), k=st.integers(2, 6))
def test_entropy_and_divergence_equal_pytorch(load, seed, k):
    module, rng = load("maximum_likelihood_numpy"), np.random.default_rng(seed)
    q, p = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))
    q_torch, p_torch = (torch.distributions.Categorical(torch.tensor(each)) for each in (q, p))
    expected = torch.distributions.kl_divergence(q_torch, p_torch).item()
    np.testing.assert_allclose(module.kl_divergence(q, p), expected, **CLOSE)
    np.testing.assert_allclose(module.entropy(q), q_torch.entropy().item(), **CLOSE)
    soft = F.cross_entropy(torch.tensor(np.log(p))[None], torch.tensor(q)[None]).item()
    np.testing.assert_allclose(module.expected_cross_entropy(q, p), soft, **CLOSE)
    np.testing.assert_allclose(module.softmax(np.log(p) + 1e4), p, rtol=1e-9)


def test_impossible_labels_cost_infinity_and_absent_ones_nothing(load):
    module, sure = load("maximum_likelihood_numpy"), np.array([1.0, 0.0])
    assert module.entropy(sure) == 0.0 and module.kl_divergence(sure, sure) == 0.0
    assert module.expected_cross_entropy(sure, sure) == 0.0
    assert module.kl_divergence(sure, sure[::-1]) == np.inf
    assert module.expected_cross_entropy(sure, sure[::-1]) == np.inf


def test_gradient_descent_finds_the_weighted_frequencies(load, ce):
    module = load("maximum_likelihood_numpy")
    counts, weight = np.array([60.0, 30.0, 10.0]), np.array([1.0, 3.0, 5.0])
    logits = module.fit_logits(counts, weight)
    np.testing.assert_allclose(
        module.softmax(logits), weight * counts / (weight @ counts), atol=1e-9
    )
    labels = np.repeat([0, 1, 2], counts.astype(int))
    grad = ce.cross_entropy_grad(np.tile(logits, (100, 1)), labels, weight)
    np.testing.assert_allclose(grad.sum(axis=0), 0.0, atol=1e-9)  # also a minimum for torch's mean


@given(problem=problems(ignored=False), seed=st.integers(0, 1000))
def test_soft_targets_equal_pytorch(load, problem, seed):
    module, logits = load("exercise_soft_targets"), problem[0]
    q = np.random.default_rng(seed).dirichlet(np.ones(logits.shape[1]), size=len(logits))
    value, grad = torch_value_and_grad(lambda z: F.cross_entropy(z, torch.tensor(q)), logits)
    np.testing.assert_allclose(module.soft_cross_entropy(logits, q), value, **CLOSE)
    np.testing.assert_allclose(module.soft_cross_entropy_grad(logits, q), grad, **CLOSE)


def test_summed_gradient_equals_pytorch(load):
    module, rng = load("exercise_micro_batches"), np.random.default_rng(0)
    x, w, targets = (
        rng.normal(size=(7, 4)),
        rng.normal(size=(4, 3)),
        np.array([0, 1, -100, 2, -100, 0, 1]),
    )
    grad, count = module.summed_grad(x, w, targets)
    _, expected = torch_value_and_grad(
        lambda t: F.cross_entropy(torch.tensor(x) @ t, torch.tensor(targets), reduction="sum"), w
    )
    assert count == 5
    np.testing.assert_allclose(grad, expected, **CLOSE)


# ---- snippets of the frameworks ----


@pytest.mark.parametrize("k", [2, 3, 100])
def test_the_floor_of_a_double_softmax(load, k):
    assert abs(load("pitfalls_torch").double_softmax_floor(k) - (np.log(np.e + k - 1) - 1)) < 1e-12


def test_probability_losses_are_right_for_moderate_logits(load):
    module = load("dead_gradients_torch")
    z = torch.linspace(-5, 5, 21, dtype=torch.float64)
    value, grad = module.value_and_grad(module.from_logits, z)
    assert torch.allclose(value, torch.log1p(torch.exp(-z))) and torch.allclose(
        grad, z.sigmoid() - 1
    )
    for loss in (module.clamped, module.naive, module.with_epsilon):
        other, other_grad = module.value_and_grad(loss, z)
        assert torch.allclose(other, value, atol=1e-4) and torch.allclose(
            other_grad, grad, atol=1e-4
        )


def test_the_experiment_compares_what_it_says(load):
    module = load("experiment_squared_error")
    generator = torch.Generator().manual_seed(0)
    z, y = (
        torch.randn(3, 4, 5, generator=generator),
        torch.randint(0, 5, (3, 4), generator=generator),
    )
    for r in range(3):
        p, one_hot = torch.softmax(z[r], -1), F.one_hot(y[r], 5)
        expected = {
            "cross-entropy": F.cross_entropy(z[r], y[r]),
            "squared error": ((p - one_hot) ** 2).sum(1).mean(),
            "double softmax": F.cross_entropy(p, y[r]),
        }
        for name, value in expected.items():
            torch.testing.assert_close(module.mean_loss(name, z, y)[r], value)
    image, number = module.draw(
        (torch.arange(3.0)[:, None], torch.tensor([4, 7, 9])), 2, 20, generator
    )
    first, second = image.long().T
    digits = torch.tensor([4, 7, 9])
    assert torch.equal(number, digits[first] + 10 * digits[second])
    assert [len(part[1]) for part in module.DATA] == [1000, 297, 500]
