"""What must hold for threshold units and the perceptron beyond the snippets' own asserts."""

import warnings
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import Perceptron
from sklearn.svm import SVC
from torch.nn import functional as F

SEEDS = st.integers(0, 2**31 - 1)
# Whole numbers make ties frequent and sums exact.
WHOLE = st.integers(-3, 3).map(float)
SCORES = st.one_of(
    st.floats(-30, 30), st.sampled_from([0.0, 1.0, -1.0, 1e-300, 1e4, -1e4, 1e300, -1e300])
)


@st.composite
def problems(draw):
    """Examples (N, D) of whole numbers, labels of +1 and -1: separable or not."""
    n, d = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    x = draw(arrays(np.float64, (n, d), elements=WHOLE))
    return x, draw(arrays(np.float64, n, elements=st.sampled_from([-1.0, 1.0])))


def separable(seed, n=30, d=3):
    """Random examples with a known separating vector and a margin of at least 0.1."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=d)
    u /= np.linalg.norm(u)
    x = rng.uniform(-2, 2, size=(n, d))
    y = np.where(x @ u > 0, 1.0, -1.0)
    return x + 0.1 * y[:, None] * u, y, u


def rule(x, y, w, lr, epochs):
    """The learning rule with PyTorch's tensors; return w after every mistake."""
    x, y, w = torch.tensor(x), torch.tensor(y), torch.tensor(w).clone()
    path = []
    for _ in range(epochs):
        clean = True
        for x_n, y_n in zip(x, y, strict=True):
            if y_n * torch.dot(x_n, w) <= 0:
                w += lr * y_n * x_n
                path.append(w.numpy().copy())
                clean = False
        if clean:
            return path, True
    return path, False


# ---- threshold units ----


@given(x=arrays(np.float64, (6, 3), elements=WHOLE), w=arrays(np.float64, 3, elements=WHOLE))
def test_threshold_unit_agrees_with_heaviside(load, x, w):
    for threshold in (-1.0, 0.0, 0.5, 2.0):
        scores = torch.tensor(x) @ torch.tensor(w) - threshold
        expected = torch.heaviside(scores, torch.ones(1, dtype=torch.float64)).numpy()
        ours = load("gates_numpy").threshold_unit(x, w, threshold)
        np.testing.assert_array_equal(ours, expected)


@given(
    excitatory=arrays(np.int64, (5, 3), elements=st.integers(0, 1)),
    inhibitory=arrays(np.int64, (5, 2), elements=st.integers(0, 1)),
    threshold=st.integers(0, 4),
)
def test_one_inhibitory_input_is_a_veto(load, excitatory, inhibitory, threshold):
    fired = load("gates_numpy").mcculloch_pitts(excitatory, inhibitory, threshold)
    expected = torch.tensor(excitatory).sum(1) >= threshold
    expected &= torch.tensor(inhibitory).amax(1) == 0
    np.testing.assert_array_equal(fired, expected.int().numpy())
    weights = np.array([1.0] * 3 + [-4.0] * 2)  # a veto is a weight below minus all others
    both = np.hstack([excitatory, inhibitory]).astype(float)
    if threshold > 0 or not inhibitory.any():
        unit = load("gates_numpy").threshold_unit(both, weights, threshold)
        np.testing.assert_array_equal(fired, unit)


@pytest.mark.parametrize("outputs", list(product([0, 1], repeat=4)))
def test_find_unit_and_signed_sum_agree_with_the_perceptron(load, outputs):
    gates, x = load("gates_numpy"), load("gates_numpy").X
    unit, y = gates.find_unit(outputs), 2.0 * np.array(outputs) - 1
    constant = load("perceptron_numpy").with_constant(x)
    _, _, ended = load("perceptron_numpy").train(constant, y, np.zeros(3), max_epochs=100)
    assert (unit is not None) == ended
    np.testing.assert_array_equal(gates.signed_sum(outputs), constant.T @ y)
    if unit is not None:
        fired = gates.threshold_unit(x, np.array(unit[:2]), unit[2])
        assert tuple(fired) == outputs


def test_xor_is_the_exclusive_or_of_bits(load):
    bits = np.random.default_rng(0).integers(0, 2, size=(50, 2))
    expected = torch.logical_xor(*torch.tensor(bits).T).int().numpy()
    np.testing.assert_array_equal(load("gates_numpy").xor(bits), expected)


# ---- the learning rule ----


@given(problem=problems(), lr=st.sampled_from([0.5, 1.0, 4.0]), start=st.integers(-1, 1))
@settings(max_examples=60)
def test_training_agrees_with_tensors_step_by_step(load, problem, lr, start):
    x, y = problem
    w0 = np.full(x.shape[1], float(start))
    path, ended = rule(x, y, w0, lr, epochs=6)
    w, mistakes, own_ended = load("perceptron_numpy").train(x, y, w0, lr, max_epochs=6)
    np.testing.assert_array_equal(w, path[-1] if path else w0)
    assert mistakes == len(path) and own_ended == ended
    assert (w0 == start).all()  # the start is not changed


@given(problem=problems())
@settings(max_examples=30)
def test_training_agrees_with_scikit_learn(load, problem):
    x, y = problem
    if len(set(y)) < 2:
        y[0] = 1.0
        x, y = np.vstack([x, x[:1] + 1]), np.append(np.where(y > 0, 1.0, -1.0), -1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it has not converged
        theirs = Perceptron(shuffle=False, tol=None, max_iter=5).fit(x, y)
    snippet = load("perceptron_numpy")
    # scikit-learn takes no early exit: five passes, whatever happens
    constant, w = snippet.with_constant(x), np.zeros(x.shape[1] + 1)
    for _ in range(5):
        w, _, _ = snippet.train(constant, y, w, max_epochs=1)
    np.testing.assert_allclose(w[1:], theirs.coef_[0], atol=1e-9)
    np.testing.assert_allclose(w[0], theirs.intercept_[0], atol=1e-9)
    np.testing.assert_array_equal(snippet.predict(constant, w), theirs.predict(x))


def test_a_score_of_zero_is_predicted_as_minus_one_and_is_a_mistake_for_both_labels(load):
    snippet, x = load("perceptron_numpy"), np.array([[1.0, 2.0]])
    assert snippet.predict(x, np.zeros(2)).tolist() == [-1]
    for label in (1.0, -1.0):
        w, mistakes, ended = snippet.train(x, np.array([label]), np.zeros(2))
        assert mistakes == 1 and ended and w.tolist() == [label, 2 * label]


@given(seed=SEEDS, scale=st.sampled_from([1e-8, 1.0, 1e8]))
@settings(max_examples=30)
def test_the_bound_holds_and_is_free_of_units(load, seed, scale):
    snippet = load("perceptron_numpy")
    x, y, u = separable(seed)
    expected = float(np.linalg.norm(x, axis=1).max() / (y * (x @ u)).min()) ** 2
    assert snippet.mistake_bound(scale * x, y, 7 * u) == pytest.approx(expected)
    assert snippet.margin(x, y, 3 * u) == pytest.approx((y * (x @ u)).min())
    w, mistakes, ended = snippet.train(scale * x, y, np.zeros(3), max_epochs=10**4)
    assert ended and 0 < mistakes <= expected and snippet.margin(x, y, w) > 0
    halves = snippet.train(scale * x, y, np.zeros(3), 0.5, 10**4)
    assert halves[1] == mistakes
    np.testing.assert_array_equal(2 * halves[0], w)  # a power of two: exactly


def test_extreme_inputs_raise_no_warning(load):
    x = np.array([[1.0, 1e150], [1.0, -1e150], [1.0, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w, mistakes, ended = load("perceptron_numpy").train(x, np.array([1.0, -1, -1]), np.zeros(2))
    assert ended and np.isfinite(w).all() and mistakes <= 5


# ---- Novikoff ----


@given(seed=SEEDS, margin=st.sampled_from([0.05, 0.2]))
@settings(max_examples=15)
def test_pairs_have_the_margin_that_a_support_vector_machine_finds(load, seed, margin):
    a = load("novikoff_numpy").pairs(20, 4, margin, np.random.default_rng(seed))
    # Both classes, mirrored, so that the best hyperplane passes through the origin.
    x, labels = np.concatenate([a, -a]), np.repeat([1, -1], len(a))
    machine = SVC(kernel="linear", C=1e8, tol=1e-6).fit(x, labels)
    assert 1 / np.linalg.norm(machine.coef_) == pytest.approx(margin, rel=1e-2)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1.0)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_weights_after_mistakes_agree_with_tensors(load, seed):
    x, y, _ = separable(seed)
    path = load("novikoff_numpy").weights_after_mistakes(y[:, None] * x)
    expected, ended = rule(x, y, np.zeros(3), 1.0, 10**4)
    assert ended
    np.testing.assert_allclose(path, np.vstack([np.zeros(3), expected]), atol=1e-9)


# ---- XOR, cycles, pocket ----


@given(problem=problems())
@settings(max_examples=40, deadline=None)
def test_the_rule_ends_or_cycles_as_a_support_vector_machine_says(load, problem):
    snippet = load("xor_numpy")
    x, y = np.sign(problem[0]).astype(int), problem[1].astype(int)
    first, length = snippet.find_cycle(x, y)
    # Gordan: separable if and only if the hull of y x misses the origin
    a = y[:, None] * x
    signed, labels = np.concatenate([a, -a]), np.repeat([1, -1], len(a))
    machine = SVC(kernel="linear", C=1e6).fit(signed, labels)
    scores = (a @ machine.coef_[0]) + 0.0
    assert (length == 0) == bool((scores > 1e-3).all())
    w = np.zeros(x.shape[1], dtype=int)
    states = [tuple(w)]
    for _ in range(first + length):
        path = snippet.one_epoch(x, y, w)
        w = path[-1] if path else w
        states.append(tuple(w))
    if length:
        assert states[first] == states[first + length]
        assert len(set(states[: first + length])) == first + length  # nothing earlier repeats
    else:
        assert snippet.errors(x, y, w) == 0 and snippet.one_epoch(x, y, w) == []


@given(problem=problems())
def test_one_epoch_agrees_with_tensors(load, problem):
    x, y = problem
    expected, _ = rule(x, y, np.ones(x.shape[1]), 1.0, 1)
    path = load("xor_numpy").one_epoch(x, y, np.ones(x.shape[1]))
    assert len(path) == len(expected)
    for ours, theirs in zip(path, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_pocket_never_gets_worse_and_reports_its_own_errors(load, seed):
    snippet = load("xor_numpy")
    found = [
        snippet.pocket(snippet.X, snippet.Y, steps, np.random.default_rng(seed))
        for steps in (0, 5, 50, 500, 5000)
    ]
    fewest = [errors for _, errors in found]
    assert fewest == sorted(fewest, reverse=True) and fewest[0] == 4 and fewest[-1] == 1
    for (w, errors), (later, later_errors) in pairwise(found):  # only fewer errors replace it
        assert later_errors < errors or np.array_equal(w, later)
    for w, errors in found:
        scores = torch.tensor(snippet.Y) * (torch.tensor(snippet.X) @ torch.tensor(w))
        assert errors == snippet.errors(snippet.X, snippet.Y, w) == int((scores <= 0).sum())


# ---- losses ----


@given(t=arrays(np.float64, 7, elements=SCORES))
def test_losses_and_slopes_agree_with_pytorch(load, t):
    snippet = load("losses_numpy")
    zero, one = torch.zeros(7, dtype=torch.float64), torch.ones(7, dtype=torch.float64)
    cases = (
        # margin_ranking_loss is max(0, -(t - 0) + margin); its slope at the kink is -1
        ("perceptron", lambda s: F.margin_ranking_loss(s, zero, one, 0.0, reduction="none"), None),
        ("hinge", lambda s: F.margin_ranking_loss(s, zero, one, 1.0, reduction="none"), 1.0),
        ("logistic", lambda s: F.softplus(-s, threshold=1000), None),
    )
    for name, theirs, kink in cases:
        leaf = torch.tensor(t, requires_grad=True)
        expected = theirs(leaf)
        expected.sum().backward()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            value = getattr(snippet, f"{name}_loss")(t)
            slope = getattr(snippet, f"{name}_slope")(t)
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-9, atol=1e-12)
        smooth = t != kink
        np.testing.assert_allclose(slope[smooth], leaf.grad.numpy()[smooth], rtol=1e-6, atol=1e-12)
    assert snippet.perceptron_loss(t).shape == snippet.hinge_loss(t).shape == (7,)
    assert snippet.logistic_loss(t).shape == snippet.hinge_slope(t).shape == (7,)
    assert snippet.logistic_slope(np.zeros(1))[0] == -0.5
    assert snippet.hinge_slope(np.ones(1))[0] == 0
    assert snippet.perceptron_slope(np.zeros(1))[0] == -1


@given(seed=SEEDS)
@settings(max_examples=10)
def test_sgd_agrees_with_the_optimizer_of_pytorch(load, seed):
    snippet = load("losses_numpy")
    x, y, _ = separable(seed, n=10)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    for _ in range(3):
        for x_n, y_n in zip(torch.tensor(x), torch.tensor(y), strict=True):
            optimizer.zero_grad()
            F.softplus(-y_n * (x_n @ w)).backward()
            optimizer.step()
    ours = snippet.sgd(x, y, snippet.logistic_slope, 3)
    np.testing.assert_allclose(ours, w.detach().numpy(), rtol=1e-6, atol=1e-9)
    by_rule, _, _ = load("perceptron_numpy").train(x, y, np.zeros(3), max_epochs=3)
    np.testing.assert_allclose(snippet.sgd(x, y, snippet.perceptron_slope, 3), by_rule)


# ---- the snippets of PyTorch ----


@given(problem=problems(), epochs=st.integers(1, 4))
@settings(max_examples=20)
def test_rule_and_explicit_loss_agree_in_both_frameworks(load, problem, epochs):
    snippet = load("perceptron_torch")
    x, y = problem
    w, mistakes = snippet.train_by_rule(torch.tensor(x), torch.tensor(y), epochs)
    path, _ = rule(x, y, np.zeros(x.shape[1]), 1.0, epochs)
    expected = path[-1] if path else np.zeros(x.shape[1])
    np.testing.assert_array_equal(w.numpy(), expected)
    assert mistakes == len(path)
    np.testing.assert_array_equal(snippet.train_in_numpy(x, y, epochs), expected)
    by_loss = snippet.train_by_autograd(torch.tensor(x), torch.tensor(y), epochs, snippet.rule_loss)
    np.testing.assert_array_equal(by_loss.numpy(), expected)


# ---- experiments ----


@pytest.mark.parametrize("kind", ["band", "gap"])
@pytest.mark.parametrize("margin", [0.3, 0.03])
def test_data_of_the_experiment_has_the_margin_it_says(load, kind, margin):
    a = load("experiment_margin").make(kind, margin, np.random.default_rng(0))
    assert a.shape == (200, 20)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1.0)
    assert a[:, 0].min() == pytest.approx(margin)
    closest = a[np.isclose(a[:, 0], margin)]
    midpoints = closest[:, None] + closest[None]  # some pair has its midpoint on the axis
    assert np.isclose(np.linalg.norm(midpoints, axis=2), 2 * margin).any()


@given(seed=SEEDS, lr=st.sampled_from([0.5, 1.0]), start=st.integers(0, 1))
@settings(max_examples=20)
def test_jumping_from_mistake_to_mistake_is_the_same_rule(load, seed, lr, start):
    x, y, _ = separable(seed)
    path, _ = rule(x, y, np.full(3, float(start)), lr, 10**4)
    last = path[-1] if path else np.full(3, float(start))
    w, mistakes = load("experiment_margin").run(y[:, None] * x, np.full(3, float(start)), lr)
    np.testing.assert_allclose(w, last, atol=1e-9)
    assert mistakes == len(path)
    if start == 0:
        w, mistakes = load("pitfalls_numpy").train(x, y, lr)
        np.testing.assert_allclose(w, last, atol=1e-9)
        assert mistakes == len(path)


def test_texts_of_the_experiments(load):
    assert load("experiment_margin").spread([3, 1, 2000]) == "3 (1 to 2,000)"
    assert load("experiment_averaging").percent(np.array([1.0, 4.0])) == "2.5 (1.0 to 4.0)"


def test_slope_is_that_of_a_power_law_of_medians_and_the_interval_resamples_seeds(load):
    snippet, rng = load("experiment_margin"), np.random.default_rng(0)
    law = 3 / np.array(snippet.MARGINS)[:, None] ** 1.7 * np.array([0.5, 1.0, 9.0])
    assert snippet.slope(law) == pytest.approx(1.7)
    assert snippet.interval(law, rng) == "1.70 to 1.70"  # any seeds give the same slope
    counts = np.exp(rng.normal(size=(5, 10)))
    draws = np.random.default_rng(3)
    picked = [counts[:, draws.integers(10, size=10)] for _ in range(500)]
    slopes = torch.tensor([snippet.slope(values) for values in picked], dtype=torch.float64)
    low, high = torch.quantile(slopes, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert snippet.interval(counts, np.random.default_rng(3)) == f"{low:.2f} to {high:.2f}"
    law[0, 1:] *= 2  # not a power law: least squares, not the end points
    fit = np.linalg.lstsq(
        np.column_stack([np.ones(5), -np.log(snippet.MARGINS)]),
        np.log(np.median(law, axis=1)),
        rcond=None,
    )[0][1]
    assert snippet.slope(law) == pytest.approx(fit)


def test_last_average_and_vote_by_their_definitions(load):
    snippet, rng = load("experiment_averaging"), np.random.default_rng(0)
    x, x_test = rng.normal(size=(20, 4)), rng.normal(size=(9, 4))
    y = np.where(rng.random((20, 3)) < 0.4, 1.0, -1.0)
    found = snippet.train(x, y, x_test, [7, 45])
    for scores, steps in zip(found, (7, 45), strict=True):
        for k in range(3):
            w, history = np.zeros(4), []
            for step in range(steps):
                n = step % 20
                if y[n, k] * (x[n] @ w) <= 0:
                    w = w + y[n, k] * x[n]
                history.append(w)
            past = torch.tensor(np.array(history))  # (steps, D)
            votes = torch.sign(torch.tensor(x_test) @ past.T).sum(1)
            np.testing.assert_allclose(scores["last"][:, k], x_test @ w, atol=1e-9)
            average = torch.tensor(x_test) @ past.sum(0)
            np.testing.assert_allclose(scores["average"][:, k], average.numpy(), atol=1e-9)
            np.testing.assert_array_equal(scores["vote"][:, k], votes.numpy())


def test_the_split_keeps_the_test_labels_and_changes_a_share_of_the_others(load):
    snippet = load("experiment_averaging")
    clean, noisy = snippet.split(3, 0.0), snippet.split(3, 0.2)
    np.testing.assert_array_equal(clean[0], noisy[0])
    np.testing.assert_array_equal(clean[3], noisy[3])
    assert (clean[0][:, 0] == 1).all() and clean[0].max() == 1.0
    assert len(clean[0]) == 1200 and len(clean[3]) == 597
    assert 0.15 < np.mean((clean[1] != noisy[1]).any(axis=1)) < 0.25
    assert (noisy[1].sum(axis=1) == -8).all()  # one +1 per row


# ---- exercises and pitfalls ----


@given(seed=SEEDS)
@settings(max_examples=20)
def test_counts_of_the_exercises_agree_with_the_rule(load, seed):
    x, y, _ = separable(seed)
    path, _ = rule(x, y, np.zeros(3), 1.0, 10**4)
    assert load("exercise_tight_numpy").mistakes(y[:, None] * x) == len(path)
    own = load("exercise_by_hand_numpy").corrections(x, y)
    np.testing.assert_allclose([w for _, w in own], path, atol=1e-9)
    for n, (example, _) in enumerate(own):
        before = own[n - 1][1] if n else np.zeros(3)
        assert y[example] * (x[example] @ before) <= 0


@pytest.mark.parametrize(("n", "expected"), [(1, 4), (2, 14), (3, 104)])
def test_separable_functions_are_counted_as_linear_programming_counts_them(load, n, expected):
    from scipy.optimize import linprog

    count, repeating = load("exercise_count_numpy").count_separable(n)
    x = np.array([(1, *bits) for bits in product([0, 1], repeat=n)])
    feasible = 0
    for y in product([-1, 1], repeat=2**n):
        a = -np.array(y)[:, None] * x  # y x w >= 1
        result = linprog(np.zeros(n + 1), a, -np.ones(2**n), bounds=(None, None))
        feasible += result.status == 0
    assert count == feasible == expected and count + repeating == 2 ** (2**n)


def test_helpers_of_the_pitfalls(load):
    snippet = load("pitfalls_numpy")
    x = np.array([[2.0], [-3.0]])
    np.testing.assert_array_equal(snippet.with_constant(x), [[1, 2], [1, -3]])
    np.testing.assert_array_equal(
        snippet.with_constant(x), load("perceptron_numpy").with_constant(x)
    )
    assert snippet.error_rate(x, np.array([1, 1]), np.array([1.0])) == 0.5
    w, count = snippet.train(np.zeros((1, 1)), np.ones(1), max_mistakes=7)
    assert count == 7 and w[0] == 0
