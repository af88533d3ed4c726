"""What must hold beyond the snippets' asserts, mostly agreement with PyTorch."""

import random
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

VALUES = st.one_of(st.just(0.0), st.floats(-3, 3), st.sampled_from([1e-300, 1e4, -1e4]))
SEEDS = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def ad(load):
    return load("autodiff_numpy")


def close(ours, theirs, rtol=1e-9, atol=1e-12):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert np.shape(ours) == np.shape(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def exp(x):
    return torch.exp(x) if isinstance(x, torch.Tensor) else np.exp(x)


def log(x):
    return torch.log(x) if isinstance(x, torch.Tensor) else np.log(x)


def sin(x):
    return torch.sin(x) if isinstance(x, torch.Tensor) else np.sin(x)


def cos(x):
    return torch.cos(x) if isinstance(x, torch.Tensor) else np.cos(x)


def tanh(x):
    return torch.tanh(x) if isinstance(x, torch.Tensor) else np.tanh(x)


def constant(array, x):
    return torch.tensor(array) if isinstance(x, torch.Tensor) else array


A = np.random.default_rng(1).normal(size=(3, 2))
B = np.random.default_rng(2).normal(size=(4, 2))

# Functions of x (2, 3): every rule, values used twice, constants on both sides, broadcasting.
FUNCTIONS = {
    "add": lambda x: x + (2.0 + x),
    "subtract": lambda x: (x - 3.0) * (1.0 - x * x),
    "multiply": lambda x: x * x * 3.0,
    "divide": lambda x: (x / (2.0 + x * x)) / 3.0 + 1.0 / (1.0 + x * x),
    "negative": lambda x: -(x * x),
    "exp": lambda x: exp(-(x * x)),
    "log": lambda x: log(1.0 + x * x),
    "sin": lambda x: sin(x) * x,
    "cos": lambda x: cos(x) * x,
    "tanh": lambda x: tanh(x) * x,
    "matmul": lambda x: x @ constant(A, x),
    "matmul from the left": lambda x: constant(B, x) @ (x * x),
    "matmul of two variables": lambda x: x @ (constant(A, x) @ x),
    "sum": lambda x: (x * x).sum(),
    "row sums": lambda x: x / (1.0 + (x * x).sum(axis=1, keepdims=True)),
    "column sums": lambda x: x * x.sum(axis=0, keepdims=True),
    "sum over an axis": lambda x: (x * x).sum(axis=0),
    "sum over the last axis": lambda x: (x * x).sum(axis=1),
    "a row added to all": lambda x: x.sum(axis=0, keepdims=True) + x * x,
    "a number times an array": lambda x: x.sum() * constant(np.ones((4, 1, 1)), x) * x,
    "softmax": lambda x: exp(x) / exp(x).sum(axis=1, keepdims=True),
    "identity": lambda x: x,
}
QUIET = {"tanh", "sin", "cos", "add", "subtract", "multiply", "divide", "negative", "log", "exp"}
EACH = pytest.mark.parametrize("name", FUNCTIONS)


def torch_jacobian(f, x):
    """The Jacobian by one torch.autograd.grad per output."""
    leaf = torch.tensor(x, requires_grad=True)
    y = f(leaf) + 0.0 * leaf.sum()
    rows = [torch.autograd.grad(entry, leaf, retain_graph=True)[0].ravel() for entry in y.ravel()]
    return y, torch.stack(rows)


@EACH
@settings(max_examples=8)
@given(data=st.data())
def test_both_modes_agree_with_torch(ad, name, data):
    f = FUNCTIONS[name]
    values = VALUES if name in QUIET else st.floats(-3, 3)
    x = data.draw(arrays(np.float64, (2, 3), elements=values))
    v = data.draw(arrays(np.float64, (2, 3), elements=st.floats(-2, 2)))
    y, jacobian = torch_jacobian(f, x)
    u = np.random.default_rng(0).normal(size=tuple(y.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forward_y, j_v = ad.jvp(f, x, v)
        reverse_y, u_j = ad.vjp(f, x, u)
    close(forward_y, y)
    close(reverse_y, y)
    expected = jacobian.numpy()
    scale = max(1.0, np.abs(expected).max(), np.abs(y.detach().numpy()).max())
    close(j_v, (expected @ v.ravel()).reshape(y.shape), atol=1e-12 * scale)
    close(u_j, (u.ravel() @ expected).reshape(x.shape), atol=1e-12 * scale)
    left, right = (u * j_v).sum(), (u_j * v).sum()  # <u, J v> = <u J, v>
    assert abs(left - right) <= 1e-11 * scale * scale


@EACH
def test_rows_and_columns_of_the_jacobian(ad, name):
    x = np.random.default_rng(3).normal(size=(2, 3))
    f = FUNCTIONS[name]
    expected = torch_jacobian(f, x)[1]
    if np.shape(f(x)):
        close(ad.jacobian_by_columns(f, x), expected)
    close(
        ad.jacobian_by_rows(f, x)
        if np.shape(f(x))
        else ad.vjp(f, x, np.ones(()))[1].reshape(1, -1),
        expected,
    )


@EACH
@settings(max_examples=3)
@given(seed=SEEDS)
def test_hessian_products_agree_with_torch(ad, name, seed):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))

    def loss(x):
        y = FUNCTIONS[name](x)
        return (y * y * y).sum()

    gradient, product = ad.hvp(loss, x, v)
    leaf = torch.tensor(x, requires_grad=True)
    expected_gradient = torch.autograd.grad(loss(leaf), leaf, create_graph=True)[0]
    along = (expected_gradient * torch.tensor(v)).sum() + 0.0 * leaf.sum()
    expected, expected_gradient = torch.autograd.grad(along, leaf)[0], expected_gradient.detach()
    scale = 1.0 + float(expected.abs().max())
    close(gradient, expected_gradient, atol=1e-10 * (1.0 + float(expected_gradient.abs().max())))
    close(product, expected, rtol=1e-8, atol=1e-10 * scale)


def test_functions_that_ignore_or_hardly_use_their_input(ad):
    x, v = np.ones((2, 3)), np.ones((2, 3))
    close(ad.jvp(lambda x: np.ones(4), x, v)[1], np.zeros(4))
    close(ad.vjp(lambda x: np.ones(4), x, np.ones(4))[1], np.zeros((2, 3)))
    gradient, product = ad.hvp(lambda x: x.sum(), x, v)  # linear: H = 0
    close(gradient, np.ones((2, 3)))
    close(product, np.zeros((2, 3)))


@pytest.mark.parametrize("g_shape", [(4, 2, 3), (2, 3), (2, 1), (5, 2, 3)])
@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (2, 1), (3,), (1,), (), (1, 1)])
def test_unbroadcast_is_the_gradient_of_broadcasting(ad, shape, g_shape):
    try:
        whole = np.broadcast_shapes(shape, g_shape)
    except ValueError:
        return
    if whole != g_shape:
        return
    g = np.random.default_rng(0).normal(size=g_shape)
    leaf = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    (leaf.broadcast_to(g_shape) * torch.tensor(g)).sum().backward()
    close(ad.unbroadcast(g, shape), leaf.grad)


@pytest.mark.parametrize("number", ["Dual", "Var"])
def test_operations_without_a_rule_are_refused(ad, number):
    x = ad.Dual(np.ones(2), np.ones(2)) if number == "Dual" else ad.Var(np.ones(2), [])
    wrongs = (
        lambda: np.floor(x),
        lambda: x > 0,
        lambda: x**2,
        lambda: np.add.reduce(x),
        lambda: np.multiply.outer(x, x),  # a method of an ufunc that has a rule
        lambda: np.add(x, x, dtype=np.float32),
    )
    for wrong in wrongs:
        with pytest.raises(TypeError):
            wrong()


def test_dual_products_obey_the_algebra(ad):
    a, b = ad.Dual(np.array(2.0), np.array(3.0)), ad.Dual(np.array(5.0), np.array(7.0))
    product = a * b
    assert (product.value, product.tangent) == (10.0, 2 * 7 + 3 * 5)
    epsilon = ad.Dual(np.array(0.0), np.array(1.0))
    square = epsilon * epsilon
    assert (square.value, square.tangent) == (0.0, 0.0)


def test_the_output_may_stand_before_the_end_of_the_tape(ad):
    def f(x):
        y = x * x
        _unused = np.exp(y)
        return y

    close(ad.vjp(f, np.array([3.0]), np.ones(1))[1], np.array([6.0]))


# ---- the chain of Jacobians ----


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=6), seed=SEEDS)
def test_sweeps_agree_with_torch_in_result_and_cost(load, sizes, seed):
    chain = load("chain_numpy")
    rng = np.random.default_rng(seed)
    steps = [rng.normal(size=(d, s)) for s, d in pairwise(sizes)]
    theirs = torch.eye(sizes[0], dtype=torch.float64)
    for step in steps:
        theirs = torch.tensor(step) @ theirs
    for sweeps, reverse in ((chain.forward_sweeps, False), (chain.reverse_sweeps, True)):
        seeds = np.eye(sizes[-1 if reverse else 0])
        ours, cost = sweeps(steps, seeds)
        close(ours, theirs, rtol=1e-8)
        # each sweep multiplies once with every entry of every step
        assert cost == len(seeds) * sum(step.size for step in steps)
    seeds = rng.normal(size=(sizes[0], 2))
    close(chain.forward_sweeps(steps, seeds)[0], theirs @ torch.tensor(seeds), rtol=1e-8)
    seeds = rng.normal(size=(2, sizes[-1]))
    close(chain.reverse_sweeps(steps, seeds)[0], torch.tensor(seeds) @ theirs, rtol=1e-8)


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_best_bracketing_is_the_minimum_over_all(load, sizes):
    def every_cost(i, j):
        if j - i == 1:
            return [0]
        return [
            a + b + sizes[i] * sizes[k] * sizes[j]
            for k in range(i + 1, j)
            for a in every_cost(i, k)
            for b in every_cost(k, j)
        ]

    chain = load("chain_numpy")
    chain.draw_modes  # noqa: B018 - the figure has no numbers to compare
    assert chain.best_bracketing(sizes) == min(every_cost(0, len(sizes) - 1))


# ---- expressions ----


@settings(max_examples=15)
@given(x=st.floats(-1, 1), steps=st.integers(0, 8))
def test_logistic_map_agrees_with_torch(load, x, steps):
    swell = load("swell_numpy")
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = leaf * 1.0
    for _ in range(steps):
        y = 4 * y * (1 - y)
    y.backward()
    value, slope, operations = swell.forward_mode(x, steps)
    scale = {"rtol": 1e-6, "atol": 1e-6 * max(1.0, abs(float(leaf.grad)), abs(float(y.detach())))}
    np.testing.assert_allclose([value, slope], [float(y.detach()), float(leaf.grad)], **scale)
    e = swell.logistic(steps)
    exact = Fraction(x)
    value, slope, _ = swell.forward_mode(exact, steps)
    assert swell.evaluate(e, exact) == value
    assert swell.evaluate(swell.derivative(e), exact) == slope
    assert operations == 8 * steps


def test_expressions_are_simplified_shared_and_counted(load):
    swell = load("swell_numpy")
    x = swell.X
    assert swell.add(x, 0) is swell.add(0, x) is swell.mul(1, x) is swell.mul(x, 1) is x
    assert swell.mul(0, x) == swell.mul(x, 0) == 0
    square = swell.mul(x, x)
    assert swell.mul(x, x) is square
    fourth = swell.mul(square, square)
    assert (swell.written_out(fourth), swell.shared(fourth)) == (3, 2)
    assert swell.written_out(x) == swell.shared(x) == swell.written_out(7) == 0
    assert swell.derivative(7) == 0 and swell.derivative(x) == 1

    def walk(e):
        """The size of the tree, node by node."""
        return 1 + sum(map(walk, e.parts)) if isinstance(e, swell.Node) and e is not x else 0

    for steps in range(5):
        e = swell.derivative(swell.logistic(steps))
        assert swell.written_out(e) == walk(e) >= swell.shared(e)


# ---- the experiment ----


@pytest.fixture(scope="module")
def cheap(load):
    return load("experiment_cheap_gradient")


@pytest.mark.parametrize("tape", ["table", "quotient", "signs"])
@settings(max_examples=40)
@given(seed=SEEDS, n=st.integers(1, 5), kinds=st.sampled_from(["+-×÷", "÷", "×", "+-"]))
def test_every_tape_gives_the_gradient_of_torch(cheap, tape, seed, n, kinds):
    rng = random.Random(seed)
    program = []
    for k in range(12):
        program.append((rng.choice(kinds), rng.randrange(n + k), rng.randrange(n + k)))
    program = [(o, i, j) for o, i, j in program if i != j or o in "+×"] or [("+", 0, 0)]
    # renumber: dropped operations leave no gaps
    program = [(o, min(i, n + k - 1), min(j, n + k - 1)) for k, (o, i, j) in enumerate(program)]
    inputs = torch.tensor(
        [rng.uniform(0.5, 2.0) for _ in range(n)], dtype=torch.float64, requires_grad=True
    )
    values = list(inputs.unbind())
    for operation, i, j in program:
        u, v = values[i], values[j]
        values.append({"+": u + v, "-": u - v, "×": u * v, "÷": u / v}[operation])
    if not (torch.isfinite(values[-1]) and 1e-6 < abs(float(values[-1].detach())) < 1e6):
        return
    expected = torch.autograd.grad(values[-1], inputs)[0]
    if not (torch.isfinite(expected).all() and expected.abs().max() < 1e9):
        return

    class Real:
        """A float in place of a number modulo a prime."""

        def __init__(self, value):
            self.value = value

        def __add__(self, other):
            return Real(self.value + other.value)

        def __sub__(self, other):
            return Real(self.value - other.value)

        def __mul__(self, other):
            return Real(self.value * other.value)

        def __truediv__(self, other):
            return Real(self.value / other.value)

        def __neg__(self):
            return Real(-self.value)

    old = cheap.Number
    cheap.Number = Real
    try:
        # an operation whose result is not used sends nothing: cut the program to what is used
        used, keep = {n + len(program) - 1}, []
        for k in reversed(range(len(program))):
            if n + k in used:
                keep.append(k)
                used |= set(program[k][1:])
        keep.reverse()
        place = {i: i for i in range(n)} | {n + k: n + p for p, k in enumerate(keep)}
        short = [(program[k][0], place[program[k][1]], place[program[k][2]]) for k in keep]
        if not set(range(n)) <= used:
            return
        ours = cheap.evaluate(short, [Real(float(x.detach())) for x in inputs])
        grads = cheap.reverse(short, ours, n, tape)
        direction = [Real(float(k + 1)) for k in range(n)]
        along = cheap.forward(short, ours, direction).value
    finally:
        cheap.Number = old
    size = 1.0 + float(expected.abs().max())
    close(np.array([g.value for g in grads]), expected, rtol=1e-6, atol=1e-6 * size)
    np.testing.assert_allclose(
        along, float(expected @ torch.arange(1.0, n + 1).double()), atol=1e-5 * size
    )


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000), n=st.integers(2, 30), kinds=st.sampled_from(["+-×÷", "÷", "×", "+-"])
)
def test_random_programs_use_every_value_and_keep_the_bounds(cheap, seed, n, kinds):
    old = cheap.OPERATIONS
    cheap.OPERATIONS = 40
    try:
        program, inputs = cheap.draw(n, kinds, seed)
    finally:
        cheap.OPERATIONS = old
    used = {i for _, *pair in program for i in pair}
    assert used == set(range(n + len(program) - 1))
    found = cheap.ratios(program, inputs)
    assert found["signs"][0] <= 3 and found["signs"][1] <= 4
    assert found["quotient"][0] <= 3 and found["quotient"][1] <= 5


def test_the_recurrence_and_the_counts_of_a_division(cheap):
    assert cheap.recurrence(2) == [("÷", 1, 0), ("÷", 2, 1)]
    found = cheap.ratios(cheap.recurrence(1), [cheap.Number(6), cheap.Number(3)])
    # value 1; table: two divisions, two products, a sign; quotient: division, product, sign
    assert found == {"table": (5.0, 6.0), "quotient": (3.0, 4.0), "signs": (3.0, 4.0)}


# ---- the frameworks ----


def test_torch_returns_what_the_table_of_conventions_says(load):
    torch_slope = load("pitfalls_torch").slope
    assert torch_slope(torch.abs, 0.0) == 0.0 and torch_slope(torch.abs, -2.0) == -1.0
    assert load("pitfalls_torch").branch(torch.tensor(3.0)) == 3.0
    names = load("autodiff_torch").recorded(torch.ones(2, requires_grad=True).exp().sum())
    assert names[0] == "SumBackward0" and "ExpBackward0" in names
