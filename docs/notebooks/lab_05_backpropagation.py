"""Backpropagation by hand, by a tape and by two frameworks gives the same gradients.

Eight tasks: a graph, a layer, a loss, a check, a tape, products, a rule, a loop.
Rows are examples; a gradient has the shape of its variable. Each check compares with
autograd or with a formula in float64, on random and on extreme inputs.
"""

# %% [markdown]
# ## Before you start
#
# Run this cell. The checks use `compare` and `attempt`; `outcome` shows a result, or
# the name of the error where there is none.

# %%
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import torch
from torch.nn import functional

# PyTorch's forward mode itself uses torch.jit.script, which is deprecated
warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
rng = np.random.default_rng(0)


def compare(
    name: str,
    ours: object,
    expected: np.ndarray,
    hint: str,
    tolerance: float = 1e-9,
) -> None:
    """Stop with a message unless ours has the shape and the values of expected."""
    assert ours is not None, f"{name} is None: {hint}"
    found = np.asarray(ours.detach() if isinstance(ours, torch.Tensor) else ours)
    shapes = f"{name} has the shape {found.shape}, not {expected.shape}"
    assert found.shape == expected.shape, f"{shapes}: {hint}"
    gap = np.abs(found.astype(float) - expected)
    if not (gap <= tolerance).all():
        worst = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
        entry = f"{name}, entry {worst}," if worst else name
        values = f"{found[worst]:.5g}, not {expected[worst]:.5g}"
        if gap[worst] < 1e-5 * abs(expected[worst]):
            hint = f"nearly right: is it float32, or an approximation? {hint}"
        raise AssertionError(f"{entry} is {values}, off by {gap[worst]:.0e}: {hint}")


def attempt(
    name: str,
    hint: str,
    action: Callable[..., Any],
    *arguments: object,
) -> Any:
    """Return what an action gives; an error of a library gets a hint."""
    try:
        return action(*arguments)
    except (AssertionError, NotImplementedError):
        raise
    except Exception as problem:
        text = str(problem).strip().partition("\n")[0].split(" [Op:")[0]
        text = text.split(":0}} ")[-1][:120]  # without TensorFlow's device
        error = f"{type(problem).__name__}, {text}"
        raise AssertionError(f"{name} stops with {error} ... {hint}") from problem


def outcome(action: Callable[..., object], *arguments: object) -> str:
    """Return what an action gives, as text, or the name of its error."""
    try:
        return str(action(*arguments))
    except Exception as error:
        return type(error).__name__


# %% [markdown]
# ## One number, two routes
#
# A unit and the layer after it share one weight $w$: $z = wx + b$, $h = \max(z, 0)$,
# $o = hw$, $L = \frac12(o - y)^2$. Values go forward; then each node multiplies the
# gradient that arrives by its
# [local derivative](../../modules/ml/deep-learning/backpropagation/index.md#worked-example)
# and sends it back.

# %%
places = {
    "x = 3": (0.0, 1.2),
    "b = -4": (0.0, 0.0),
    "z": (1.2, 0.6),
    "h": (2.3, 0.6),
    "o": (3.4, 0.6),
    "L": (4.5, 0.6),
    "w = 2": (1.75, -0.9),
    "y = 1": (3.6, -0.9),
}
arrows = ["x = 3>z", "b = -4>z", "w = 2>z", "z>h", "h>o", "w = 2>o", "o>L", "y = 1>L"]
fig, ax = plt.subplots(num="graph", figsize=(4.4, 2.4), layout="constrained")
for name, place in places.items():
    shape = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": "gray"}
    ax.text(*place, name, ha="center", va="center", bbox=shape)
for arrow in arrows:
    start, end = arrow.split(">")
    color = "C1" if arrow == "w = 2>o" else "gray"
    color = "C0" if arrow in ("w = 2>z", "z>h", "h>o") else color
    shrink = 26 if start in ("x = 3", "b = -4") else 15
    style = {"arrowstyle": "->", "color": color, "shrinkA": shrink, "shrinkB": 13}
    ax.annotate("", places[end], places[start], arrowprops=style)
ax.set(xlim=(-0.6, 4.9), ylim=(-1.3, 1.6))
ax.axis("off")
plt.show()

# %% [markdown]
# ![Boxes joined by arrows: x, b and w lead to z, then h, o and L. A second arrow leads
# from w to o, and y leads to L.](lab_05_backpropagation.py#graph "How does the loss
# depend on w? Through z and h (blue), and directly through o (orange).")
#
# **Predict before you run.** On paper: what are $z$, $h$, $o$ and $L$, and the
# gradients for $w$, $b$ and $x$?

# %%
leaves = [torch.tensor(number, requires_grad=True) for number in (2.0, -4.0, 3.0)]
w, b, x = leaves
loss = ((w * x + b).relu() * w - 1.0) ** 2 / 2
grads = torch.autograd.grad(loss, leaves)
print("PyTorch:    L", loss.item(), " for w, b, x:", *(g.item() for g in grads))

variables = [tf.Variable(number) for number in (2.0, -4.0, 3.0)]
with tf.GradientTape() as tape:
    w, b, x = variables
    loss = (tf.nn.relu(w * x + b) * w - 1.0) ** 2 / 2
grads = tape.gradient(loss, variables)
print("TensorFlow: L", loss.numpy(), " for w, b, x:", *(g.numpy() for g in grads))

# %% [markdown]
# **Task 1. Forward, then backward.** Write what you did on paper for any numbers,
# without a framework. Where a value has two users, two messages arrive. At $z = 0$ take
# the slope 0, as the
# [frameworks do](../../modules/ml/deep-learning/automatic-differentiation/index.md#conventions-differ).


# %% tags=["task"]
def by_hand(w: float, b: float, x: float, y: float) -> dict[str, float]:
    """Return z, h, o, L and grad_o, grad_h, grad_z, grad_w, grad_b, grad_x by name."""
    # BEGIN SOLUTION
    z = w * x + b
    h = max(z, 0.0)
    o = h * w
    grad_o = o - y
    grad_h = grad_o * w
    grad_z = grad_h if z > 0 else 0.0
    grad_w = grad_o * h + grad_z * x  # two users of w, two messages
    forward = {"z": z, "h": h, "o": o, "L": (o - y) ** 2 / 2}
    backward = {"grad_o": grad_o, "grad_h": grad_h, "grad_z": grad_z}
    backward |= {"grad_w": grad_w, "grad_b": grad_z, "grad_x": grad_z * w}
    return forward | backward
    # END SOLUTION


# %% tags=["check"]
hints = {"z": "w x + b", "h": "max(z, 0)", "o": "h w", "L": "half of (o - y) squared"}
hints["grad_o"] = "the derivative of half a square is o - y"
hints["grad_h"] = "o = h w: what arrives at o, times w"
hints["grad_z"] = "what arrives at h passes if z > 0; at z <= 0 it is 0"
hints["grad_w"] = "w has two users, z and o: add both messages"
hints["grad_b"] = "a sum copies what arrives at z"
hints["grad_x"] = "what arrives at z, times w"
cases = [(2.0, -4.0, 3.0, 1.0), (2.0, -4.0, 2.0, 1.0), (-1.0, 1.0, 2.0, 3.0)]
cases += [tuple(map(float, rng.normal(size=4))) for _ in range(30)]
cases += [(1e6, 1.0, 1e6, -1.0), (1e-8, 0.0, 1e-8, 1e-8)]
for case in cases:
    ours = by_hand(*case)
    assert isinstance(ours, dict), "by_hand returns no dict"
    leaves = [*torch.tensor(case, dtype=torch.float64, requires_grad=True).unbind()]
    w, b, x, y = leaves
    z = w * x + b
    h = z.relu()
    o = h * w
    values = {"z": z, "h": h, "o": o, "L": (o - y) ** 2 / 2}
    grads = torch.autograd.grad(values["L"], [o, h, z, w, b, x])
    right = values | dict(zip([*hints][4:], grads, strict=True))
    for name, hint in hints.items():
        assert name in ours, f"{name} is missing"
        wanted = right[name].detach().numpy()
        where = f"{name} at w, b, x, y = {np.round(case, 3).tolist()}"
        compare(where, ours[name], wanted, hint, 1e-9 * float(abs(wanted)))
print("task 1: right")

# %% [markdown]
# ## Layers and losses
#
# A batch is one graph in which all examples use the same weights, so the
# [rules for matrices](../../modules/ml/deep-learning/backpropagation/index.md#local-rules)
# contain a sum over the examples.
#
# **Predict before you run.** Both layers map 3 features to 2 for 5 examples, with a
# loss that is the sum of all outputs. Which shapes have the gradients? What is each
# gradient for the bias?

# %%
in_torch, in_keras = torch.nn.Linear(3, 2), tf.keras.layers.Dense(2)
in_torch(torch.ones(5, 3)).sum().backward()
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(in_keras(tf.ones((5, 3))))
grads = tape.gradient(loss, [in_keras.kernel, in_keras.bias])
print("nn.Linear: weight", tuple(in_torch.weight.grad.shape), end=", ")
print("bias", in_torch.bias.grad.tolist())
print("Dense:     kernel", tuple(grads[0].shape), end=", ")
print("bias", grads[1].numpy().tolist())

# %% [markdown]
# **Task 2. Backward through a layer.** `delta` is the gradient for the output. Return
# those for the input, the weights and the bias. For one example the gradient for the
# weights is an outer product; for a batch it is the sum of these, which is one matrix
# product. The layouts differ: `nn.Linear` computes $\mathbf{X}\mathbf{W}^\top +
# \mathbf{b}$, `Dense` computes $\mathbf{X}\mathbf{W} + \mathbf{b}$. Write the formulas,
# without autograd.


# %% tags=["task"]
def linear_backward_torch(
    x: torch.Tensor, weight: torch.Tensor, delta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return gradients for x, weight, bias; x (N, D), weight (K, D), delta (N, K)."""
    # BEGIN SOLUTION
    grad_weight = delta.T @ x  # (K, N) @ (N, D) -> (K, D)
    return delta @ weight, grad_weight, delta.sum(dim=0)
    # END SOLUTION


def linear_backward_tf(
    x: tf.Tensor,
    kernel: tf.Tensor,
    delta: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return gradients for x, kernel, bias; x (N, D), kernel (D, K), delta (N, K)."""
    # BEGIN SOLUTION
    grad_kernel = tf.transpose(x) @ delta  # (D, N) @ (N, K) -> (D, K)
    return delta @ tf.transpose(kernel), grad_kernel, tf.reduce_sum(delta, axis=0)
    # END SOLUTION


# %% tags=["check"]
hints = {"x": "row n of delta times the weights, turned so that K meets K"}
hints["weight"] = "the sum over examples of outer products of x[n] and delta[n]"
hints["bias"] = "one entry per output: add the rows; the 1/N is in delta already"
fits = "write the shape beside each factor: inner axes must be equal; in TensorFlow"
fits += " tf.transpose turns"
sizes = [(5, 3, 2), (3, 3, 3), (1, 4, 2), (6, 1, 3), (4, 2, 1), (1, 1, 1)]
for n, d, k in sizes:
    shapes = (n, d), (k, d), (n, k)
    x, weight, delta = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    leaves = [x.clone(), weight.clone(), torch.zeros(k).double()]
    out = functional.linear(*(leaf.requires_grad_() for leaf in leaves))
    right = torch.autograd.grad(out, leaves, delta)
    arrays = [tf.constant(each.numpy()) for each in (x, weight.T, delta)]
    right_tf = right[0], right[1].T, right[2]
    tensors = x, weight, delta
    ours = attempt("linear_backward_torch", fits, linear_backward_torch, *tensors)
    ours_tf = attempt("linear_backward_tf", fits, linear_backward_tf, *arrays)
    for name, given, wanted in (("torch", ours, right), ("tf", ours_tf, right_tf)):
        whole = isinstance(given, tuple) and len(given) == 3
        assert whole, f"linear_backward_{name} returns no tuple of three"
        for (part, hint), one, exact in zip(hints.items(), given, wanted, strict=True):
            text = f"linear_backward_{name}, N={n}, D={d}, K={k}: gradient for {part}"
            compare(text, one, exact.numpy(), hint)
print("task 2: right")

# %% [markdown]
# **Task 3. Softmax and cross-entropy.** The loss is the mean over the batch. Its
# [gradient for the logits](../../modules/ml/deep-learning/cross-entropy/index.md#gradient)
# needs no Jacobian. Write it in both libraries, without autograd; logits may be as
# large as 1000, or $-\infty$ where a class is excluded.


# %% tags=["task"]
def loss_backward_torch(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the mean loss; (N, K), class numbers (N,) -> (N, K)."""
    # BEGIN SOLUTION
    delta = torch.softmax(logits, dim=1)
    delta[torch.arange(len(targets)), targets] -= 1.0
    return delta / len(targets)
    # END SOLUTION


def loss_backward_tf(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return the gradient of the mean loss; (N, K), class numbers (N,) -> (N, K)."""
    # BEGIN SOLUTION
    onehot = tf.one_hot(targets, logits.shape[1], dtype=logits.dtype)
    return (tf.nn.softmax(logits, axis=1) - onehot) / len(targets)
    # END SOLUTION


# %% tags=["check"]
fits = "keepdim for a sum (N, 1) over each row; a one-hot row has K entries, and in"
fits += " TensorFlow the dtype of the logits; its tensors do not change in place"
for n, k, scale in ((5, 3, 1.0), (4, 4, 1.0), (1, 6, 1.0), (3, 1, 1.0), (6, 5, 1000.0)):
    logits = torch.from_numpy(scale * rng.normal(size=(n, k)))
    targets = torch.from_numpy(rng.integers(k, size=n))
    if n == 1:
        targets[0] = 2  # the last classes do not occur
    if n == 5:
        logits[0, (targets[0] + 1) % k] = -torch.inf
    before = logits.clone()
    leaf = logits.clone().requires_grad_()
    loss = functional.cross_entropy(leaf, targets)
    right = torch.autograd.grad(loss, leaf)[0].numpy()
    arrays = tf.constant(before.numpy()), tf.constant(targets.numpy())
    ours = attempt("loss_backward_torch", fits, loss_backward_torch, logits, targets)
    in_tf = attempt("loss_backward_tf", fits, loss_backward_tf, *arrays)
    assert torch.equal(logits, before), "loss_backward_torch changes the logits"
    for name, given in (("loss_backward_torch", ours), ("loss_backward_tf", in_tf)):
        hint = "probabilities of each row, minus 1 at its target"
        if n > 1:
            hint += f"; the mean over {n} examples divides once"
        if scale > 1:
            hint = "logits near 1000: subtract the largest of a row before exp"
        compare(f"{name}, N={n}, K={k}", given, right, hint)
        leak = np.abs(np.asarray(given).sum(axis=1)).max()
        assert leak < 1e-9, f"{name}: a row of the gradient must add up to 0"
print("task 3: right")

# %% [markdown]
# ## Is the gradient right?
#
# Nudge a parameter by $\pm h$, run the loss twice, divide by $2h$. A large $h$ misses
# the slope, a small one loses its digits:
# [the best step](../../modules/ml/deep-learning/gradient-checking/index.md#round-off-and-the-best-step)
# lies between.
#
# **Predict before you run.** At which $h$ is the error of central differences lowest,
# in float64 and in float32? And that of one-sided differences?

# %%
logits, targets = torch.from_numpy(rng.normal(size=(4, 3))), torch.tensor([0, 2, 1, 1])
direction = torch.from_numpy(rng.normal(size=(4, 3)))
leaf = logits.clone().requires_grad_()
exact = torch.autograd.grad(functional.cross_entropy(leaf, targets), leaf)[0]
slope = float((exact * direction).sum())
widths = 10.0 ** np.arange(-12.0, 0.1, 0.5)


def error(h: float, back: float, dtype: torch.dtype) -> float:
    """Return the relative error of a difference from -back * h to h along direction."""
    points = ((logits + step * direction).to(dtype) for step in (h, -back * h))
    above, below = (float(functional.cross_entropy(point, targets)) for point in points)
    return abs((above - below) / (h + back * h) / slope - 1.0)


fig, ax = plt.subplots(num="steps", figsize=(4.4, 3.0), layout="constrained")
lines = [("float64, central", 1.0, torch.float64, "C0")]
lines += [("float32, central", 1.0, torch.float32, "C1")]
lines += [("float64, one-sided", 0.0, torch.float64, "gray")]
for label, back, dtype, color in lines:
    errors = [max(error(h, back, dtype), 1e-13) for h in widths]
    ax.loglog(widths, errors, color=color, marker=".", label=label)
    best = widths[int(np.argmin(errors))]
    print(f"{label:18} {min(errors):.0e} at h = {best:.0e}")
fig.legend(loc="outside upper center", ncols=2)
ax.set(xlabel="step h", ylabel="relative error", ylim=(1e-13, 1e3))
plt.show()

# %% [markdown]
# ![Three curves shaped like a V over the step, on logarithmic axes. Central differences
# in float64 reach the lowest error.](lab_05_backpropagation.py#steps "How wrong is a
# difference? Left of the bottom rounding rules, right of it the curve of the loss.")
#
# **Task 4. A gradient check.** Write central differences for a loss of an array, and
# the
# [relative error by norm](../../modules/ml/deep-learning/gradient-checking/index.md#definition).
# Compute in float64. A step that suits a parameter near 1 is too small at 10,000; the
# usual rule makes it proportional to $\max(1, |x|)$. The check asks for about nine
# digits, which takes a step near the best of the blue curve.


# %% tags=["task"]
def numeric_gradient(f: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Return df/dx in the shape of x, in float64; x, of any type, stays as it is."""
    # BEGIN SOLUTION
    point = np.array(x, dtype=np.float64)  # a copy
    gradient = np.empty_like(point)
    for index in np.ndindex(point.shape):
        center = point[index]
        h = np.finfo(np.float64).eps ** (1 / 3) * max(1.0, abs(center))
        point[index] = center + h
        above = f(point)
        point[index] = center - h
        gradient[index] = (above - f(point)) / (2.0 * h)
        point[index] = center
    return gradient
    # END SOLUTION


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Return the norm of a - b over the larger norm of the two; 0 if both are 0."""
    # BEGIN SOLUTION
    size = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / size) if size else 0.0
    # END SOLUTION


# %% tags=["check"]
a = rng.normal(size=(3, 2))
pairs = [(a, a, 0.0)] + [(s * a, 1.01 * s * a, 1 - 1 / 1.01) for s in (1.0, 1e-9)]
pairs += [(a, -a, 2.0), (a, 0.0 * a, 1.0), (0.0 * a, 0.0 * a, 0.0)]
pairs += [(np.array([3.0, 4.0]), np.array([3.0, 0.0]), 0.8)]
for one, other, right in pairs:
    hint = "norm of the difference over the larger of both norms; 0 if both are 0"
    both = f"of {one.ravel()[:2]}... and {other.ravel()[:2]}..."
    got = relative_error(one, other)
    compare(f"relative_error {both}", got, np.array(right), hint, 1e-12)
targets = torch.tensor([0, 2, 1, 1])
fits = "f gets float64 arrays in the shape of x, which has any number of axes, or none"


def numeric_of(f: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    return attempt("numeric_gradient", fits, numeric_gradient, f, x)


def loss_torch(z: np.ndarray) -> float:
    return functional.cross_entropy(torch.tensor(z), targets).item()


def loss_tf(z: np.ndarray) -> float:
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    return float(tf.reduce_mean(entropy(targets.numpy(), tf.constant(z))))


starts = rng.normal(size=(4, 3)), np.ones((4, 3), int)
for loss, start in zip((loss_torch, loss_tf), starts, strict=True):
    if start.dtype == float:
        start[0, :2] = 0.0, 1e-7
    before = start.copy()
    numeric = numeric_of(loss, start)
    hint = "nudge a copy, and put each entry back before the next"
    assert (start == before).all(), f"numeric_gradient changes x: {hint}"
    right = loss_backward_torch(torch.from_numpy(start).double(), targets).numpy()
    hint = "two losses, h on either side, over 2 h, one entry at a time; h > 0 also at"
    hint += " x = 0; a copy in float64, also of integers"
    compare("numeric_gradient of cross-entropy", numeric, right, hint, 1e-4)
    off = relative_error(numeric, right)
    best = "h near the cube root of 2e-16 times max(1, |x|)"
    hint = f"central differences, {best}; put each entry back"
    assert off < 1e-9, f"relative error {off:.0e} for a gradient that is right: {hint}"
far = np.array([1e4, -3e4, 0.5], np.float32)
off = relative_error(numeric_of(lambda x: np.log(np.abs(x)).sum(), far), 1 / far)
hint = "float64 for all computation, and a step for each entry of its own"
assert off < 1e-6, f"relative error {off:.0e} for the log of a float32 array: {hint}"
for point in far.astype(float):
    one = np.array(point)  # shape ()
    numeric = numeric_of(lambda x: np.log(abs(float(x))), one)
    off = relative_error(numeric, 1 / one)
    hint = f"{best}, for negative x too"
    assert off < 1e-8, f"relative error {off:.0e} for the log at {point:g}: {hint}"
print("task 4: right")

# %% [markdown]
# The frameworks have this check too. `gradcheck` decides, `compute_gradient` returns
# both Jacobians.

# %%
leaf = logits.clone().requires_grad_()
passed = torch.autograd.gradcheck(functional.cross_entropy, (leaf, targets))
print("torch.autograd.gradcheck:", passed)
both = tf.test.compute_gradient(lambda z: tf.reduce_sum(tf.tanh(z)), [logits.numpy()])
gap = relative_error(both[0][0], both[1][0])
print(f"tf.test.compute_gradient: relative error {gap:.0e} with its step of 1/1024")

# %% [markdown]
# ## A tape
#
# Reverse mode
# [records](../../modules/ml/deep-learning/automatic-differentiation/index.md#reverse-mode)
# every operation while the program runs: the operands, and the local derivative for
# each. Then it walks the list backward. This class records; sums are done.
#
# **Predict before you run.** `x` is 3. What does the tape hold after `y = x + x`, and
# what after `y + x`?


# %%
class Value:
    """A number on a tape; operands are pairs of a value and its local derivative."""

    reads = 0  # of operands, by all values; a check limits them

    def __init__(
        self,
        number: float,
        tape: list["Value"],
        operands: Sequence[tuple["Value", float]] = (),
    ) -> None:
        self.number, self.tape, self.index = number, tape, len(tape)
        self._operands = operands
        tape.append(self)

    @property
    def operands(self) -> Sequence[tuple["Value", float]]:
        Value.reads += 1
        hint = "too many steps: walk the list once, not each path"
        assert Value.reads < 100_000, hint
        return self._operands

    def __add__(self, other: "Value") -> "Value":
        operands = ((self, 1.0), (other, 1.0))
        return Value(self.number + other.number, self.tape, operands)

    def __mul__(self, other: "Value") -> "Value":
        return multiply(self, other)


numbers: list[Value] = []
x = Value(3.0, numbers)
y = x + x
total = y + x
for value in numbers:
    operands = [(operand.index, slope) for operand, slope in value.operands]
    print(f"entry {value.index}: {value.number}, from (entry, slope): {operands}")

# %% [markdown]
# **Task 5. Reverse mode.** Record a product and a tanh, then write the walk. An entry
# comes after its operands, so in reverse order all messages to a value have arrived
# when it is its turn. A result may be used twice, and the output need not be the last
# entry.


# %% tags=["task"]
def multiply(a: Value, b: Value) -> Value:
    """Return a b, recorded on the tape of a."""
    # BEGIN SOLUTION
    return Value(a.number * b.number, a.tape, ((a, b.number), (b, a.number)))
    # END SOLUTION


def tanh(a: Value) -> Value:
    """Return tanh a, recorded on the tape of a."""
    # BEGIN SOLUTION
    y = float(np.tanh(a.number))
    return Value(y, a.tape, ((a, 1.0 - y * y),))
    # END SOLUTION


def gradients(output: Value) -> list[float]:
    """Return the derivative of output for every entry of its tape, in their order."""
    # BEGIN SOLUTION
    grads = [0.0] * len(output.tape)
    grads[output.index] = 1.0
    for value in reversed(output.tape):
        for operand, slope in value.operands:
            grads[operand.index] += grads[value.index] * slope
    return grads
    # END SOLUTION


# %% tags=["check"]
def program(x: Any, y: Any, tanh: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return two outputs; u is used by both, and twice by itself."""
    u = x * y + x
    first = u * u + tanh(u * y) * x
    return first, first * u


Value.reads = 0
entries: list[Value] = []
a, b, c = (Value(number, entries) for number in (3.0, 5.0, 0.5))
product, curve = multiply(a, b), tanh(c)
other, y = "the slope for each factor is the other factor", np.tanh(0.5)
results = [("multiply", product, 15.0, {0: 5.0, 1: 3.0}, other)]
results += [("tanh", curve, y, {2: 1.0 - y * y}, "1 - y y, with y = tanh a")]


def slopes_of(value: Value) -> dict[int, float]:
    return {operand.index: float(slope) for operand, slope in value.operands}


for name, value, right, wanted, hint in results:
    assert isinstance(value, Value), f"{name} returns no Value"
    compare(name, value.number, np.array(right), "the number itself is wrong")
    once = entries.count(value) == 1 and entries.index(value) == value.index
    assert once, f"{name}: Value(number, a.tape, ...) puts the result there once"
    pairs = "operands are a tuple of pairs, each a value and its slope"
    slopes = attempt(f"reading the operands of {name}", pairs, slopes_of, value)
    assert slopes.keys() == wanted.keys(), f"{name}: {pairs}, one pair for each operand"
    for index, slope in wanted.items():
        text = f"{name}: slope for {entries[index].number}"
        compare(text, slopes[index], np.array(slope), hint)
for which in (0, 1):
    for start in [*rng.normal(size=(20, 2)), (0.0, 0.0), (1.0, -1.0), (0.5, 800.0)]:
        point = [float(number) for number in start]
        tape_of_ours: list[Value] = []
        ours = [Value(number, tape_of_ours) for number in point]
        far = "tanh and its slope must not overflow at large numbers"
        output = attempt(f"the program at {point}", far, program, *ours, tanh)[which]
        hint = "read index, number and operands of the entries of output.tape"
        found = attempt("gradients", hint, gradients, output)
        listed = isinstance(found, list | np.ndarray)
        enough = listed and len(found) == len(tape_of_ours)
        assert enough, "gradients returns no list with an entry for each of the tape"
        whole = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        leaves = [*whole.unbind()]
        right = torch.autograd.grad(program(*leaves, torch.tanh)[which], leaves)
        watched = [tf.Variable(number, dtype=tf.float64) for number in point]
        with tf.GradientTape() as tape:
            loss = program(*watched, tf.tanh)[which]
        also = tape.gradient(loss, watched)
        for name, got, in_torch, in_tf in zip("xy", found, right, also, strict=False):
            hint = "add the messages of all users, from the last entry to the first"
            hint += "; entries after the output get 0"
            margin = 1e-9 * max(1.0, abs(float(in_torch)))
            compare(f"gradient for {name}", got, in_torch.numpy(), hint, margin)
            compare(f"gradient for {name} (tf)", got, in_tf.numpy(), hint, margin)
        late = found[output.index + 1 :]
        assert not np.any(late), "what was computed after the output gets 0"
x = double = Value(1.0, [])
for _ in range(60):
    double = double + double
hint = "60 doublings have 2**60 paths: add, do not list"
assert gradients(double)[0] == 2.0**60, hint
x = chain = Value(1.0, [])
for _ in range(5000):
    chain = chain + x
text = outcome(lambda: gradients(chain)[0])
hint = "loop over the tape; a recursion is too deep for 5000 steps"
assert text == "5001.0", f"a chain of 5000 sums gives {text}, not 5001.0: {hint}"
print("task 5: right")

# %% [markdown]
# ## Two directions
#
# Reverse mode carries a row back, $\mathbf{u}\,\mathbf{J}$; forward mode carries a
# column along, $\mathbf{J}\mathbf{v}$
# ([which calls](../../modules/ml/deep-learning/automatic-differentiation/index.md#in-the-frameworks)).
# Neither forms the Jacobian $\mathbf{J}$.
#
# **Predict before you run.** A function takes 2 numbers to 500. How many sweeps of each
# mode give all of $\mathbf{J}$? Which shape has $\mathbf{J}$, from either?


# %%
def curve_of(t: torch.Tensor) -> torch.Tensor:
    """Map (2,) to (500,)."""
    return torch.sin(torch.arange(500.0) * t[0] + t[1])


point = torch.tensor([0.1, 0.2])
by_columns = torch.func.jacfwd(curve_of)(point)
by_rows = torch.func.jacrev(curve_of)(point)
print("shapes:", tuple(by_columns.shape), tuple(by_rows.shape))
print("sweeps: forward", len(point), "reverse", len(by_rows))
print("equal to rounding:", torch.allclose(by_columns, by_rows, atol=1e-4))

# %% [markdown]
# **Task 6. Both products, both libraries.** PyTorch has them as functions of a
# function, TensorFlow as a tape and an accumulator. One sweep for each product, also if
# `x` has several axes. Where `f` ignores `x`, the product is zero, not `None`.


# %% tags=["task"]
def vjp_torch(f: Callable, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Return u J in the shape of x; u has the shape of f(x)."""
    # BEGIN SOLUTION
    return torch.func.vjp(f, x)[1](u)[0]
    # END SOLUTION


def jvp_torch(f: Callable, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return J v in the shape of f(x); v has the shape of x."""
    # BEGIN SOLUTION
    return torch.func.jvp(f, (x,), (v,))[1]
    # END SOLUTION


def vjp_tf(f: Callable, x: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """Return u J in the shape of x; u has the shape of f(x)."""
    # BEGIN SOLUTION
    with tf.GradientTape() as tape:
        tape.watch(x)  # a constant is not watched by itself
        y = f(x)
    zero = tf.UnconnectedGradients.ZERO
    return tape.gradient(y, x, output_gradients=u, unconnected_gradients=zero)
    # END SOLUTION


def jvp_tf(f: Callable, x: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    """Return J v in the shape of f(x); v has the shape of x."""
    # BEGIN SOLUTION
    with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
        y = f(x)
    return accumulator.jvp(y, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # END SOLUTION


# %% tags=["check"]
weights = rng.normal(size=(3, 4))
maps: dict[str, tuple[Callable, Callable, tuple[int, ...]]] = {
    "tanh(x W)": (
        lambda x: torch.tanh(x @ torch.from_numpy(weights)),
        lambda x: tf.tanh(x @ tf.constant(weights)),
        (2, 3),
    ),
    "x times its sum": (lambda x: x * x.sum(), lambda x: x * tf.reduce_sum(x), (4,)),
    "reversed cube": (
        lambda x: x.flip(0) ** 3,
        lambda x: tf.reverse(x, [0]) ** 3,
        (3,),
    ),
    "a function that ignores x": (
        lambda x: torch.ones(2, dtype=x.dtype),
        lambda x: tf.ones(2, x.dtype),
        (3,),
    ),
}
for name, (f_torch, f_tf, shape) in maps.items():
    for scale in (1.0, 0.0):
        x = torch.from_numpy(scale * rng.normal(size=shape))
        y = f_torch(x)
        v, u = (torch.from_numpy(rng.normal(size=each.shape)) for each in (x, y))
        jacobian = torch.autograd.functional.jacobian(f_torch, x).numpy()
        wide = jacobian.reshape(y.numel(), x.numel())
        rows = (u.numpy().ravel() @ wide).reshape(x.shape)
        columns = (wide @ v.numpy().ravel()).reshape(y.shape)
        x_tf, v_tf, u_tf = (tf.constant(each.numpy()) for each in (x, v, u))
        none = "no path from x to y: torch.func gives zeros; TensorFlow gives None"
        none += " unless unconnected_gradients says otherwise"
        back = "u J, to rounding: start at y with u, arrive in the shape of x; x must"
        back += " be watched, or require a gradient, before f runs"
        along = "J v, to rounding: start at x with v, arrive in the shape of y"
        if "ignores" in name:
            back = along = none
        calls = [(vjp_torch, f_torch, x, u, rows, back)]
        calls += [(vjp_tf, f_tf, x_tf, u_tf, rows, back)]
        calls += [(jvp_torch, f_torch, x, v, columns, along)]
        calls += [(jvp_tf, f_tf, x_tf, v_tf, columns, along)]
        for call, f, at, vector, wanted, hint in calls:
            text = f"{call.__name__} of {name}"
            ours = attempt(text, hint, call, f, at, vector)
            compare(text, ours, wanted, hint, 1e-12)
runs: list[int] = []


def counted(x: Any) -> Any:
    runs.append(1)
    return x * x


x = torch.ones(50, dtype=torch.float64)
x_tf = tf.ones(50, tf.float64)
for product, each in ((vjp_torch, x), (jvp_torch, x), (vjp_tf, x_tf), (jvp_tf, x_tf)):
    runs.clear()
    product(counted, each, each)
    text = f"{product.__name__} runs a function of 50 numbers {len(runs)} times"
    assert len(runs) <= 2, f"{text}: one sweep is enough"
print("task 6: right")

# %% [markdown]
# ## A rule of your own
#
# $\log(1 + e^x)$ is about $x$ for large $x$, with slope 1. Recorded rules pass through
# $e^x$ on the way;
# [a custom rule](../../modules/ml/deep-learning/custom-gradients/index.md#rules-that-do-not-overflow)
# does not.
#
# **Predict before you run.** Value and slope of both formulas at 0 and at 100, in
# float32: which of these eight numbers are wrong?


# %%
def plain(x: tf.Tensor) -> tf.Tensor:
    return tf.math.log(1.0 + tf.exp(x))


def stable(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x)))


for formula in (plain, stable):
    for number in (0.0, 100.0):
        x = tf.Variable(number)
        with tf.GradientTape() as tape:
            y = formula(x)
        slope = tape.gradient(y, x).numpy()
        text = f"{formula.__name__:6} at {number:3.0f}: value {y.numpy():.4f}"
        print(f"{text}, slope {slope}")

# %% [markdown]
# **Task 7. A stable function with its rule.** Write $\log(1 + e^x)$ in both libraries,
# entry by entry. The value must be good at $-80$ and at 1000; the slope is the sigmoid.
# A rule gets the gradient that arrives and returns the one for its input
# ([which methods](../../modules/ml/deep-learning/custom-gradients/index.md#in-the-frameworks)).
# Use recorded operations in it, so that it can be differentiated again; do not use
# `softplus`.


# %% tags=["task"]
class LogOnePlusExp(torch.autograd.Function):
    """log(1 + e^x) with the sigmoid as its slope."""

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        """Return log(1 + e^x)."""
        # BEGIN SOLUTION
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))
        # END SOLUTION

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
        """Keep in ctx what backward needs."""
        # BEGIN SOLUTION
        ctx.save_for_backward(*inputs)
        # END SOLUTION

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        """Return the gradient for x."""
        # BEGIN SOLUTION
        (x,) = ctx.saved_tensors
        return grad_output * torch.sigmoid(x)
        # END SOLUTION


@tf.custom_gradient
def log1pexp_tf(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return log(1 + e^x), and the rule from the upstream gradient to that for x."""
    # BEGIN SOLUTION

    def rule(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0) + tf.math.log1p(tf.exp(-tf.abs(x))), rule
    # END SOLUTION


# %% tags=["check"]
log1pexp_torch = LogOnePlusExp.apply


def derivatives_torch(x: np.ndarray, u: np.ndarray) -> list[object]:
    """Return y, the gradient of sum(u y), and the gradient of the sum of that."""
    leaf = torch.tensor(x, requires_grad=True)
    y = log1pexp_torch(leaf)
    loss = (torch.from_numpy(u) * y).sum()
    (first,) = torch.autograd.grad(loss, leaf, create_graph=True)
    if not first.requires_grad:
        return [y, first, None]
    (second,) = torch.autograd.grad(first.sum(), leaf, allow_unused=True)
    return [y, first, second]


def derivatives_tf(x: np.ndarray, u: np.ndarray) -> list[object]:
    """Return y, the gradient of sum(u y), and the gradient of the sum of that."""
    leaf = tf.Variable(x)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = log1pexp_tf(leaf)
            loss = tf.reduce_sum(u * y)
        first = inner.gradient(loss, leaf)
    return [y, first, outer.gradient(first, leaf)]


middle = np.concatenate([rng.normal(size=20), [0.0, -5.0, 5.0]])
edge = np.array([-1000.0, -100.0, -80.0, -30.0, 21.0, 100.0, 1000.0])
form = "forward returns the value, setup_context saves the tensor x, backward unpacks"
form += " what was saved and returns one gradient"
functions = [("log1pexp_torch", derivatives_torch, form)]
form = "return two things, the value and the rule; the rule returns one gradient"
functions += [("log1pexp_tf", derivatives_tf, form)]
for name, derivatives, form in functions:
    for x in (middle, edge, edge.astype(np.float32)):
        precision = 1e-12 if x.dtype == float else 1e-5
        u = rng.normal(size=x.shape).astype(x.dtype)
        big = x.astype(float)
        e = np.exp(-np.abs(big))
        sigma = np.where(big >= 0, 1.0, e) / (1.0 + e)
        y, first, second = attempt(name, form, derivatives, x, u)
        far = " far from 0" if x is not middle else ""
        hint = "e^x overflows; max(x, 0) + log(1 + e^-|x|) is the same number"
        right = np.maximum(big, 0.0) + np.log1p(e)
        compare(f"{name}{far}", y, right, hint, 1e-4)
        hint = "small terms count: log1p for e^x far below 1, and no cut at large x"
        ratio = (y.detach() if name.endswith("torch") else y).numpy()[big > -85.0]
        ratio = ratio / right[big > -85.0]
        text = f"{name}{far}, over the exact value"
        compare(text, ratio, np.ones_like(ratio), hint, precision)
        hint = "multiply what arrives by the sigmoid, in a form that does not overflow"
        compare(f"{name}{far}, gradient", first, u * sigma, hint, precision)
        hint = "only recorded operations on x can be differentiated again, and only"
        hint += " some forms of the sigmoid without overflow"
        curved = u * sigma * (1.0 - sigma)
        compare(f"{name}{far}, second derivative", second, curved, hint, precision)
points = torch.from_numpy(middle).requires_grad_()
for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
    refused = "it compares with differences"
    passed = attempt(check.__name__, refused, check, log1pexp_torch, [points])
    assert passed, f"{check.__name__} refuses the rule"
print("task 7: right")

# %% [markdown]
# ## Bugs around a right rule
#
# Wrong gradients also come from the code around the rules:
# [a cut graph, a change in place, an old sum](../../modules/ml/deep-learning/backpropagation/index.md#pitfalls).
#
# **Predict before you run.** With $h = 3w$ and $L = h^2$, the gradient for $w$ at 2 is
# 36. Which lines give another number, which `None`, and which an error?


# %%
def torch_case(case: str) -> object:
    """Return the gradient for w that a case leaves."""
    w = torch.tensor(2.0, requires_grad=True)
    with torch.set_grad_enabled(case != "under no_grad"):
        h = 3.0 * w
        loss = h * (h.detach() if case == "one h detached" else h)
    if case == "h changed in place":
        h.mul_(2.0)
    if case == "h.data changed in place":
        h.data.mul_(2.0)
    loss.backward()
    if case == "backward again, no zero_grad":
        (3.0 * w).square().backward()
    if case == "w -= 0.1 * w.grad":
        w -= 0.1 * w.grad
    return w.grad.item()


def tf_case(case: str) -> object:
    """Return the gradient for w that a case gives."""
    w = tf.constant(2.0) if case.startswith("a constant") else tf.Variable(2.0)
    with tf.GradientTape(persistent=case == "persistent, gradient twice") as tape:
        h = 3.0 * w
        loss = h * (tf.stop_gradient(h) if case == "one h stopped" else h)
        if case == "by way of h.numpy()":
            loss = tf.constant(h.numpy()) ** 2
    if case == "square after the tape":
        loss = tf.constant(1.0) * h * h
    if "gradient twice" in case:
        tape.gradient(loss, w)
    gradient = tape.gradient(loss, w)
    return gradient if gradient is None else gradient.numpy()


cases_torch = ["right", "one h detached", "h changed in place"]
cases_torch += ["h.data changed in place", "under no_grad"]
cases_torch += ["backward again, no zero_grad", "w -= 0.1 * w.grad"]
cases_tf = ["right", "one h stopped", "by way of h.numpy()", "square after the tape"]
cases_tf += ["a constant w", "gradient twice", "persistent, gradient twice"]
for action, cases in ((torch_case, cases_torch), (tf_case, cases_tf)):
    print("PyTorch" if action is torch_case else "TensorFlow")
    for case in cases:
        print(f"  {case:29} {outcome(action, case)}")

# %% [markdown]
# The errors are the harmless ones. A wrong gradient that raises none may even train:

# %%
fig, ax = plt.subplots(num="losses", figsize=(4.4, 2.8), layout="constrained")
for bug, color in (("right", "C0"), ("no zero_grad", "C1"), ("a detached", "gray")):
    a, b = (torch.ones((), requires_grad=True) for _ in range(2))
    losses = []
    for _ in range(25):
        loss = ((a.detach() if bug == "a detached" else a) * b - 6.0) ** 2 / 2
        losses.append(loss.item())
        if bug != "no zero_grad":
            a.grad = b.grad = None
        loss.backward()
        with torch.no_grad():
            b -= 0.05 * b.grad
            if a.grad is not None:
                a -= 0.05 * a.grad
    ax.plot(losses, color=color, label=bug)
fig.legend(loc="outside upper center", ncols=3)
ax.set(xlabel="step", ylabel="loss")
plt.show()

# %% [markdown]
# ![Loss over 25 steps. The right loop is at 0 after a few steps. Without zero_grad the
# loss swings up and down. With a detached it falls
# slowly.](lab_05_backpropagation.py#losses "Which bug does the curve of the loss show?
# Two numbers a and b learn the product 6.")
#
# **Task 8. Two losses, one forward pass.** A layer gets two losses, fit and activity:
#
# $$
# \mathbf{H} = \tanh(\mathbf{X}\mathbf{W}), \quad
# L_1 = \frac{1}{2N}\sum_n\lVert\mathbf{h}_n - \mathbf{y}_n\rVert^2, \quad
# L_2 = \frac{1}{2N}\sum_n\lVert\mathbf{h}_n\rVert^2 .
# $$
#
# Descend on their sum, and record the norms of both gradients before each step. Compute
# $\mathbf{H}$ once per step: PyTorch frees what a backward pass used unless
# `retain_graph=True`, and a tape serves one call unless `persistent=True`. Change the
# caller's weights; they may come with an old `.grad`.


# %% tags=["task"]
def descend_torch(
    w: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    lr: float,
    steps: int,
) -> np.ndarray:
    """Change the leaf w (D, K) in place; return the norms (steps, 2): fit, activity."""
    # BEGIN SOLUTION
    norms = np.zeros((steps, 2))
    for step in range(steps):
        h = torch.tanh(x @ w)  # (N, D) @ (D, K) -> (N, K)
        fit = (h - y).square().sum() / (2 * len(x))
        activity = h.square().sum() / (2 * len(x))
        (first,) = torch.autograd.grad(fit, w, retain_graph=True)
        (second,) = torch.autograd.grad(activity, w)  # new tensors: .grad plays no part
        norms[step] = first.norm().item(), second.norm().item()
        with torch.no_grad():
            w -= lr * (first + second)
    return norms
    # END SOLUTION


def descend_tf(
    w: tf.Variable,
    x: tf.Tensor,
    y: tf.Tensor,
    lr: float,
    steps: int,
) -> np.ndarray:
    """Change w (D, K) in place; return the norms (steps, 2): fit, activity."""
    # BEGIN SOLUTION
    norms = np.zeros((steps, 2))
    for step in range(steps):
        with tf.GradientTape(persistent=True) as tape:
            h = tf.tanh(x @ w)  # (N, D) @ (D, K) -> (N, K)
            fit = tf.reduce_sum((h - y) ** 2) / (2 * len(x))
            activity = tf.reduce_sum(h**2) / (2 * len(x))
        first, second = tape.gradient(fit, w), tape.gradient(activity, w)
        del tape  # it holds all values until it goes
        norms[step] = tf.norm(first), tf.norm(second)
        w.assign_sub(lr * (first + second))
    return norms
    # END SOLUTION


# %% tags=["check"]
hints = {"descend_torch": "retain_graph in the first backward pass; nothing detached;"}
hints["descend_torch"] += " no_grad for the step only; w stays the leaf that came in;"
hints["descend_torch"] += " x (N, D) times w (D, K)"
hints["descend_tf"] = "a persistent tape, with both losses inside; nothing stopped;"
hints["descend_tf"] += " w stays the variable that came in; x (N, D) times w (D, K)"
sizes = (6, 3, 2, 5), (3, 3, 3, 4), (1, 1, 1, 3), (4, 2, 3, 1)
for n, d, k, steps in sizes:
    x, y, start = (rng.normal(size=shape) for shape in ((n, d), (n, k), (d, k)))
    end, norms = start.copy(), np.zeros((steps, 2))
    for step in range(steps):
        h = np.tanh(x @ end)
        parts = [x.T @ ((h - aim) / n * (1 - h * h)) for aim in (y, 0.0)]
        norms[step] = [np.linalg.norm(part) for part in parts]
        end -= 0.25 * sum(parts)
    w_torch, w_tf = torch.tensor(start, requires_grad=True), tf.Variable(start)
    w_torch.grad = torch.full((d, k), 7.0, dtype=torch.float64)  # of an earlier loss
    place = w_torch.data_ptr()
    data = (torch.from_numpy(x), torch.from_numpy(y)), (tf.constant(x), tf.constant(y))
    calls = (descend_torch, w_torch, data[0]), (descend_tf, w_tf, data[1])
    for function, w, (inputs, aims) in calls:
        name = function.__name__
        arguments = w, inputs, aims, 0.25, steps
        found = attempt(name, hints[name], function, *arguments)
        whole = isinstance(found, np.ndarray) and found.shape == (steps, 2)
        assert whole, f"{name} returns no NumPy array of the shape (steps, 2)"
        hint = "fit first, activity second, each before the step; nothing detached,"
        hint += " nothing added to an old gradient, a mean over the examples, halved"
        compare(f"{name}: norms before the first step", found[:1], norms[:1], hint)
        hint = "these are right before the first step; step along the sum of both"
        hint += " gradients, and let none add up from step to step"
        compare(f"{name}: norms before all steps", found, norms, hint)
        hint = "step along the sum of both gradients, in the weights that came in"
        compare(f"{name}: weights after {steps} steps", w, end, hint)
    kept = w_torch.is_leaf and w_torch.requires_grad and w_torch.data_ptr() == place
    assert kept, "descend_torch: w must stay the leaf that it was, in its memory"
print("task 8: right")
