"""What must hold for tensors beyond the snippets' own asserts: agreement with the frameworks."""

import math
import operator
import warnings

import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SEEDS = st.integers(0, 2**31 - 1)
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
# No subnormal numbers: TensorFlow's products take them for 0.
USUAL = st.floats(-10, 10, allow_subnormal=False)
VALUES = st.one_of(st.just(0.0), USUAL, st.sampled_from([1e-300, 1e150, -1e150]))


def close(ours, theirs, rtol=1e-9, atol=1e-12):
    ours, theirs = (
        v.detach().numpy() if isinstance(v, torch.Tensor) else v for v in (ours, theirs)
    )
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# ---- shape, strides, offset ----


@st.composite
def walks(draw):
    """A shape, and a list of changes that NumPy and our View can both make."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    bound = st.one_of(st.none(), st.integers(-5, 5))
    steps = st.sampled_from([None, 1, 2, 3, -1, -2])
    changes = []
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            changes.append(("transpose", tuple(draw(st.permutations(range(len(shape)))))))
        else:
            part = slice(draw(bound), draw(bound), draw(steps))
            changes.append(("slice", (draw(st.integers(0, len(shape) - 1)), part)))
    return shape, changes


@settings(max_examples=300)
@given(walk=walks(), lead=st.lists(st.integers(0, 3), max_size=2))
def test_views_walk_through_memory_as_numpy_and_pytorch_do(load, walk, lead):
    snippet = load("memory_numpy")
    shape, changes = walk
    memory = np.arange(math.prod(shape))
    view, array = snippet.row_major(shape), memory.reshape(shape)
    tensor = torch.from_numpy(memory).reshape(shape)
    assert view.strides == tensor.stride()
    forward = True
    for name, change in changes:
        if name == "transpose":
            view, array = snippet.transpose(view, change), array.transpose(change)
            tensor = tensor.permute(change)
        else:
            axis, part = change
            index = (slice(None),) * axis + (part,)
            view, array = snippet.slice_axis(view, axis, part), array[index]
            forward = forward and (part.step or 1) > 0
            tensor = tensor[index] if forward else tensor  # PyTorch has no negative strides
    assert view.shape == array.shape
    np.testing.assert_array_equal(memory[snippet.addresses(view)], array)
    if forward and array.size:
        assert view.offset == tensor.storage_offset()
        strides = [s for d, s in zip(view.shape, view.strides, strict=True) if d > 1]
        theirs = [s for d, s in zip(tensor.shape, tensor.stride(), strict=True) if d > 1]
        assert strides == theirs
        try:
            flat = tensor.view(-1)
        except RuntimeError:
            assert snippet.flatten(view) is None
        else:
            ours = snippet.flatten(view)
            assert ours.shape == (array.size,)
            np.testing.assert_array_equal(memory[snippet.addresses(ours)], flat.numpy())
    if forward:
        wide = (*lead, *view.shape)
        repeated = snippet.expand(view, wide)
        np.testing.assert_array_equal(
            memory[snippet.addresses(repeated)], np.broadcast_to(array, wide)
        )
        if 0 not in wide:
            np.testing.assert_array_equal(tensor.expand(wide).numpy(), np.broadcast_to(array, wide))


def test_length_one_axes_are_stretched_with_stride_zero(load):
    snippet = load("memory_numpy")
    assert snippet.expand(snippet.View((1, 3), (3, 1), 2), (2, 4, 3)) == ((2, 4, 3), (0, 0, 1), 2)
    assert snippet.View((), ()).offset == 0
    assert snippet.flatten(snippet.View((1, 1), (7, 9), 4)).shape == (1,)
    empty = snippet.slice_axis(snippet.row_major((2, 3)), 1, slice(2, 1))
    assert empty == ((2, 0), (3, 1), 0)
    assert callable(snippet.draw)


# ---- broadcasting ----


@settings(max_examples=300)
@given(a=SHAPES, b=SHAPES)
def test_broadcast_shape_agrees_with_three_libraries(load, a, b):
    ours = load("broadcasting_numpy").broadcast_shape
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ValueError, match="axis -"):
            ours(a, b)
        with pytest.raises(RuntimeError):
            torch.broadcast_shapes(a, b)
        with pytest.raises(ValueError, match="Incompatible"):
            tf.broadcast_static_shape(tf.TensorShape(a), tf.TensorShape(b))
    else:
        assert ours(a, b) == expected == tuple(torch.broadcast_shapes(a, b))
        assert tuple(tf.broadcast_static_shape(tf.TensorShape(a), tf.TensorShape(b))) == expected


@settings(max_examples=200)
@given(a=SHAPES, b=SHAPES, seed=SEEDS)
def test_unbroadcast_agrees_with_autograd(load, a, b, seed):
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        return
    rng = np.random.default_rng(seed)
    x, y, g = (rng.normal(size=s) for s in (a, b, shape))
    first, second = (torch.tensor(v, requires_grad=True) for v in (x, y))
    (torch.tensor(g) * first * second).sum().backward()
    unbroadcast = load("broadcasting_numpy").unbroadcast
    close(unbroadcast(g * y, a), first.grad)
    close(unbroadcast(g * x, b), second.grad)


@given(
    x=arrays(np.float64, (2, 1, 3, 4), elements=VALUES),
    w=arrays(np.float64, (5, 4, 2), elements=VALUES),
)
def test_matmul_by_broadcasting_agrees_with_both_frameworks(load, x, w):
    ours = load("broadcasting_numpy").matmul(x, w)
    scale = np.abs(x) @ np.abs(w)
    theirs = [
        (torch.from_numpy(x) @ torch.from_numpy(w)).numpy(),
        (tf.constant(x) @ tf.constant(w)).numpy(),
    ]
    for product in (*theirs, np.einsum("...nd,...dk->...nk", x, w)):
        assert ours.shape == product.shape == (2, 5, 3, 2)
        assert (np.abs(ours - product) <= 1e-14 * scale + 1e-300).all()


# ---- views, copies and the tour ----


def test_effect_tells_views_from_copies(load):
    for name, of_ones in (("views_numpy", np.ones_like), ("tensors_torch", torch.ones_like)):
        effect = load(name).effect
        assert effect(lambda x: x) == effect(lambda x: x[1:, :2]) == "view"
        assert effect(lambda x: x + 0) == effect(of_ones) == "copy"
    assert load("views_numpy").effect(lambda x: np.broadcast_to(x, (2, 2, 3))) == "read-only"


@given(seed=SEEDS, n=st.integers(2, 6), scale=st.sampled_from([1e-3, 1.0, 1e6]))
@settings(max_examples=30)
def test_the_layer_is_the_same_in_three_frameworks(load, seed, n, scale):
    rng = np.random.default_rng(seed)
    x, w, b = scale * rng.normal(size=(n, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    ours = load("tensors_numpy").layer(x, w, b)
    close(ours, load("tensors_torch").layer(*map(torch.tensor, (x, w, b))), atol=1e-9)
    close(ours, load("tensors_tensorflow").layer(*map(tf.constant, (x, w, b))).numpy(), atol=1e-9)
    normed = torch.nn.functional.batch_norm(torch.tensor(x), None, None, training=True, eps=1e-30)
    close(ours, torch.relu(normed @ torch.tensor(w) + torch.tensor(b)), atol=1e-9)


@pytest.mark.parametrize("name", ["tensors_numpy", "tensors_torch", "tensors_tensorflow"])
def test_outcome_is_a_text_or_the_name_of_an_error(load, name):
    outcome = load(name).outcome
    assert outcome(lambda: 3) == "3"
    assert outcome(lambda: operator.add(1, "a")) == "TypeError"
    with pytest.raises(ZeroDivisionError):
        outcome(lambda: 1 / 0)


def test_device_follows_the_input(load):
    snippet = load("tensors_torch")
    assert (torch.ones(2, device="meta") + torch.tensor(1.0)).device.type == "meta"
    with pytest.raises(RuntimeError):
        torch.ones(2, device="meta") + torch.ones(2)
    for device in ("cpu", "meta", snippet.best_device()):
        x = torch.zeros(2, 4, device=device, dtype=torch.float64)
        y = snippet.add_positions(x)
        assert y.device == x.device and y.dtype == x.dtype and y.shape == x.shape
    close(snippet.add_positions(torch.zeros(2, 4)), np.tile(np.arange(4.0), (2, 1)))
    close(snippet.add_positions_on_cpu(torch.zeros(2, 4)), np.tile(np.arange(4.0), (2, 1)))


@given(x=arrays(np.float64, st.integers(0, 5), elements=st.floats(-1e3, 1e3)))
@settings(max_examples=10)
def test_session_and_function_compute_the_same(load, x):
    snippet = load("tensors_tensorflow")
    close(snippet.squares_in_tensorflow_1(x), np.sum(x**2))
    close(float(snippet.squares(tf.constant(x))), np.sum(x**2))


# ---- numbers ----


@pytest.mark.parametrize("name", ["float64", "float32", "bfloat16", "float16"])
def test_formats_agree_with_tensorflow(load, name):
    snippet = load("dtypes_torch")
    dtype, theirs = getattr(torch, name), getattr(tf, name)
    u = snippet.unit_roundoff(dtype)
    assert snippet.stops_counting_at(dtype) == 1 / u
    one = tf.constant(1.0, theirs)
    assert one + tf.constant(u, theirs) == one
    assert one + tf.constant(1.01 * u, theirs) > one
    sizes = 2.0 ** np.arange(-160, 130)
    gaps = snippet.relative_gap(dtype, sizes)
    for size, gap in zip(sizes, gaps, strict=True):
        x = torch.tensor(size, dtype=dtype)
        assert np.isnan(gap) == bool((x == 0) | torch.isinf(x))
        if not np.isnan(gap):
            step = torch.tensor(size * gap, dtype=dtype)
            assert x + step > x
            if gap < 1:
                assert x + step * 0.49 == x
    assert callable(snippet.draw)


@given(seed=SEEDS, n=st.integers(2, 8))
@settings(max_examples=20)
def test_a_broadcast_loss_is_least_at_the_mean(load, seed, n):
    snippet = load("pitfalls_torch")
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(n, 1, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(n, generator=generator, dtype=torch.float64)
    loss = ((p - y) ** 2).mean()
    close(((p - y.mean()) ** 2).mean() + y.var(correction=0), loss)
    loss.backward()
    close(2 * (p.detach() - y.mean()) / n, p.grad)
    close(
        1 - ((p.detach()[:, 0] - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(),
        np.float64(snippet.explained(p.detach(), y)),
        rtol=1e-6,
    )


def test_pytorch_warns_of_a_broadcast_loss():
    with pytest.warns(UserWarning, match="target size"):
        torch.nn.functional.mse_loss(torch.ones(3, 1), torch.ones(3))


def test_fit_finds_the_least_squares_line_or_the_mean(load):
    fit = load("pitfalls_torch").fit
    x = torch.linspace(-1, 1, 20)[:, None]
    y = 3 * x[:, 0] - 1 + x[:, 0] ** 2
    slope, intercept = np.polyfit(x[:, 0].numpy(), y.numpy(), 1)
    close(fit(x, y[:, None])[0][:, 0], slope * x[:, 0].numpy() + intercept, rtol=0, atol=1e-4)
    close(fit(x, y)[0][:, 0], np.full(20, y.mean()), rtol=0, atol=1e-4)


def test_centering_with_and_without_the_callers_array(load):
    snippet = load("pitfalls_numpy")
    for function, kept in ((snippet.center, True), (snippet.center_in_place, False)):
        x = np.array([1.0, 5.0, 3.0])
        close(function(x), torch.tensor([1.0, 5.0, 3.0]) - 3.0)
        assert (x[0] == 1.0) == kept


# ---- the experiment ----


@given(seed=SEEDS, k=st.integers(0, 7), dtype=st.sampled_from([np.float16, np.float32]))
def test_sums_round_after_each_addition(load, seed, k, dtype):
    snippet = load("experiment_summation")
    x = np.random.default_rng(seed).uniform(-1, 1, (2**k, 3)).astype(dtype)
    total = np.zeros(3, dtype)
    for row in torch.from_numpy(x):
        total = (torch.from_numpy(total) + row).numpy()
    np.testing.assert_array_equal(snippet.one_by_one(x), total)

    def halves(part):
        if len(part) == 1:
            return part[0]
        return halves(part[: len(part) // 2]) + halves(part[len(part) // 2 :])

    np.testing.assert_array_equal(snippet.pairwise(x), halves(torch.from_numpy(x)).numpy())
    assert snippet.one_by_one(x).dtype == snippet.pairwise(x).dtype == dtype


def test_data_and_errors_are_what_the_experiment_says(load):
    snippet = load("experiment_summation")
    first, second, same = (snippet.draw_data(kind, 1000, 7) for kind in snippet.KINDS)
    assert first.min() >= 0 and 0.45 < first.mean() < 0.55 and first.max() < 1
    assert second.min() < -0.9 and abs(second.mean()) < 0.1
    assert len(set(same)) == 1
    e = snippet.errors(snippet.KINDS[0], np.float32, 64)
    x = snippet.draw_data(snippet.KINDS[0], 64, snippet.FIRST_SEED + 3).astype(np.float32)
    total = np.float32(0)
    for value in x:
        total += value
    exact = math.fsum(map(float, x))
    close(e[0, 3], abs(float(total) - exact) / exact / 2.0**-24, rtol=1e-6)
    assert e.shape == (2, snippet.SEEDS) and snippet.FIRST_SEED >= 100  # no seed of the pilot
    x = snippet.draw_data(snippet.KINDS[1], 64, snippet.FIRST_SEED).astype(np.float32)
    off = abs(float(np.add.accumulate(x)[-1]) - math.fsum(map(float, x)))
    e = snippet.errors(snippet.KINDS[1], np.float32, 64)
    close(e[0, 0], off / math.fsum(map(abs, map(float, x))) / 2.0**-24, rtol=1e-6)


# ---- exercises ----


def test_layout_agrees_with_pytorch(load):
    x = np.arange(24.0).reshape(4, 6)
    tensor = torch.from_numpy(x)[1:, ::2].T
    expected = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
    assert load("exercise_strides_numpy").layout(x[1:, ::2].T, x) == expected


@given(seed=SEEDS)
@settings(max_examples=20)
def test_channels_distances_and_windows_agree_with_pytorch(load, seed):
    rng = np.random.default_rng(seed)
    images = 5 + rng.normal(size=(3, 2, 4, 5))
    expected = torch.nn.functional.batch_norm(
        torch.tensor(images), None, None, training=True, eps=1e-30
    )
    channels = load("exercise_channels_numpy")
    close(channels.standardize_channels(images), expected, atol=1e-9)
    with pytest.raises(ValueError, match="broadcast"):
        channels.standardize_wrongly(images)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    expected = torch.cdist(torch.tensor(x), torch.tensor(y)) ** 2
    distances = load("exercise_distances_numpy")
    close(distances.by_broadcasting(x, y), expected)
    close(distances.by_product(x, y), expected, rtol=1e-6, atol=1e-9)
    series, kernel = rng.normal(size=12), rng.normal(size=4)
    windows = load("exercise_windows_numpy")
    np.testing.assert_array_equal(
        windows.windows(series, 4), torch.tensor(series).unfold(0, 4, 1).numpy()
    )
    convolved = torch.conv1d(torch.tensor(series)[None, None], torch.tensor(kernel)[None, None])
    close(windows.cross_correlate(series, kernel), convolved[0, 0])


@given(seed=SEEDS)
@settings(max_examples=20)
def test_compensated_sum_is_exact_to_the_last_digits(load, seed):
    x = np.random.default_rng(seed).uniform(size=500).astype(np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = load("exercise_accumulator_numpy").compensated(x)
    exact = torch.from_numpy(x).double().sum().item()
    assert total.dtype == np.float16 and abs(float(total) - exact) <= 2 * 2.0**-11 * exact
