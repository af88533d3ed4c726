"""An MLP by hand, in PyTorch, in TensorFlow and in Keras has the same losses.

Eight tasks: shapes, forward pass, loss, gradients, initial weights, batches, training
loops, early stopping and confusion. Rows are examples: x (N, D), logits (N, K). Losses
are means over the batch. Each check compares with a framework, mostly in float64.
"""

# %% [markdown]
# ## Before you start
#
# Run this cell. `compare` is what the checks use. The data are scikit-learn's digits, 8
# by 8 pixels each, in
# [three parts](../../modules/ml/deep-learning/mlp-from-scratch/index.md#definition).
# Data and weights are float64, so that rounding hides no mistake.

# %%
import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

keras.config.set_floatx("float64")
torch.set_num_threads(1)
rng = np.random.default_rng(0)

x, y = load_digits(return_X_y=True)
split = partial(train_test_split, random_state=0)
x, test_x, y, test_y = split(x / 16, y, test_size=360, stratify=y)
train_x, valid_x, train_y, valid_y = split(x, y, test_size=287, stratify=y)
sizes = len(train_x), len(valid_x), len(test_x)
print("digits to train on: {}, to choose: {}, to test: {}".format(*sizes))


def compare(
    name: str,
    ours: object,
    expected: np.ndarray,
    hint: str,
    tolerance: float = 1e-9,
) -> None:
    """Stop with a message unless ours has the shape and the values of expected."""
    assert ours is not None, f"{name} is None: nothing is returned"
    found, expected = np.asarray(ours), np.asarray(expected)
    shapes = f"{name} has the shape {found.shape}, not {expected.shape}"
    assert found.shape == expected.shape, f"{shapes}: {hint}"
    gap = np.abs(found.astype(float) - expected)
    if not (gap <= tolerance * (1 + np.abs(expected).max(initial=0.0))).all():
        worst = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
        where = f"{name}: entry {worst}" if worst else name
        values = f"{found[worst]:.6g}, not {expected[worst]:.6g}"
        raise AssertionError(f"{where} is {values}: {hint}")


def some_params(widths: tuple[int, ...], scale: float = 1.0) -> list[np.ndarray]:
    """Return random w1, b1, w2, b2, ... for the checks."""
    params = []
    for d, k in pairwise(widths):
        params += [scale * rng.normal(size=(d, k)), scale * rng.normal(size=k)]
    return params


# %% [markdown]
# ## A network and its shapes
#
# A network is given by its widths: $(64, 32, 10)$ means 64 inputs, 32 hidden units and
# 10 outputs. Each layer has
# [weights and a bias](../../modules/ml/deep-learning/feedforward-neural-network/index.md#parameters-and-work).
#
# **Task 1. Shapes and numbers.** $\mathbf{W}^{(l)}$ has one column per unit, since
# [examples are rows](../notation.md#rows-and-columns). List the shapes in the order
# $\mathbf{W}^{(1)}, \mathbf{b}^{(1)}, \mathbf{W}^{(2)}, \dots$, and count all
# parameters.


# %% tags=["task"]
def shapes(widths: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of w1, b1, w2, b2, ... for widths (D, ..., K)."""
    # BEGIN SOLUTION
    found: list[tuple[int, ...]] = []
    for d, k in pairwise(widths):
        found += [(d, k), (k,)]
    return found
    # END SOLUTION


def count(widths: tuple[int, ...]) -> int:
    """Return the number of parameters, weights and biases."""
    # BEGIN SOLUTION
    return sum((d + 1) * k for d, k in pairwise(widths))
    # END SOLUTION


# %% tags=["check"]
for widths in ((64, 32, 10), (64, 10), (3, 3, 3, 3), (5, 1, 7, 2), (1, 1)):
    layers = [keras.layers.Dense(k) for k in widths[1:]]
    model = keras.Sequential([keras.Input(widths[:1]), *layers])
    ours, expected = shapes(widths), [tuple(w.shape) for w in model.weights]
    hint = "a weight is (inputs, units), as in Keras, and a bias has one axis: (units,)"
    assert ours == expected, f"shapes({widths}) is {ours}, not {expected}: {hint}"
    linear = [nn.Linear(d, k) for d, k in pairwise(widths)]
    number = sum(p.numel() for layer in linear for p in layer.parameters())
    hint = f"{sum(k for k in widths[1:])} of them are biases; inputs have none"
    text = f"count({widths}) is {count(widths)}, not {number}"
    assert count(widths) == number, f"{text}: {hint}"
print("task 1: right")

# %% [markdown]
# **Predict before you run.** Twice as many hidden units, or twice as many hidden
# layers: how many times as many parameters?

# %%
for widths in ((64, 32, 10), (64, 64, 10), (64, 32, 32, 10)):
    print(f"{widths!s:16} {count(widths):5,} parameters")

# %% [markdown]
# **Task 2. Forward, for a whole batch.** Hidden layers compute
# $\max(\mathbf{A}\mathbf{W} + \mathbf{b}, 0)$, the last one $\mathbf{A}\mathbf{W} +
# \mathbf{b}$: its results are the logits, and
# [the loss](../../modules/ml/deep-learning/cross-entropy/index.md#logits-not-probabilities)
# takes them as they are. Write it for any number of layers, with operations on tensors
# only.


# %% tags=["task"]
def forward_torch(x: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    """Return the logits; (N, D) and [w1, b1, w2, ...] -> (N, K)."""
    # BEGIN SOLUTION
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = torch.relu(x @ w + b)  # (N, D) @ (D, H) + (H,) -> (N, H)
    return x @ params[-2] + params[-1]  # (N, H) @ (H, K) + (K,) -> (N, K)
    # END SOLUTION


def forward_tf(x: tf.Tensor, params: list[tf.Variable]) -> tf.Tensor:
    """Return the logits; (N, D) and [w1, b1, w2, ...] -> (N, K)."""
    # BEGIN SOLUTION
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = tf.nn.relu(x @ w + b)
    return x @ params[-2] + params[-1]
    # END SOLUTION


# %% tags=["check"]
for n, widths in ((4, (4, 4, 4, 4)), (6, (5, 4, 3)), (1, (2, 3, 1)), (3, (4, 2))):
    arrays, images = some_params(widths), rng.normal(size=(n, widths[0]))
    expected = images
    for layer in range(len(widths) - 1):
        w, b = arrays[2 * layer : 2 * layer + 2]
        linear = nn.Linear(*w.shape, dtype=torch.float64)
        linear.load_state_dict({"weight": torch.tensor(w.T), "bias": torch.tensor(b)})
        expected = linear(torch.tensor(expected)).detach().numpy()
        expected = np.maximum(expected, 0) if layer < len(widths) - 2 else expected
    inputs, variables = torch.tensor(images), [tf.Variable(a) for a in arrays]
    in_torch = forward_torch(inputs, [torch.tensor(a) for a in arrays])
    in_tf = forward_tf(tf.constant(images), variables)
    for name, ours in (("forward_torch", in_torch), ("forward_tf", in_tf)):
        hint = "ReLU after each layer but the last; x @ w + b, where b meets every row;"
        hint += f" no softmax (widths {widths}, {n} examples)"
        compare(name, ours, expected, hint)
    assert np.array_equal(inputs, images), "forward_torch changed its input in place"
print("task 2: right")

# %% [markdown]
# ## A loss from logits
#
# Cross-entropy is
# [minus the logarithm](../../modules/ml/deep-learning/cross-entropy/index.md#definition)
# of the probability at the target, averaged over the batch.
#
# **Predict before you run.** Which loss has a network that gives ten classes equal
# logits? Which one, if the target's logit is 1000 less than the others? What does the
# formula $-\log(e^{z_y} / \sum_j e^{z_j})$ give, typed as it stands?

# %%
targets = torch.tensor([0])
for first in (0.0, 10.0, -1000.0, 1000.0):
    logits = torch.zeros(1, 10).double()
    logits[0, 0] = first
    typed = -(logits.exp() / logits.exp().sum(dim=1, keepdim=True)).log()[0, 0]
    right = functional.cross_entropy(logits, targets)
    print(f"logit of the target {first:6}: loss {right:9.6f}, as typed {typed:9.6f}")

# %% [markdown]
# **Task 3. Mean cross-entropy.** Use $\max$, $\exp$, $\log$, sums and indices, no loss
# or softmax of the library. The result is finite and right for any finite logits, and
# [so is its gradient](../../modules/ml/deep-learning/cross-entropy/index.md#pitfalls).


# %% tags=["task"]
def cross_entropy_torch(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss, shape (); (N, K) and (N,) class numbers."""
    # BEGIN SOLUTION
    shifted = logits - logits.amax(dim=1, keepdim=True)  # row by row: largest is 0
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    return -log_p[torch.arange(len(targets)), targets].mean()
    # END SOLUTION


def cross_entropy_tf(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return the mean loss, shape (); (N, K) and (N,) class numbers."""
    # BEGIN SOLUTION
    shifted = logits - tf.reduce_max(logits, axis=1, keepdims=True)
    log_p = shifted - tf.math.log(tf.reduce_sum(tf.exp(shifted), axis=1, keepdims=True))
    return -tf.reduce_mean(tf.gather(log_p, targets, batch_dims=1))
    # END SOLUTION


# %% tags=["check"]
hints = {
    "random logits": "mean over the examples of -log p at the target; softmax per row",
    "one class": "the only class has probability 1, so the loss is 0",
    "large logits": "exp overflows: subtract the maximum before exp",
    "unlikely target": "exp of -1000 is 0, and its log -inf: never take the log of one"
    " probability, compute z - log(sum(exp(z))) instead; clipping changes the loss",
    "rows far apart": "subtract from each row its own maximum, not one for the batch",
}
cases = {
    "random logits": rng.normal(size=(5, 5)) * 2,
    "one class": rng.normal(size=(3, 1)),
    "large logits": 800 + rng.normal(size=(2, 3)),
    "unlikely target": np.array([[-1000.0, 0.0], [0.0, 1000.0]]),
    "rows far apart": np.array([[1000.0, 1001.0], [-1000.0, -1001.0]]),
}
for case, values in cases.items():
    labels = rng.integers(values.shape[1], size=len(values))
    labels = np.zeros(2, int) if case == "unlikely target" else labels
    z, same = (torch.tensor(values, requires_grad=True) for _ in range(2))
    expected = functional.cross_entropy(same, torch.tensor(labels))
    expected.backward()
    loss = cross_entropy_torch(z, torch.tensor(labels))
    hint = f"{case}: {hints[case]}"
    assert torch.is_tensor(loss), "cross_entropy_torch returns no tensor"
    compare("cross_entropy_torch", loss.detach(), expected.detach(), hint)
    lost = "has no gradient: no item, detach or numpy on the way from logits to loss"
    assert loss.requires_grad, f"cross_entropy_torch {lost}"
    loss.backward()
    compare("the gradient of cross_entropy_torch", z.grad, same.grad, hint)
    with tf.GradientTape() as tape:
        tape.watch(logits := tf.constant(values))
        loss = cross_entropy_tf(logits, tf.constant(labels))
    compare("cross_entropy_tf", loss, expected.detach(), hint)
    grad = tape.gradient(loss, logits)
    assert grad is not None, f"cross_entropy_tf {lost}"
    compare("the gradient of cross_entropy_tf", grad, same.grad, hint)
print("task 3: right")

# %% [markdown]
# ## Gradients by hand
#
# [Four equations](../../modules/ml/deep-learning/backpropagation/index.md#four-equations)
# give all gradients, from the loss backward. The first one is
# $\boldsymbol\Delta^{(M)} = (\mathbf{P} - \mathbf{Y})/N$, with one-hot rows
# $\mathbf{Y}$.
#
# **Predict before you run.** Two examples, three classes. Which entries of the loss's
# gradient for the logits are negative, and what is the sum of each row?

# %%
logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]], requires_grad=True)
functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
for row in logits.grad:
    text = "  ".join(f"{value:6.3f}" for value in row)
    print(f"{text}   sum: {abs(row.sum()):.3f}")

# %% [markdown]
# **Task 4. Backward through the whole network**, in NumPy, for any number of layers.
# Keep what the forward pass computes, then go from the last layer to the first. Each
# gradient has the shape of its parameter. Where a pre-activation is exactly 0, ReLU has
# the derivative 0, as in both frameworks.


# %% tags=["task"]
def loss_and_gradients(
    x: np.ndarray,
    targets: np.ndarray,
    params: list[np.ndarray],
) -> tuple[float, list[np.ndarray]]:
    """Return the mean cross-entropy and its gradients for w1, b1, w2, b2, ..."""
    # BEGIN SOLUTION
    activations = [x]
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        activations.append(np.maximum(activations[-1] @ w + b, 0.0))
    z = activations[-1] @ params[-2] + params[-1]
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    rows = np.arange(len(targets))
    delta = np.exp(log_p)
    delta[rows, targets] -= 1.0
    delta /= len(targets)  # the 1/N of the mean, once
    grads: list[np.ndarray] = []
    for a, w in zip(reversed(activations), reversed(params[::2]), strict=True):
        grads = [a.T @ delta, delta.sum(axis=0), *grads]  # (D, N) @ (N, K) -> (D, K)
        delta = (delta @ w.T) * (a > 0)  # for the layer before; unused after the first
    return float(-log_p[rows, targets].mean()), grads
    # END SOLUTION


# %% tags=["check"]
cases = [(4, (4, 4, 4, 4), 1.0), (6, (5, 4, 3), 1.0), (3, (4, 2), 1.0)]
cases += [(1, (2, 3, 2), 1.0), (5, (6, 7, 3), 300.0), (5, (6, 5, 4, 3), 0.0)]
for n, widths, scale in cases:
    arrays, images = some_params(widths, scale), rng.normal(size=(n, widths[0]))
    if not scale:  # weights of usual size, but the biases are 0 and so is an image
        arrays[::2], images[0] = some_params(widths)[::2], 0.0
    labels, before = rng.integers(widths[-1], size=n), copy.deepcopy([images, *arrays])
    leaves = [torch.tensor(a).requires_grad_() for a in arrays]
    out = forward_torch(torch.tensor(images), leaves)
    expected = functional.cross_entropy(out, torch.tensor(labels))
    expected.backward()
    pair = loss_and_gradients(images, labels, arrays)
    two = isinstance(pair, tuple | list) and len(pair) == 2
    assert two, "return two things: the loss, and a list of gradients"
    loss, grads = pair
    for old, new in zip(before, [images, *arrays], strict=True):
        assert np.array_equal(old, new), "an argument is changed in place"
    about = f"(widths {widths}, {n} examples)"
    hint = f"the mean over the batch, stable as in task 3 {about}"
    compare("the loss", loss, expected.detach(), hint)
    assert len(grads) == len(arrays), f"{len(grads)} gradients for {len(arrays)}"
    for i in reversed(range(len(arrays))):
        layer = i // 2 + 1
        hint = "sum over the examples, axis 0: one number per unit"
        if i % 2 == 0:
            hint = "inputs of the layer, transposed, times delta"
        if layer == len(arrays) // 2:
            hint += "; delta of the last layer is (P - Y) / N, with no ReLU"
        else:
            hint += "; delta goes back through w.T of the next layer, not yet updated,"
            hint += " then is 0 where this layer's ReLU is off; 1/N enters only once"
        name = f"the gradient of {'wb'[i % 2]}{layer} {about}"
        compare(name, grads[i], leaves[i].grad, hint)
    with tf.GradientTape() as tape:
        variables = [tf.Variable(a) for a in arrays]
        out = forward_tf(tf.constant(images), variables)
        loss_tf = cross_entropy_tf(out, tf.constant(labels))
    for ours, theirs in zip(grads, tape.gradient(loss_tf, variables), strict=True):
        compare("a gradient", ours, theirs.numpy(), "TensorFlow's tape gives another")
print("task 4: right")

# %% [markdown]
# ## Where training starts
#
# Units that start equal, with equal outgoing weights, get equal gradients
# ([symmetry](../../modules/ml/deep-learning/gradient-flow/index.md#symmetry-breaking)).
#
# **Predict before you run.** Three networks (64, 32, 10) take 200 steps with all the
# training digits: from zeros, from numbers that all are 0.03, and from random numbers.
# Which parameters move in the first? How many different hidden units has each at the
# end?


# %%
starts = {
    "zeros": [np.zeros(shape) for shape in shapes((64, 32, 10))],
    "all 0.03": [np.full(shape, 0.03) for shape in shapes((64, 32, 10))],
    "random": [0.1 * rng.normal(size=shape) for shape in shapes((64, 32, 10))],
}
curves: dict[str, list[float]] = {}
for name, start in starts.items():
    params, curves[name] = start, []
    for _ in range(200):
        loss, grads = loss_and_gradients(train_x, train_y, params)
        params = [p - 0.5 * g for p, g in zip(params, grads, strict=True)]
        curves[name].append(loss)
    pairs = zip(("w1", "b1", "w2", "b2"), start, params, strict=True)
    moved = [each for each, old, new in pairs if not np.array_equal(old, new)]
    units = len(np.unique(params[0].round(6), axis=1).T)  # by incoming weights
    print(f"{name:8}: loss {loss:.3f}, {units:2} different units, moved:", *moved)

fig, ax = plt.subplots(num="starts", figsize=(4.4, 2.8), layout="constrained")
for (name, losses), style in zip(curves.items(), (":", "--", "-"), strict=True):
    ax.plot(losses, style, label=name)
ax.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ![Three curves over 200 steps. From zeros the loss stays at 2.3. From equal weights it
# stays there for a while, then falls below 2. From random ones it falls far below
# both.](lab_02_mlp_from_scratch.py#starts "Which starts can learn? Zeros learn the
# output bias only; equal weights train 32 copies of one unit.")
#
# **Task 5. Random, of the right size.** Draw normal weights of **variance**
# $2/n_\text{in}$ before a ReLU ([He](../../modules/ml/deep-learning/he-initialization/index.md)) and
# $1/n_\text{in}$ in the last layer, and zero biases. All draws come from the generator
# that the caller gives.


# %% tags=["task"]
def initial(widths: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """Return w1, b1, w2, b2, ... of random weights and zero biases."""
    # BEGIN SOLUTION
    params: list[np.ndarray] = []
    for layer, (d, k) in enumerate(pairwise(widths)):
        variance = (1 if layer == len(widths) - 2 else 2) / d
        params += [rng.normal(0.0, np.sqrt(variance), size=(d, k)), np.zeros(k)]
    return params
    # END SOLUTION


# %% tags=["check"]
for widths in ((400, 100, 300, 200), (64, 320, 100), (500, 50)):
    params = initial(widths, np.random.default_rng(1))
    assert params is not None, "initial returns nothing"
    assert [np.shape(p) for p in params] == shapes(widths), "see task 1 for the shapes"
    for i, p in enumerate(params):
        name, fan_in = f"{'wb'[i % 2]}{i // 2 + 1} of widths {widths}", len(p)
        if i % 2:
            assert not p.any(), f"{name} is not zero"
            continue
        differ = len(np.unique(p, axis=1).T) == p.shape[1]
        assert differ, f"{name} has equal columns: each unit needs its own numbers"
        theirs = torch.empty(p.T.shape).double()
        last = "linear" if i == len(params) - 2 else "relu"
        torch.manual_seed(0)
        nn.init.kaiming_normal_(theirs, nonlinearity=last)
        ratio = p.std() / theirs.std().item()
        text = f"the standard deviation of {name} is {p.std():.4f}, that of PyTorch's"
        text += f" kaiming_normal_ {theirs.std():.4f}"
        hint = f"variance {1 if last == 'linear' else 2}/{fan_in}; its square root is"
        hint += " the standard deviation; n_in is the number of rows"
        assert 0.95 < ratio < 1.05, f"{text}: {hint}"
        keras_init = keras.initializers.HeNormal(seed=0)(p.shape)
        assert last == "linear" or 0.95 < p.std() / np.std(keras_init) < 1.05, hint
        off = abs(p.mean()) * np.sqrt(p.size) / p.std()
        assert off < 5, f"the mean of {name} is {p.mean():.4f}: center it at 0"
        tails = np.abs(p).max() > 3 * p.std()
        assert tails, f"{name} has no tails: draw from a normal distribution"
generator = np.random.default_rng(1)
first, second = initial((9, 9, 9), generator), initial((9, 9, 9), generator)
repeated = initial((9, 9, 9), np.random.default_rng(1))
hint = "equal generators give different weights: draw from rng only"
assert np.array_equal(first[0], repeated[0]), hint
hint = "draw from rng; a generator that is made inside starts anew each time"
assert not np.array_equal(first[0], second[0]), f"two networks are equal: {hint}"
ratios = first[0] / first[2]
assert ratios.std() > 0.1, f"two layers have the same numbers: {hint}"
print("task 5: right")

# %% [markdown]
# ## Batches and steps
#
# An epoch goes through all training examples once, in a new random order, a batch per
# step.
#
# **Task 6. Batches of one epoch.** Yield arrays of row numbers: `size` rows each, and
# what is left in a last, smaller one. `DataLoader` and `tf.data` keep the last batch
# too, unless told to drop it.


# %% tags=["task"]
def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the row numbers 0 to n - 1, each once, in random order, size at a time."""
    # BEGIN SOLUTION
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
    # END SOLUTION


# %% tags=["check"]
for n, size in ((100, 32), (96, 32), (5, 8), (7, 1), (1, 1), (33, 32)):
    epoch = batches(n, size, np.random.default_rng(0))
    hint = "yield an array of row numbers for each batch; do not return the first"
    assert epoch is not None and not isinstance(epoch, np.ndarray), hint
    epoch = list(epoch)
    sampler = torch.utils.data.BatchSampler(range(n), size, drop_last=False)
    lengths, expected = [len(rows) for rows in epoch], [len(rows) for rows in sampler]
    in_tf = [len(rows) for rows in tf.data.Dataset.range(n).batch(size)]
    assert expected == in_tf, "the frameworks differ"
    text = f"{n} rows by {size}: the batches have {lengths} rows, not {expected}"
    assert lengths == expected, f"{text}: keep the short one, and yield no empty one"
    rows = np.concatenate(epoch)
    hint = "permute the row numbers; drawing with replacement misses some"
    assert sorted(rows.tolist()) == [*range(n)], f"not every row comes once: {hint}"
generator = np.random.default_rng(0)
orders = [np.concatenate([*batches(200, 10, generator)]) for _ in range(3)]
hint = "permute all rows, before you cut them: each batch mixes all of the data"
for order in orders:
    spans = np.ptp(order.reshape(20, 10), axis=1)
    assert np.median(spans) > 50, f"neighbors stay together in a batch: {hint}"
hint = "draw from the generator that you get, anew in each epoch"
assert not np.array_equal(orders[0], orders[1]), f"two epochs have one order: {hint}"
same = np.concatenate([*batches(200, 10, np.random.default_rng(0))])
assert np.array_equal(same, orders[0]), f"equal generators, two orders: {hint}"
print("task 6: right")

# %% [markdown]
# Four programs shall now start from the same weights. This cell copies them into each.
#
# **Predict before you run.** How many steps has an epoch with batches of 64, and how
# many rows has the last batch? Which shapes have the weights of `nn.Linear` and of
# `Dense` with 64 inputs and 32 units?


# %%
def module_from(params: list[np.ndarray]) -> nn.Sequential:
    """Return nn.Linear layers, ReLU between them, that hold copies of params."""
    layers: list[nn.Module] = []
    for w, b in zip(params[::2], params[1::2], strict=True):
        layer = nn.Linear(*w.shape, dtype=torch.float64)
        layer.load_state_dict({"weight": torch.tensor(w.T), "bias": torch.tensor(b)})
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def keras_from(params: list[np.ndarray]) -> keras.Sequential:
    """Return Dense layers, ReLU between them, that hold copies of params."""
    model = keras.Sequential([keras.Input((len(params[0]),))])
    for b in params[1:-1:2]:
        model.add(keras.layers.Dense(len(b), activation="relu"))
    model.add(keras.layers.Dense(len(params[-1])))
    model.set_weights(params)
    return model


params = initial((64, 32, 10), np.random.default_rng(0))
sizes = [len(rows) for rows in batches(len(train_x), 64, rng)]
print(len(sizes), "steps, the last with", sizes[-1], "rows")
print("nn.Linear:", tuple(module_from(params)[0].weight.shape))
print("Dense:    ", tuple(keras_from(params).weights[0].shape))

# %% [markdown]
# **Task 7. One training, four programs.** Each goes through the batches in the order
# given, makes one step $\theta - \eta\,\partial L/\partial\theta$ per batch, and
# returns the loss of each batch *before* its step. Write it
#
# - in PyTorch with your functions and autograd, without `nn` and `optim`,
# - with `nn.Module` and `torch.optim.SGD`,
# - in TensorFlow with your functions, `GradientTape` and `assign_sub`,
# - with a Keras model, a Keras loss and `keras.optimizers.SGD`.


# %% tags=["task"]
def train_torch(
    params: list[torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    epoch: list[np.ndarray],
    lr: float,
) -> list[float]:
    """Train params, which require gradients, in place; return every batch's loss."""
    # BEGIN SOLUTION
    losses = []
    for rows in epoch:
        loss = cross_entropy_torch(forward_torch(x[rows], params), y[rows])
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p -= lr * g
        losses.append(loss.item())
    return losses
    # END SOLUTION


def train_module(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    epoch: list[np.ndarray],
    lr: float,
) -> list[float]:
    """Train the model; return every batch's loss."""
    # BEGIN SOLUTION
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for rows in epoch:
        loss = functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
    # END SOLUTION


def train_tf(
    params: list[tf.Variable],
    x: tf.Tensor,
    y: tf.Tensor,
    epoch: list[np.ndarray],
    lr: float,
) -> list[float]:
    """Train params in place; return every batch's loss."""
    # BEGIN SOLUTION
    losses = []
    for rows in epoch:
        with tf.GradientTape() as tape:
            logits = forward_tf(tf.gather(x, rows), params)
            loss = cross_entropy_tf(logits, tf.gather(y, rows))
        for p, g in zip(params, tape.gradient(loss, params), strict=True):
            p.assign_sub(lr * g)
        losses.append(float(loss))
    return losses
    # END SOLUTION


def train_keras(
    model: keras.Model,
    x: tf.Tensor,
    y: tf.Tensor,
    epoch: list[np.ndarray],
    lr: float,
) -> list[float]:
    """Train the model; return every batch's loss."""
    # BEGIN SOLUTION
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer, losses = keras.optimizers.SGD(lr), []
    for rows in epoch:
        with tf.GradientTape() as tape:
            loss = criterion(tf.gather(y, rows), model(tf.gather(x, rows)))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        losses.append(float(loss))
    return losses
    # END SOLUTION


# %% tags=["check"]
first_difference = {
    1: "this loss is taken before any step: look at rows, forward pass and loss",
    2: "after one step: look at the gradient, at the sign and at whether p changes",
    3: "after two steps: do gradients add up (zero_grad)? Is there momentum?",
}
later = "is the last, smaller batch used, and each loss that of its batch alone?"
to_torch = torch.tensor(train_x), torch.tensor(train_y)
to_tf = tf.constant(train_x), tf.constant(train_y)
cases = ((64, 32, 10), 64, 0.2), ((64, 10), 600, 0.5), ((64, 9, 8, 10), 300, 0.1)
for widths, size, lr in cases:
    start = initial(widths, np.random.default_rng(0))
    epoch = list(batches(len(train_x), size, rng))
    leaves = [torch.tensor(p).requires_grad_() for p in start]
    variables = [tf.Variable(p) for p in start]
    module, model = module_from(start), keras_from(start)
    by = {
        "train_torch": train_torch(leaves, *to_torch, epoch, lr),
        "train_module": train_module(module, *to_torch, epoch, lr),
        "train_tf": train_tf(variables, *to_tf, epoch, lr),
        "train_keras": train_keras(model, *to_tf, epoch, lr),
    }
    ends = {
        "train_torch": [p.detach().numpy() for p in leaves],
        "train_module": [p.detach().numpy().T for p in module.parameters()],
        "train_tf": [p.numpy() for p in variables],
        "train_keras": model.get_weights(),
    }
    params, expected = start, []
    for rows in epoch:
        loss, grads = loss_and_gradients(train_x[rows], train_y[rows], params)
        params = [p - lr * g for p, g in zip(params, grads, strict=True)]
        expected.append(loss)
    for name, losses in by.items():
        assert isinstance(losses, list), f"{name} returns no list"
        tensors = any(torch.is_tensor(each) or tf.is_tensor(each) for each in losses)
        assert not tensors, f"{name} returns tensors: convert with float(...) or item()"
        text = f"{name} returns {len(losses)} losses for {len(epoch)} batches"
        assert len(losses) == len(epoch), text
        wrong = np.flatnonzero(~(np.abs(np.subtract(losses, expected)) < 1e-6))
        if wrong.size:
            step = int(wrong[0]) + 1
            text = f"{name}, step {step}: loss {losses[step - 1]:.6f}, by hand"
            text += f" {expected[step - 1]:.6f}: {first_difference.get(step, later)}"
            raise AssertionError(text)
        for end, p in zip(ends[name], params, strict=True):
            hint = "is the last step made, and are the given parameters changed?"
            compare(f"a parameter after {name}", end, p, hint, 1e-6)
    most = max(np.abs(np.subtract(losses, expected)).max() for losses in by.values())
    text = f"within {most:.0e}" if most > 1e-9 else "equal to rounding"
    print(f"{widths!s:15} {len(epoch):2} losses, five programs: {text}")
print("task 7: right")

# %% [markdown]
# ## Stop, restore, measure
#
# [Early stopping](../glossary.md#early-stopping) keeps the weights with the lowest
# validation loss, and stops when there has been no lower one for some epochs: the
# patience.
#
# **Predict before you run.** Which epoch is kept, and when does the loop stop? One line
# is missing. Which one, and where?

# %%
scripted = [0.9, 0.5, 0.3, 0.4, 0.6, 0.7, 0.8]
best, waited = float("inf"), 0
for epoch, loss in enumerate(scripted, start=1):
    if loss < best:
        kept, waited = epoch, 0
    else:
        waited += 1
    if waited == 2:
        break
print("keeps epoch", kept, "with loss", scripted[kept - 1], "and stops after", epoch)
print("at the end, best is", best)

# %% [markdown]
# **Task 8. Keep the best, then count.** Write early stopping for both frameworks. An
# equal loss is no improvement, and neither is nan.
# [A kept reference is not a copy](../../modules/ml/deep-learning/mlp-from-scratch/index.md#pitfalls).
# Then count what the kept network gets right, in a
# [confusion matrix](../glossary.md#confusion-matrix): true classes as rows, predicted
# ones as columns.


# %% tags=["task"]
def fit_torch(
    model: nn.Module,
    train: Callable[[], object],
    validate: Callable[[], float],
    most: int,
    patience: int,
) -> list[float]:
    """Call train, then validate, for at most `most` epochs; return the losses.

    Stop after `patience` epochs in a row without a new lowest loss. At the end the
    model has the weights of the epoch with the lowest loss.
    """
    # BEGIN SOLUTION
    best, waited, losses = float("inf"), 0, []
    kept = copy.deepcopy(model.state_dict())  # state_dict holds the tensors themselves
    for _ in range(most):
        train()
        losses.append(validate())
        if losses[-1] < best:
            best, waited = losses[-1], 0
            kept = copy.deepcopy(model.state_dict())
        else:
            waited += 1
        if waited == patience:
            break
    model.load_state_dict(kept)
    return losses
    # END SOLUTION


def fit_keras(
    model: keras.Model,
    train: Callable[[], object],
    validate: Callable[[], float],
    most: int,
    patience: int,
) -> list[float]:
    """Do the same for a Keras model, without its callback."""
    # BEGIN SOLUTION
    best, waited, losses = float("inf"), 0, []
    kept = model.get_weights()  # these are copies
    for _ in range(most):
        train()
        losses.append(validate())
        if losses[-1] < best:
            best, waited = losses[-1], 0
            kept = model.get_weights()
        else:
            waited += 1
        if waited == patience:
            break
    model.set_weights(kept)
    return losses
    # END SOLUTION


def confusion(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Count examples by true and predicted class; (N, K) and (N,) -> (K, K)."""
    # BEGIN SOLUTION
    counts = np.zeros((logits.shape[1], logits.shape[1]), dtype=int)
    np.add.at(counts, (targets, logits.argmax(axis=1)), 1)  # += 1 counts a pair once
    return counts
    # END SOLUTION


# %% tags=["check"]
nan = float("nan")
scripts = [
    ([0.9, 0.5, 0.7, 0.6, 0.55, 0.4, 0.3, 0.2], 8, 3),
    ([0.9, 0.8, 0.7, 0.6, 0.5], 4, 2),
    ([0.5, 0.5, 0.5, 0.4], 4, 2),
    ([0.5, nan, 0.4, 0.6, 0.7, 0.1], 6, 2),
    ([0.5, nan, 0.6, 0.7, 0.4], 5, 2),
    ([1.0, 2.0, 3.0], 3, 5),
]
scripts += [([*rng.random(12)], 12, int(rng.integers(1, 5))) for _ in range(10)]
for script, most, patience in scripts:
    start = some_params((2, 2))
    module, model, theirs = module_from(start), keras_from(start), keras_from(start)
    stopping = keras.callbacks.EarlyStopping(
        "val_loss",
        mode="min",
        patience=patience,
        restore_best_weights=True,
    )
    stopping.set_model(theirs)
    stopping.on_train_begin()
    theirs.stop_training, epochs = False, 0
    while epochs < most and not theirs.stop_training:
        theirs.set_weights([np.full_like(w, epochs + 1) for w in theirs.get_weights()])
        stopping.on_epoch_end(epochs, {"val_loss": script[epochs]})
        epochs += 1
    stopping.on_train_end()
    best_epoch = int(theirs.get_weights()[0][0, 0])
    for function, network in ((fit_torch, module), (fit_keras, model)):
        name, seen = function.__name__, [0]

        def train(network=network, seen=seen):
            """Set all parameters to the number of the epoch."""
            seen[0] += 1
            if isinstance(network, nn.Module):
                with torch.no_grad():
                    for p in network.parameters():
                        p.fill_(seen[0])
            else:
                for p in network.weights:
                    p.assign(tf.fill(p.shape, tf.cast(seen[0], p.dtype)))

        def validate(seen=seen, script=script):
            """Return the scripted loss of the epoch."""
            return script[seen[0] - 1] if seen[0] <= len(script) else nan

        losses = function(network, train, validate, most, patience)
        shown = [round(float(each), 2) for each in script[:most]]
        about = f"validation losses {shown}, patience {patience}"
        hint = "lower the best loss whenever a loss is lower; count epochs in a row"
        hint += " without a new lowest, not with a rise; train before you validate"
        text = f"{name} makes {seen[0]} epochs, Keras's EarlyStopping {epochs}"
        assert seen[0] == epochs, f"{text} ({about}): {hint}"
        hint = f"{name} shall return the {epochs} validation losses, one per epoch"
        assert np.shape(losses) == (epochs,), hint
        assert np.array_equal(losses, script[:epochs], equal_nan=True), hint
        weights = module.state_dict() if network is module else model.get_weights()
        weights = weights.values() if isinstance(weights, dict) else weights
        found = sorted({float(v) for w in weights for v in np.ravel(w)})
        hint = "copy the weights (deepcopy) when the loss is the lowest so far, put"
        hint += " them back at the end, and keep best up to date"
        text = f"{name} leaves the weights of epoch {found}, not {best_epoch}"
        assert found == [best_epoch], f"{text} ({about}): {hint}"
for n, k in ((200, 3), (50, 10), (4, 6)):
    scores, labels = rng.normal(size=(n, k)), rng.integers(k, size=n)
    expected = tf.math.confusion_matrix(labels, scores.argmax(axis=1), k).numpy()
    hint = "rows are true classes; all K classes have a row, and += with lists of"
    hint += " indices counts repeated pairs once: use a loop, np.add.at or bincount"
    compare("confusion", confusion(scores, labels), expected, hint, 0.0)
print("task 8: right")

# %% [markdown]
# **What is it worth?** A network is compared with the same program without a hidden
# layer: a linear classifier. Each gets four learning rates; the validation loss
# chooses, and the test digits are read once.


# %%
def learn(widths: tuple[int, ...], lr: float) -> tuple[nn.Module, list[float]]:
    """Return the network that early stopping keeps, and its validation losses."""
    rng = np.random.default_rng(0)
    model = module_from(initial(widths, rng))

    def train() -> None:
        train_module(model, *to_torch, list(batches(len(train_x), 32, rng)), lr)

    @torch.no_grad()
    def validate() -> float:
        logits = model(torch.tensor(valid_x))
        return functional.cross_entropy(logits, torch.tensor(valid_y)).item()

    return model, fit_torch(model, train, validate, most=50, patience=6)


fig, ax = plt.subplots(num="curves", figsize=(4.4, 2.8), layout="constrained")
networks = {"linear": ((64, 10), "--"), "32 hidden units": ((64, 32, 10), "-")}
for label, (widths, style) in networks.items():
    runs = {lr: learn(widths, lr) for lr in (0.2, 0.6, 1.8, 5.4)}
    lr = min(runs, key=lambda lr: min(runs[lr][1]))
    network, losses = runs[lr]
    with torch.no_grad():
        logits = network(torch.tensor(test_x)).numpy()
    counts = confusion(logits, test_y)
    error = 1 - np.trace(counts) / counts.sum()
    spread = np.sqrt(error * (1 - error) / len(test_y))
    best_epoch = int(np.argmin(losses)) + 1
    print(f"{label}: learning rate {lr}, epoch {best_epoch} of {len(losses)} kept,")
    mistakes = f"{round(error * len(test_y))} of {len(test_y)} test digits wrong"
    print(f"  validation loss {min(losses):.3f}, {mistakes}:")
    print(f"  {error:.1%}, standard error {spread:.1%}")
    lines = ax.plot(range(1, len(losses) + 1), losses, style, label=label)
    ax.plot(best_epoch, min(losses), "o", color=lines[0].get_color())
ax.set(xlabel="epoch", ylabel="validation loss (nats)", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ![Two curves of validation loss fall fast, then move up and down a little. Each has a
# dot at its lowest point; the two dots have nearly the same
# height.](lab_02_mlp_from_scratch.py#curves "Which epoch is kept? The dots; training stops
# six epochs later, or at epoch 50.")
#
# **Predict before you run.** Which digits does the network take for each other? And how
# sure is it of its surest mistake?

# %%
off = counts * (1 - np.eye(10, dtype=int))
mixed = [f"{i} as {j} ({off[i, j]})" for i, j in np.argwhere(off)]
print("read as:", ", ".join(mixed[:6]), "\n        ", ", ".join(mixed[6:]))
p = np.exp(logits - logits.max(axis=1, keepdims=True))
p /= p.sum(axis=1, keepdims=True)
wrong = np.flatnonzero(logits.argmax(axis=1) != test_y)
surest = wrong[p[wrong].max(axis=1).argmax()]
sure = f"{test_y[surest]} as {p[surest].argmax()}, with {p[surest].max():.2f}"
print("the surest:", sure)

fig, axes = plt.subplots(1, 2, num="wrong", figsize=(4.4, 2.2), layout="constrained")
axes[0].imshow(test_x[surest].reshape(8, 8), cmap="gray_r")
axes[0].set(xticks=[], yticks=[], xlabel=f"class {test_y[surest]}")
colors = ["C1" if k == test_y[surest] else "C0" for k in range(10)]
axes[1].bar(range(10), p[surest], color=colors)
axes[1].set(xticks=range(10), yscale="log", ylim=(1e-4, 1.5))
axes[1].set(xlabel="class", ylabel="probability")
axes[1].set_yticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
plt.show()

# %% [markdown]
# ![Left: an 8 by 8 image of a digit in grays. Right: a bar per class on a logarithmic
# axis; the highest is blue and belongs to a wrong class, a lower one is
# orange.](lab_02_mlp_from_scratch.py#wrong "What does the network get wrong? Its surest
# mistake, and the probability of each class; orange is the true one.")
#
# If the two errors differ by less than two standard errors, then this test does not say
# which model is better. With more splits, the topic page can
# [say more](../../modules/ml/deep-learning/mlp-from-scratch/index.md#does-a-hidden-layer-help).
