"""What must hold for dropout beyond the snippets' own asserts: agreement with the frameworks."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

# Zeros, tiny, usual and huge values; 1e300 / (1 - p) stays finite for the rates below.
VALUES = st.one_of(
    st.just(0.0), st.floats(-10, 10), st.sampled_from([1e-300, -1e4, 1e4, 1e300, -1e300])
)
SHAPES = array_shapes(min_dims=1, max_dims=3, max_side=6)
INPUTS = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=VALUES))
RATES = st.one_of(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0]), st.floats(0.0, 0.999))


class Replay:
    """A generator whose draws reproduce a given mask: just below p drops, p itself keeps."""

    def __init__(self, mask, p):
        self.draws = np.where(mask > 0, p, np.nextafter(p, -1.0))

    def random(self, shape):
        assert self.draws.shape == tuple(shape)
        return self.draws


@pytest.fixture(scope="module")
def snippet(load):
    return load("dropout_numpy")


# ---- forward and backward ----


@given(x=INPUTS, p=RATES, seed=st.integers(0, 2**31 - 1))
def test_same_mask_gives_the_output_and_gradient_of_pytorch(snippet, x, p, seed):
    drop = torch.nn.Dropout(p)
    torch.manual_seed(seed)
    mask = drop(torch.ones(x.shape, dtype=torch.float64)).numpy()
    grad_output = np.random.default_rng(seed).normal(size=x.shape)
    inputs = torch.tensor(x, requires_grad=True)
    torch.manual_seed(seed)
    expected = drop(inputs)
    expected.backward(torch.tensor(grad_output))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out, our_mask = snippet.dropout_forward(x, p, Replay(mask, p))
        grad_x = snippet.dropout_backward(grad_output, our_mask)
    assert np.isfinite(out).all() and np.isfinite(grad_x).all()
    np.testing.assert_allclose(our_mask, mask, rtol=1e-14)
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(grad_x, inputs.grad.numpy(), rtol=1e-6)


@settings(max_examples=15)
@given(x=INPUTS, p=RATES, seed=st.integers(0, 2**31 - 1))
def test_same_mask_gives_the_output_and_gradient_of_keras(load, snippet, x, p, seed):
    keras_side = load("dropout_tensorflow")
    grad_output = np.random.default_rng(seed).normal(size=x.shape)
    mask = keras_side.recover_mask(p, x.shape, seed)
    if p == 1.0:  # the zeros of Keras are not connected with the input: there is no gradient
        assert not mask.any()
        return
    expected, expected_grad = keras_side.forward_backward(p, x, grad_output, seed)
    out, our_mask = snippet.dropout_forward(x, p, Replay(mask, p))
    np.testing.assert_allclose(our_mask, mask, rtol=1e-14)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    np.testing.assert_allclose(
        snippet.dropout_backward(grad_output, our_mask), expected_grad, rtol=1e-6
    )


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.8, 0.99])
def test_keep_rate_lies_within_binomial_limits_and_scale_is_exact(snippet, p):
    x = np.ones((400, 500))
    _, mask = snippet.dropout_forward(x, p, np.random.default_rng(3))
    assert set(np.unique(mask)) == {0.0, 1.0 / (1.0 - p)}
    limit = 5 * np.sqrt(p * (1 - p))
    assert abs((mask > 0).mean() - (1 - p)) < limit / np.sqrt(mask.size)
    for axis in (0, 1):  # each row and each column on its own: the entries are independent
        rates = (mask > 0).mean(axis=axis)
        assert np.all(np.abs(rates - (1 - p)) < limit / np.sqrt(mask.shape[axis]) + 1e-9)
        assert rates.std() == pytest.approx(np.sqrt(p * (1 - p) / mask.shape[axis]), rel=0.2)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.8])
def test_mean_is_kept_and_variance_is_p_over_1_minus_p_times_x_squared(snippet, p):
    x = np.array([-3.0, 0.0, 0.5, 2.0])
    rows = np.broadcast_to(x, (200_000, 4))
    out, _ = snippet.dropout_forward(rows, p, np.random.default_rng(0))
    std = np.sqrt(p / (1 - p)) * np.abs(x)
    assert np.all(np.abs(out.mean(axis=0) - x) <= 5 * std / np.sqrt(len(rows)))
    np.testing.assert_allclose(out.std(axis=0), std, rtol=0.02)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
def test_dtype_and_shape_are_kept(snippet, dtype, training):
    x = np.ones((1, 7), dtype=dtype)  # a single row
    out, mask = snippet.dropout_forward(x, 0.3, np.random.default_rng(0), training)
    grad_x = snippet.dropout_backward(x, mask)
    assert out.dtype == mask.dtype == grad_x.dtype == dtype
    assert out.shape == mask.shape == grad_x.shape == (1, 7)


@given(x=INPUTS, p=RATES)
def test_evaluation_is_the_identity_for_every_rate(snippet, x, p):
    out, mask = snippet.dropout_forward(x, p, np.random.default_rng(0), training=False)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(snippet.dropout_backward(x, mask), x)


@given(x=INPUTS)
def test_edges_of_the_rate(snippet, x):
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(snippet.dropout_forward(x, 0.0, rng)[0], x)
    out, mask = snippet.dropout_forward(x, 1.0, rng)
    assert not out.any() and not mask.any()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), -1e-300])
@pytest.mark.parametrize("training", [True, False])
def test_a_rate_outside_0_to_1_is_refused(snippet, p, training):
    with pytest.raises(ValueError, match="between 0 and 1"):
        snippet.dropout_forward(np.ones(3), p, np.random.default_rng(0), training)


def test_integers_are_refused_because_the_mask_would_be_rounded(snippet):
    with pytest.raises(TypeError, match="floating point"):
        snippet.dropout_forward(np.ones(3, dtype=int), 0.5, np.random.default_rng(0))


def test_the_input_is_not_changed_and_each_call_draws_anew(snippet):
    x = np.ones((30, 30))
    rng = np.random.default_rng(0)
    first, second = (snippet.dropout_forward(x, 0.5, rng)[0] for _ in range(2))
    assert np.all(x == 1.0)
    assert np.any(first != second)


def test_at_rate_1_keras_gives_zeros_without_a_gradient_and_tf_nn_refuses():
    import keras
    import tensorflow as tf

    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = keras.layers.Dropout(1.0)(x, training=True)
    assert not out.numpy().any()
    assert tape.gradient(out, x) is None
    with pytest.raises(ValueError, match="rate"):
        tf.nn.dropout(x, 1.0)


# ---- the ensemble ----

LOGITS = arrays(
    np.float64, (4, 3), elements=st.floats(-20, 20) | st.sampled_from([1e4, -1e4, 1e300])
)


@given(logits=LOGITS)
def test_log_softmax_agrees_with_pytorch(load, logits):
    ours = load("ensemble_numpy").log_softmax(logits)
    theirs = torch.log_softmax(torch.tensor(logits), -1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


@given(
    logits=arrays(np.float64, (4, 3), elements=st.floats(-20, 20) | st.sampled_from([1e4, -1e4]))
)
def test_means_of_members_agree_with_pytorch(load, logits):
    ensemble = load("ensemble_numpy")
    chance = np.array([0.1, 0.2, 0.3, 0.4])
    members = torch.distributions.Categorical(logits=torch.tensor(logits))
    weights = torch.tensor(chance).unsqueeze(-1)
    log_members = ensemble.log_softmax(logits)
    arithmetic = (weights * members.probs).sum(0)
    np.testing.assert_allclose(
        ensemble.arithmetic_mean(log_members, chance), arithmetic.numpy(), rtol=1e-6, atol=1e-12
    )
    geometric = torch.softmax((weights * torch.tensor(log_members)).sum(0), -1)
    np.testing.assert_allclose(
        ensemble.geometric_mean(log_members, chance), geometric.numpy(), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize(("d", "p"), [(1, 0.0), (1, 0.4), (5, 0.1), (9, 0.7)])
def test_all_masks_have_mean_1_and_the_variance_of_dropout(load, d, p):
    masks, chance = load("ensemble_numpy").all_masks(d, p)
    assert masks.shape == (2**d, d) and chance.shape == (2**d,)
    assert len(np.unique(masks, axis=0)) == 2**d
    np.testing.assert_allclose(chance.sum(), 1.0)
    np.testing.assert_allclose(chance @ masks, np.ones(d))
    covariance = (masks - 1).T @ (chance[:, None] * (masks - 1))
    np.testing.assert_allclose(covariance, p / (1 - p) * np.eye(d), atol=1e-12)


# ---- the adaptive penalty ----

SCORES = arrays(np.float64, 6, elements=st.floats(-30, 30) | st.sampled_from([1e4, -1e4, 1e300]))


@given(scores=SCORES)
def test_losses_agree_with_pytorch_in_value_and_gradient(load, scores):
    adaptive = load("adaptive_l2_numpy")
    y = np.array([0.0, 1.0] * 3)
    logits = torch.tensor(scores)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor(y), reduction="none"
    )
    np.testing.assert_allclose(
        adaptive.logistic_losses(scores, y), theirs.numpy(), rtol=1e-6, atol=1e-12
    )
    small = np.clip(scores, -1e4, 1e4)
    square = torch.nn.functional.mse_loss(torch.tensor(small), torch.tensor(y), reduction="none")
    np.testing.assert_allclose(adaptive.squared_losses(small, y), square.numpy(), rtol=1e-6)


def torch_penalty(x, w, p, hessian_of):
    """Return p / (2 (1 - p)) sum_j w_j^2 H_jj with H from autograd."""
    hessian = torch.autograd.functional.hessian(hessian_of, torch.tensor(w))
    return float(0.5 * p / (1 - p) * (torch.tensor(w) ** 2 * hessian.diagonal()).sum())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("p", [0.0, 0.2, 0.7])
def test_penalties_are_half_p_over_1_minus_p_times_the_diagonal_of_the_hessian(load, seed, p):
    adaptive = load("adaptive_l2_numpy")
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(7, 4)), rng.normal(size=4)
    y = (rng.random(7) > 0.5).astype(float)
    tx, ty = torch.tensor(x), torch.tensor(y)
    linear = torch_penalty(x, w, p, lambda v: ((ty - tx @ v) ** 2).sum())
    logistic = torch_penalty(
        x,
        w,
        p,
        lambda v: torch.nn.functional.binary_cross_entropy_with_logits(tx @ v, ty, reduction="sum"),
    )
    np.testing.assert_allclose(adaptive.linear_penalty(x, w, p), linear, rtol=1e-6)
    np.testing.assert_allclose(adaptive.logistic_penalty(x, w, p), logistic, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_expected_squared_loss_is_least_squares_with_the_penalty(load, scale):
    adaptive = load("adaptive_l2_numpy")
    rng = np.random.default_rng(1)
    x, w, y = scale * rng.normal(size=(5, 6)), rng.normal(size=6), rng.normal(size=5)
    for p in (0.0, 0.3, 0.8):
        exact = adaptive.expected_loss(adaptive.squared_losses, x, y, w, p)
        closed = adaptive.squared_losses(x @ w, y).sum() + adaptive.linear_penalty(x, w, p)
        np.testing.assert_allclose(exact, closed, rtol=1e-10)


def test_logistic_penalty_is_of_second_order(load):
    adaptive = load("adaptive_l2_numpy")
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(9, 5)), rng.normal(size=5)
    y = (rng.random(9) > 0.5).astype(float)

    def error(c):
        exact = adaptive.expected_loss(adaptive.logistic_losses, x, y, c * w, 0.4)
        clean = adaptive.logistic_losses(x @ (c * w), y).sum()
        return abs(exact - clean - adaptive.logistic_penalty(x, c * w, 0.4))

    assert error(0.01) / error(0.02) < 0.5**2.5  # the remainder is of third order or higher


@pytest.mark.parametrize("p", [0.0, 0.2, 0.7])
def test_the_gradient_of_the_expected_loss_vanishes_at_the_closed_form(load, p):
    adaptive = load("adaptive_l2_numpy")
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 4)), rng.normal(size=12)
    masks, chance = load("ensemble_numpy").all_masks(4, p)
    w = torch.tensor(adaptive.dropout_least_squares(x, y, p), requires_grad=True)
    scores = (torch.tensor(masks) * w) @ torch.tensor(x.T)
    loss = (torch.tensor(chance) @ (torch.tensor(y) - scores) ** 2).sum()
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), 0.0, atol=1e-10)
    np.testing.assert_allclose(
        adaptive.expected_loss(adaptive.squared_losses, x, y, w.detach().numpy(), p), loss.item()
    )


def test_the_predictions_do_not_depend_on_the_units_of_the_features(load):
    solve = load("adaptive_l2_numpy").dropout_least_squares
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(12, 4)), rng.normal(size=12)
    units = np.array([10.0, 1.0, 0.01, 1e3])
    np.testing.assert_allclose((x * units) @ solve(x * units, y, 0.3), x @ solve(x, y, 0.3))


# ---- pitfalls and exercises ----


def test_the_floor_of_dropped_logits_is_the_limit_of_the_exact_expected_loss(load):
    classes, p = 5, 0.3
    masks, chance = load("ensemble_numpy").all_masks(classes, p)
    logits = np.array([1.0, -1.0, -1.0, -1.0, -1.0])
    log_softmax = load("ensemble_numpy").log_softmax
    losses = [float(-chance @ log_softmax(c * logits * masks)[:, 0]) for c in (1, 3, 10, 40)]
    floor = load("pitfalls_torch").logit_dropout_floor(classes, p)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(floor, abs=1e-12)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_variance_stored_by_batchnorm_is_the_second_moment_over_1_minus_p(load, p):
    torch.manual_seed(0)
    x = 1.5 + torch.randn(200_000, 1)
    stored, met = load("pitfalls_torch").variance_shift(x, p)
    assert stored == pytest.approx((1 + 1.5**2) / (1 - p) - 1.5**2, rel=0.03)
    assert met == pytest.approx(1.0, rel=0.03)


@given(z=INPUTS, p=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_dropout_and_relu_commute_as_in_pytorch(load, z, p):
    placement = load("exercise_placement_numpy")
    mask = (np.random.default_rng(0).random(z.shape) >= p) / (1 - p)
    assert placement.order_gap(placement.relu, z, mask) == 0.0
    inputs = torch.tensor(z, requires_grad=True)
    torch.relu(inputs).sum().backward()
    np.testing.assert_allclose(placement.relu(z), torch.relu(inputs).detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(placement.relu_gradient(z), inputs.grad.numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        placement.sigmoid(z), torch.sigmoid(inputs).detach().numpy(), rtol=1e-6, atol=1e-12
    )


def test_descent_step_agrees_with_pytorch(load):
    rng = np.random.default_rng(0)
    h, y, w = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=3)
    mask = (rng.random((6, 3)) >= 0.4) / 0.6
    tw = torch.tensor(w, requires_grad=True)
    loss = ((torch.tensor(h * mask) @ tw - torch.tensor(y)) ** 2 / 2).mean()
    loss.backward()
    ours = load("exercise_convention_numpy").descent_step(w, h, y, mask, 0.1)
    np.testing.assert_allclose(ours, (tw - 0.1 * tw.grad).detach().numpy(), rtol=1e-6)


# ---- experiments ----


@pytest.mark.parametrize("experiment", ["experiment_label_noise", "experiment_rate"])
def test_only_the_stated_share_of_training_and_validation_labels_is_wrong(load, experiment):
    images, labels, true = load(experiment).noisy_digits(seed=1, noise=0.4)
    assert images.shape == (1797, 64) and images.min() == 0.0 and images.max() == 1.0
    assert np.array_equal(labels[1300:], true[1300:])
    draws = [load(experiment).noisy_digits(seed, 0.4) for seed in range(20)]
    wrong = np.mean([(labels != true)[:1300] for _, labels, true in draws])
    assert wrong == pytest.approx(0.4, abs=0.015)
    _, labels, true = load(experiment).noisy_digits(seed=1, noise=0.0)
    assert np.array_equal(labels, true)


@pytest.mark.parametrize("experiment", ["experiment_label_noise", "experiment_rate"])
def test_networks_side_by_side_compute_what_each_would_alone(load, experiment):
    forward = load(experiment).forward
    generator = torch.Generator().manual_seed(0)
    shapes = [(64, 64), (1, 64), (64, 64), (1, 64), (64, 10), (1, 10)]
    params = [torch.randn(2, *shape, generator=generator) / 8 for shape in shapes]
    x = torch.randn(2, 5, 64, generator=generator)
    logits = forward(x, params, torch.zeros(2, 1, 1), None)
    for net in range(2):
        w1, b1, w2, b2, w3, b3 = (part[net] for part in params)
        alone = ((x[net] @ w1 + b1).relu() @ w2 + b2).relu() @ w3 + b3
        torch.testing.assert_close(logits[net], alone)
    torch.testing.assert_close(forward(x, params, torch.zeros(2, 1, 1), generator), logits)


@pytest.mark.parametrize("experiment", ["experiment_label_noise", "experiment_rate"])
def test_networks_side_by_side_drop_and_scale_after_both_hidden_layers(load, experiment):
    eye, zero = torch.eye(100).expand(2, 100, 100), torch.zeros(2, 1, 100)
    p = torch.tensor([0.2, 0.5]).view(2, 1, 1)
    generator = torch.Generator().manual_seed(0)
    out = load(experiment).forward(
        torch.ones(2, 400, 100), [eye, zero, eye, zero, eye, zero], p, generator
    )
    for net, rate in enumerate([0.2, 0.5]):
        kept = out[net][out[net] > 0]
        torch.testing.assert_close(kept, torch.full_like(kept, (1 - rate) ** -2))
        assert kept.numel() / out[net].numel() == pytest.approx((1 - rate) ** 2, abs=0.015)


def test_the_gain_in_standard_errors_is_the_paired_t_statistic(load):
    stats = pytest.importorskip("scipy.stats")
    errors = np.random.default_rng(0).normal(size=(2, 6))
    ours = load("experiment_label_noise").in_standard_errors(errors)
    assert ours == pytest.approx(stats.ttest_rel(*errors).statistic)


def test_each_arm_gets_the_values_at_its_own_smallest_mean_validation_error(load):
    val_error = np.array([[[1.0, 9.0], [4.0, 4.0]], [[3.0, 4.0], [5.0, 5.0]]])  # (rates, 2, seeds)
    values = np.arange(8.0).reshape(2, 2, 2)
    chosen = load("experiment_label_noise").at_best_rate(values, val_error)
    np.testing.assert_array_equal(chosen, [values[1, 0], values[0, 1]])
