"""PyTorch and TensorFlow agree on tensor operations once types, axes and memory do.

Eight tasks: types, indices, views, heads, a loss, steps in place, products, distances.
Shapes: x (N, D), images (N, H, W), tokens (N, L, H D). Each check compares with a loop
or a library function, on random and on extreme inputs.
"""

# %% [markdown]
# ## Before you start
#
# Run this cell. The checks use `attempt` and `compare`; `outcome` shows a result, or
# the name of the error where there is none.

# %%
from collections.abc import Callable
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import torch
from torch.nn import functional

Tensor = torch.Tensor | tf.Tensor
rng = np.random.default_rng(0)


def attempt(function: Callable[..., object], hint: str, *arguments: object) -> object:
    """Return what your function gives; if it stops with an error, add a hint."""
    try:
        return function(*arguments)
    except NotImplementedError:
        raise
    except Exception as error:
        text = f"{function.__name__} stops with {type(error).__name__} (see above)"
        raise AssertionError(f"{text}: {hint}") from error


def compare(
    name: str,
    ours: object,
    expected: np.ndarray,
    hint: str,
    tolerance: float = 1e-5,
) -> None:
    """Stop with a message unless ours has the shape and the values of expected."""
    assert ours is not None, f"{name} returns nothing"
    found = np.asarray(ours)
    shapes = f"{name} has the shape {found.shape}, not {expected.shape}"
    assert found.shape == expected.shape, f"{shapes}: {hint}"
    gap = np.abs(found.astype(float) - expected)
    if not (gap <= tolerance).all():
        worst = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
        values = f"{found[worst]:.5g}, not {expected[worst]:.5g}"
        raise AssertionError(f"{name}: entry {worst} is {values}: {hint}")


def outcome(action: Callable[..., object], *arguments: object) -> str:
    """Return what an action gives, as text, or the name of its error."""
    try:
        return str(action(*arguments))
    except Exception as error:
        return type(error).__name__


# %% [markdown]
# ## Numbers of one type
#
# A tensor holds numbers of
# [one type](../../modules/ml/deep-learning/tensors/index.md#definition), and the
# libraries mix types by
# [different rules](../../modules/ml/deep-learning/tensors/index.md#conventions-differ).
#
# **Predict before you run.** What type has each of the six results? Which one is an
# error, and which numbers would you not expect?

# %%
ints_torch, ints_tf = torch.tensor([1, 2]), tf.constant([1, 2])
byte_torch, byte_tf = torch.tensor(200, dtype=torch.uint8), tf.constant(200, tf.uint8)

print("int / int, PyTorch:        ", (ints_torch / ints_torch).dtype)
print("int / int, TensorFlow:     ", (ints_tf / ints_tf).dtype)
print("int + float, PyTorch:      ", (ints_torch + torch.tensor(0.5)).dtype)
print("int + float, TensorFlow:   ", outcome(tf.add, ints_tf, tf.constant(0.5)))
print("byte 200 + 100, PyTorch:   ", byte_torch + 100)
print("byte 200 + 100, TensorFlow:", byte_tf + 100)

# %% [markdown]
# **Task 1. From bytes to floats.** Images arrive as bytes from 0 to 255; a network
# takes float32 from $-1$ to 1. Write the conversion in both libraries. The array stays
# as it is.


# %% tags=["task"]
def to_floats_torch(images: np.ndarray) -> torch.Tensor:
    """Map bytes (N, H, W) to float32: 0 becomes -1, 255 becomes 1."""
    # BEGIN SOLUTION
    return torch.from_numpy(images).float() / 127.5 - 1.0
    # END SOLUTION


def to_floats_tf(images: np.ndarray) -> tf.Tensor:
    """Map bytes (N, H, W) to float32: 0 becomes -1, 255 becomes 1."""
    # BEGIN SOLUTION
    return tf.cast(images, tf.float32) / 127.5 - 1.0
    # END SOLUTION


# %% tags=["check"]
for function, dtype in ((to_floats_torch, torch.float32), (to_floats_tf, tf.float32)):
    name = function.__name__
    every_byte = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for images in (every_byte, rng.integers(256, size=(3, 4, 5), dtype=np.uint8)):
        before = images.copy()
        hint = "make float32 of the bytes before you compute"
        result = attempt(function, hint, images)
        assert (images == before).all(), f"{name} changed the array that it was given"
        assert result is not None, f"{name} returns nothing"
        right = getattr(result, "dtype", None) is dtype
        assert right, f"{name} gives no tensor of {dtype}: {hint}"
        hint = "0 is -1, 255 is 1; bytes wrap around, so convert first, then compute"
        compare(name, result, before / 127.5 - 1.0, hint, 1e-6)
    empty = tuple(function(every_byte[:0]).shape)
    assert empty == (0, 16, 16), f"{name} of no images has the shape {empty}"
print("task 1: right")

# %% [markdown]
# **Task 2. One entry per row.**
# [Cross-entropy](../../modules/ml/deep-learning/cross-entropy/index.md) needs, from
# each row of logits, the entry at the target. Write it without a loop. PyTorch takes
# two lists of indices; TensorFlow takes no list in `[]`, but has `tf.gather`.


# %% tags=["task"]
def pick_torch(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return logits[n, targets[n]] for each n; (N, K) and int64 (N,) -> (N,)."""
    # BEGIN SOLUTION
    return logits[torch.arange(len(targets)), targets]
    # END SOLUTION


def pick_tf(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return logits[n, targets[n]] for each n; (N, K) and int64 (N,) -> (N,)."""
    # BEGIN SOLUTION
    return tf.gather(logits, targets, batch_dims=1)
    # END SOLUTION


# %% tags=["check"]
for n, k in ((5, 3), (4, 4), (1, 6), (7, 1)):
    logits = rng.normal(size=(n, k)).astype(np.float32)
    targets = rng.integers(k, size=n)
    expected = np.array([logits[i, targets[i]] for i in range(n)])
    hint = "one number per row, also if there is one row; target n is a column of"
    hint += " row n, not of all rows, and not a place in the flat memory"
    both = torch.from_numpy(logits), torch.from_numpy(targets)
    in_torch = attempt(pick_torch, hint, *both)
    compare("pick_torch", in_torch, expected, hint, 0.0)
    loss = functional.nll_loss(both[0], both[1], reduction="none")
    compare("pick_torch", in_torch, -loss.numpy(), "nll_loss gives this, negated", 0.0)
    hint += "; integers that meet need one type"
    in_tf = attempt(pick_tf, hint, tf.constant(logits), tf.constant(targets))
    compare("pick_tf", in_tf, expected, hint, 0.0)
print("task 2: right")

# %% [markdown]
# ## One block of memory
#
# A [view](../../modules/ml/deep-learning/tensors/index.md#views) reads the memory of
# another tensor with other strides; a copy has its own. PyTorch has both. A `tf.Tensor`
# cannot be written to and does not show its strides.
#
# **Predict before you run.** The cell writes 9 to each result. Which of them change
# `x`?

# %%
operations = {
    "x[0]": lambda x: x[0],
    "x[:, ::2]": lambda x: x[:, ::2],
    "x[[0, 1]]": lambda x: x[[0, 1]],
    "x[x > 2]": lambda x: x[x > 2],
    "x.T": lambda x: x.T,
    "x.reshape(6)": lambda x: x.reshape(6),
    "x.T.reshape(6)": lambda x: x.T.reshape(6),
}
for name, operation in operations.items():
    x = torch.arange(6.0).reshape(2, 3)
    result = operation(x)
    strides = result.stride()
    result[...] = 9.0
    print(f"{name:15} strides {strides!s:7}", "changes x" if 9.0 in x else "is a copy")

# %% [markdown]
# **Task 3. Can it be flat without a copy?** `x.view(-1)` works where one stride walks
# through all entries in row-major order. Decide it from shape and strides
# ([the rule](../../modules/ml/deep-learning/tensors/index.md#views) for two axes is
# there). An axis of length 1 is never walked along: its stride does not matter.


# %% tags=["task"]
def flat_is_a_view(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Say whether all axes merge into one without a copy; lengths >= 1, or no axes."""
    # BEGIN SOLUTION
    walked = [(d, s) for d, s in zip(shape, strides, strict=True) if d > 1]
    return all(s == d_next * s_next for (_, s), (d_next, s_next) in pairwise(walked))
    # END SOLUTION


# %% tags=["check"]
base = torch.arange(120.0).reshape(2, 3, 4, 5)
views = [base, base[0, 0, 0, 0], base[0, 0, 0, ::2], base[..., 1:], base[1:, :, 1:2]]
views += [base[0].expand(2, 3, 4, 5), base[:1, :1, :1, :1].expand(2, 3, 4, 5)]
views += [base[..., :1], base[:1].transpose(0, 1), base[:, :1, ::2]]
for _ in range(200):
    ends, steps = rng.integers(1, 6, size=4), rng.integers(1, 3, size=4)
    cut = [slice(0, int(end), int(step)) for end, step in zip(ends, steps, strict=True)]
    part = base[tuple(cut)]
    order = rng.permutation(4) if rng.random() < 0.5 else np.arange(4)
    views.append(part.permute(*order.tolist()))
for x in views:
    shape, strides = tuple(x.shape), x.stride()
    truth = outcome(x.view, -1) != "RuntimeError"
    hint = "compare each stride with length times stride of the next axis;"
    hint += " leave out lengths 1; the last stride may be anything"
    text = f"shape {shape}, strides {strides}: view(-1) {'works' if truth else 'fails'}"
    said = attempt(flat_is_a_view, f"{text}: {hint}", shape, strides)
    agrees = said is not None and bool(said) == truth
    assert agrees, f"{text}, you say {said}: {hint}"
print("task 3: right,", len(views), "tensors")

# %% [markdown]
# Attention splits the $HD$ features of each token into $H$ heads: head 0 gets the first
# $D$ features of *every* token, and so on. Below, three tokens a, b, c have 4 features
# each, and there are 2 heads. The last panel has the right shape and the wrong numbers.

# %%
tokens = np.array([[f"{token}{i}" for i in range(4)] for token in "abc"])
panels = {
    "x: 3 tokens": [tokens],
    "head 0, head 1": [tokens[:, :2], tokens[:, 2:]],
    "reshaped: wrong": [*tokens.reshape(2, 3, 2)],
}
fig, axes = plt.subplots(1, 3, num="heads", figsize=(4.4, 1.6), layout="constrained")
for ax, (title, blocks) in zip(axes, panels.items(), strict=True):
    left = 0.0
    for block in blocks:
        columns = block.shape[1]
        corner = (left - 0.5, -2.5)
        ax.add_patch(plt.Rectangle(corner, columns, 3, fill=False, edgecolor="gray"))
        for (row, column), text in np.ndenumerate(block):
            color = "C0" if text[1] in "01" else "C1"
            ax.text(left + column, -row, text, ha="center", va="center", color=color)
        left += columns + 0.5
    ax.set(xlim=(-0.7, 4.2), ylim=(-2.7, 0.7))
    ax.set_title(title, fontsize="medium")
    ax.axis("off")
plt.show()

# %% [markdown]
# ![Three grids. Left: a0 to a3, b0 to b3, c0 to c3 in three rows. Middle: head 0 holds
# a0 a1, b0 b1, c0 c1; head 1 holds a2 a3, b2 b3, c2 c3. Right: the first block holds
# a0 a1, a2 a3, b0 b1.](lab_01_tensor_operations.py#heads "Which features does each head
# get? Blue ones belong to head 0, orange ones to head 1.")
#
# **Task 4. Reshape or transpose?** Split the features into heads in both libraries. In
# PyTorch the result is a view: nothing is copied.


# %% tags=["task"]
def split_heads_torch(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Give each head its part of each token; (N, L, H D) -> (N, H, L, D), a view."""
    # BEGIN SOLUTION
    n, length, width = x.shape
    return x.reshape(n, length, heads, width // heads).transpose(1, 2)
    # END SOLUTION


def split_heads_tf(x: tf.Tensor, heads: int) -> tf.Tensor:
    """Give each head its part of each token; (N, L, H D) -> (N, H, L, D)."""
    # BEGIN SOLUTION
    n, length, width = x.shape
    return tf.transpose(tf.reshape(x, (n, length, heads, width // heads)), (0, 2, 1, 3))
    # END SOLUTION


# %% tags=["check"]
for n, length, heads, d in ((2, 5, 3, 4), (2, 3, 3, 3), (1, 4, 1, 2), (3, 1, 2, 1)):
    x = rng.normal(size=(n, length, heads * d)).astype(np.float32)
    parts = [x[:, :, h * d : (h + 1) * d] for h in range(heads)]
    expected = np.stack(parts, axis=1)
    hint = "first cut the last axis into (H, D), then swap L and H;"
    hint += " reshape alone never moves a number past another"
    whole = torch.from_numpy(x)
    split = attempt(split_heads_torch, hint, whole, heads)
    compare("split_heads_torch", split, expected, hint, 0.0)
    in_tf = attempt(split_heads_tf, hint, tf.constant(x), heads)
    compare("split_heads_tf", in_tf, expected, hint, 0.0)
    whole.zero_()
    hint = "reshape and transpose of x are views; stack, cat and contiguous copy"
    assert not split.any(), f"split_heads_torch copies: {hint}"
print("task 4: right")

# %% [markdown]
# ## Shapes that meet
#
# Shapes are aligned at the last axis, and an axis of length 1 is repeated:
# [broadcasting](../../modules/ml/deep-learning/tensors/index.md#broadcasting).
#
# **Predict before you run.** Which shape has the sum of each pair, and which pair
# fails?


# %%
def add(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """Return the shape of a + b."""
    return tuple((a + b).shape)


pairs = [((4, 3), (3,)), ((4, 3), (4,)), ((4, 1), (4,)), ((2, 1, 3), (5, 1))]
for first, second in pairs:
    in_torch = outcome(add, torch.ones(first), torch.ones(second))
    in_tf = outcome(add, tf.ones(first), tf.ones(second))
    print(f"{first!s:9} + {second!s:6}: {in_torch:12} TensorFlow: {in_tf}")

# %% [markdown]
# **A wrong result that nobody reports.** These predictions are perfect. The loss is not
# 0. Find the fault: print the shape of the difference before you look at the figure.

# %%
targets = torch.arange(5.0)  # (N,)
predictions = targets[:, None]  # (N, 1), as a layer with one unit gives them
print("loss of perfect predictions:", ((predictions - targets) ** 2).mean().item())

fig, ax = plt.subplots(num="pairs", figsize=(3.4, 2.8), layout="constrained")
for (i, j), value in np.ndenumerate(((predictions - targets) ** 2).numpy()):
    style = {"color": "C1", "weight": "bold"} if i == j else {"color": "gray"}
    ax.text(j, i, f"{value:.0f}", ha="center", va="center", **style)
ax.set(xlim=(-0.5, 4.5), ylim=(4.5, -0.5), xlabel="target", ylabel="prediction")
ax.grid(False)
plt.show()

# %% [markdown]
# ![A grid of 5 by 5 squared differences: 0 on the diagonal, growing to 16 in two
# corners.](lab_01_tensor_operations.py#pairs "What does the loss average? All 25
# numbers; only the bold ones on the diagonal are errors of predictions.")
#
# **Task 5. A loss that cannot broadcast.** Predictions and targets come as $(N,)$ or
# $(N, 1)$, in any combination. Return the mean squared error, and raise a `ValueError`
# where the numbers of entries differ.


# %% tags=["task"]
def mse_torch(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of the squared errors, shape (); each input is (N,) or (N, 1)."""
    # BEGIN SOLUTION
    p, t = predictions.reshape(-1), targets.reshape(-1)
    if p.shape != t.shape:
        raise ValueError(f"{len(p)} predictions, but {len(t)} targets")
    return ((p - t) ** 2).mean()
    # END SOLUTION


def mse_tf(predictions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return the mean of the squared errors, shape (); each input is (N,) or (N, 1)."""
    # BEGIN SOLUTION
    p, t = tf.reshape(predictions, [-1]), tf.reshape(targets, [-1])
    if p.shape != t.shape:
        raise ValueError(f"{len(p)} predictions, but {len(t)} targets")
    return tf.reduce_mean((p - t) ** 2)
    # END SOLUTION


# %% tags=["check"]
for function, make in ((mse_torch, torch.from_numpy), (mse_tf, tf.constant)):
    name = function.__name__
    for n in (50, 2, 1):
        p, t = rng.normal(size=(2, n)).astype(np.float32)
        expected = functional.mse_loss(torch.from_numpy(p), torch.from_numpy(t)).numpy()
        columns = p[:, None], t[:, None]
        for left, right in ((p, t), (columns[0], t), (p, columns[1]), columns):
            hint = f"{left.shape} meets {right.shape}; bring both to (N,), then average"
            result = attempt(function, hint, make(left), make(right))
            compare(name, result, expected, hint)
    p, t = np.ones((2, 6), np.float32)
    for left, right in ((p, t[:1]), (p[:, None], t[:1]), (p[:1], t), (p, t[:3])):
        result = outcome(function, make(left), make(right))
        text = f"{name} of {left.shape} and {right.shape} gives {result}"
        assert result == "ValueError", f"{text}, not a ValueError: compare the lengths"
print("task 5: right")

# %% [markdown]
# ## Who owns the numbers
#
# **Predict before you run.** All of these come from the array `a`. Then `a[0] = 42`.
# Which of them hold 42?

# %%
a = np.zeros(2)
made = {
    "torch.from_numpy(a)": torch.from_numpy(a),
    "torch.from_numpy(a).numpy()": torch.from_numpy(a).numpy(),
    "torch.from_numpy(a).float()": torch.from_numpy(a).float(),
    "torch.tensor(a)": torch.tensor(a),
    "tf.constant(a)": tf.constant(a),
    "tf.Variable(a)": tf.Variable(a),
}
a[0] = 42.0
for name, tensor in made.items():
    print(f"{name:28} {'shares' if tensor[0] == 42.0 else 'has its own'}")

# %% [markdown]
# Weights change in place: a PyTorch tensor by `-=`, or by methods whose names end in
# `_`, a
# [variable](../../modules/ml/deep-learning/tensors/index.md#constants-variables-and-the-placeholder-that-is-gone)
# of TensorFlow by `assign` and its relatives. A `tf.constant` never changes.
#
# **Task 6. Steps in place, with a record.** Change the caller's weights by one step of
# gradient descent per gradient, $\mathbf{w} \leftarrow \mathbf{w} - \eta\,\mathbf{g}$.
# Return the weights before the first step and after each one as a NumPy array. A record
# must not change afterwards.


# %% tags=["task"]
def descend_torch(
    w: torch.Tensor,
    gradients: list[torch.Tensor],
    lr: float,
) -> np.ndarray:
    """Change w (D,) in place; return the path (T + 1, D) of T >= 0 steps."""
    # BEGIN SOLUTION
    path = [w.numpy().copy()]  # without the copy, all records are the memory of w
    for gradient in gradients:
        w -= lr * gradient
        path.append(w.numpy().copy())
    return np.stack(path)
    # END SOLUTION


def descend_tf(w: tf.Variable, gradients: list[tf.Tensor], lr: float) -> np.ndarray:
    """Change w (D,) in place; return the path (T + 1, D) of T >= 0 steps."""
    # BEGIN SOLUTION
    path = [w.numpy()]  # of a variable, this is a copy
    for gradient in gradients:
        w.assign_sub(lr * gradient)
        path.append(w.numpy())
    return np.stack(path)
    # END SOLUTION


# %% tags=["check"]
for steps, d in ((4, 3), (1, 1), (0, 2)):
    g = rng.normal(size=(steps, d)).astype(np.float32)
    start = rng.normal(size=d).astype(np.float32)
    moved = np.cumsum(np.vstack([np.zeros((1, d)), g]), axis=0)
    for function in (descend_torch, descend_tf):
        name = function.__name__
        if function is descend_torch:
            w, gradients = torch.from_numpy(start.copy()), [*torch.from_numpy(g.copy())]
        else:
            w, gradients = tf.Variable(start), [tf.constant(row) for row in g]
        hint = "change w by an operation in place of its own library; T may be 0"
        path = attempt(function, hint, w, gradients, 0.5)
        assert isinstance(path, np.ndarray), f"{name} returns no NumPy array"
        hint = "row t is w after t steps; rows that all hold the end are w's own memory"
        compare(f"the path of {name}", path, start - 0.5 * moved, hint)
        hint = "w = w - ... gives the name to a new tensor; change the one you got"
        compare(f"the caller's w after {name}", w, start - 0.5 * moved[-1], hint)
        for gradient, row in zip(gradients, g, strict=True):
            compare("a gradient", gradient, row, f"{name} must leave it as it was", 0.0)
print("task 6: right")

# %% [markdown]
# ## Products
#
# `*` multiplies entry by entry and broadcasts. `@` multiplies matrices: the last two
# axes are the matrices, and the axes before them
# [count them](../../modules/ml/deep-learning/tensors/index.md#definition) and
# broadcast.
#
# **Predict before you run.** Which shape has `a @ b`? Where do the libraries differ?


# %%
def multiply(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """Return the shape of a @ b."""
    return tuple((a @ b).shape)


pairs = [((5, 2, 3), (3, 4)), ((5, 3), (5, 3, 4))]
pairs += [((5, 1, 3), (5, 3, 4)), ((3,), (3, 4))]
for first, second in pairs:
    in_torch = outcome(multiply, torch.ones(first), torch.ones(second))
    in_tf = outcome(multiply, tf.ones(first), tf.ones(second))
    print(f"{first!s:9} @ {second!s:9}: {in_torch:9} TensorFlow: {in_tf}")

# %% [markdown]
# A vector on the left of `@` is a row for PyTorch, and the result is a vector again.
# TensorFlow wants a matrix.
#
# **Task 7. A sum over three factors.** A bilinear layer has one matrix per output $k$:
#
# $$
# z_{nk} = \sum_{d=1}^{D} \sum_{e=1}^{E} x_{nd}\, w_{kde}\, y_{ne} .
# $$
#
# Write it in PyTorch as one `einsum`, and in TensorFlow without `einsum`, with `@`.


# %% tags=["task"]
def bilinear_torch(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return z; (N, D), (K, D, E), (N, E) -> (N, K)."""
    # BEGIN SOLUTION
    return torch.einsum("nd,kde,ne->nk", x, w, y)
    # END SOLUTION


def bilinear_tf(x: tf.Tensor, w: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Return z; (N, D), (K, D, E), (N, E) -> (N, K)."""
    # BEGIN SOLUTION
    xw = x @ w  # (N, D) @ (K, D, E) -> (K, N, E)
    z = tf.reduce_sum(xw * y, axis=-1)  # (K, N, E) * (N, E) -> (K, N)
    return tf.transpose(z)
    # END SOLUTION


# %% tags=["check"]
for n, k, d, e in ((6, 4, 3, 5), (3, 3, 3, 3), (1, 2, 1, 4), (2, 1, 4, 1)):
    shapes = (n, d), (k, d, e), (n, e)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    x, w, y = map(torch.from_numpy, arrays)
    expected = functional.bilinear(x, y, w).numpy()
    hint = "sum over d and e, keep n and k in this order; row n of x meets row n of y"
    in_torch = attempt(bilinear_torch, hint, x, w, y)
    compare("bilinear_torch", in_torch, expected, hint, 1e-4)
    in_tf = attempt(bilinear_tf, hint, *map(tf.constant, arrays))
    compare("bilinear_tf", in_tf, expected, hint, 1e-4)
print("task 7: right")

# %% [markdown]
# **Task 8. All distances without a loop.** All differences between the rows of
# $\mathbf{X}$ and $\mathbf{Y}$ fill a tensor of shape $(N, M, D)$. Avoid it, with one
# matrix product:
#
# $$
# \lVert\mathbf{x} - \mathbf{y}\rVert^2 = \lVert\mathbf{x}\rVert^2
#   - 2\,\mathbf{x}\mathbf{y}^\top + \lVert\mathbf{y}\rVert^2 .
# $$
#
# Far from the origin this
# [loses its digits](../../modules/ml/deep-learning/tensors/index.md#exercises), but
# distances do not change when all points move together. And no square is negative.


# %% tags=["task"]
def distances_torch(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return all squared distances between rows; (N, D), (M, D) -> (N, M)."""
    # BEGIN SOLUTION
    center = x.mean(dim=0)
    x, y = x - center, y - center  # new tensors: the caller's points stay
    squares_x, squares_y = (x**2).sum(dim=1), (y**2).sum(dim=1)
    squared = squares_x[:, None] - 2 * x @ y.T + squares_y  # (N, 1), (N, M), (M,)
    return squared.clamp(min=0)  # rounding may leave something below 0
    # END SOLUTION


def distances_tf(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Return all squared distances between rows; (N, D), (M, D) -> (N, M)."""
    # BEGIN SOLUTION
    center = tf.reduce_mean(x, axis=0)
    x, y = x - center, y - center
    squares_x, squares_y = tf.reduce_sum(x**2, axis=1), tf.reduce_sum(y**2, axis=1)
    squared = squares_x[:, None] - 2 * x @ tf.transpose(y) + squares_y
    return tf.maximum(squared, 0.0)
    # END SOLUTION


# %% tags=["check"]
class Watch(torch.overrides.TorchFunctionMode):
    """Notes how often PyTorch is called, and the entries of the largest result."""

    calls, entries = 0, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.calls += 1
        if isinstance(result, torch.Tensor):
            self.entries = max(self.entries, result.numel())
        return result


sizes = (7, 5, 3, 0.0), (4, 4, 4, 0.0), (1, 6, 1, 0.0), (60, 50, 8, 1000.0)
for n, m, d, far in sizes:
    x, y = (far + rng.normal(size=(rows, d)).astype(np.float32) for rows in (n, m))
    y[: n // 2] = x[: len(y[: n // 2])]  # some points coincide
    exact = ((x[:, None].astype(float) - y[None]) ** 2).sum(axis=-1)
    here, there = torch.from_numpy(x.copy()), torch.from_numpy(y.copy())
    shapes = "add (N, 1), (N, M) and (M,), without a root;"
    shapes += " move x and y by the same vector of shape (D,), if at all"
    with Watch() as watch:
        in_torch = attempt(distances_torch, shapes, here, there)
    in_tf = attempt(distances_tf, shapes, tf.constant(x), tf.constant(y))
    for name, ours in (("distances_torch", in_torch), ("distances_tf", in_tf)):
        hint = f"all points are near {far:g}: move them to the origin first"
        compare(name, ours, exact, hint if far else shapes, 1e-4 * exact.max())
        hint = "rounding leaves less than 0, and its root is nan: cut off at 0"
        assert np.asarray(ours).min() >= 0, f"{name}: {hint}"
    same = np.array_equal(here, x) and np.array_equal(there, y)
    assert same, "distances_torch moved the caller's points: write x - c, not x -= c"

# The last sizes again: how many operations, and how large is the largest result?
made = {"distances_torch": (watch.entries, watch.calls > n)}
try:
    graph = tf.function(distances_tf, autograph=False).get_concrete_function(x, y).graph
    steps = graph.get_operations()
    entries = [out.shape.num_elements() or 0 for step in steps for out in step.outputs]
    loops = len(steps) > 3 * n or any("While" in step.type for step in steps)
    made["distances_tf"] = max(entries), loops
except Exception as error:  # a loop over a tensor, or code that needs its numbers
    made["distances_tf"] = 0, "Iterating" in str(error)
for name, (entries, loops) in made.items():
    hint = "10,000 points each with 128 features need 48 GiB; use a matrix product"
    assert entries < n * m * d, f"{name} makes a tensor of shape (N, M, D): {hint}"
    assert not loops, f"{name} goes through the rows in a loop: use a matrix product"
print("task 8: right")
