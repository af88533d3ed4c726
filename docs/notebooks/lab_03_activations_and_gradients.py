"""A deep network keeps its gradient if slopes and weights give about 1 per layer.

Eight tasks: S-curves, rectifiers, GELU, gradients by layer, first weights, dead units,
a cure, clipping. Shapes: x (N, D), logits (N, K), one gradient norm per layer. Checks
compare with the libraries or with NumPy, on random and on extreme inputs.
"""

# %% [markdown]
# ## Before you start
#
# Run this cell. `compare` and `guarded` are what the checks use. `slope_torch` and
# `slope_tf` give a derivative at one point.

# %%
import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import torch
from torch import nn
from torch.nn import functional

rng = np.random.default_rng(0)
generator = torch.Generator().manual_seed(0)
DEPTH, WIDTH, CLASSES = 12, 64, 10  # of the networks in the middle of the lab


def compare(name: str, ours: object, expected: object, hint: str, close=1e-5) -> None:
    """Stop with a message unless ours has the shape and, relatively, the values."""
    assert ours is not None, f"{name} returns nothing"
    ours = ours.detach() if isinstance(ours, torch.Tensor) else ours
    found, right = np.asarray(ours, dtype=float), np.asarray(expected, dtype=float)
    shapes = f"{name} has the shape {found.shape}, not {right.shape}"
    assert found.shape == right.shape, f"{shapes}: {hint}"
    gap = np.abs(found - right) / np.maximum(np.abs(right), 1e-300)
    gap = np.where(found == right, 0.0, gap)
    if not (gap <= close).all():
        worst = tuple(int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
        values = f"{found[worst]:.5g}, not {right[worst]:.5g}"
        entry = f": entry {', '.join(map(str, worst))}" if worst else ""
        raise AssertionError(f"{name}{entry} is {values}: {hint}")


def guarded(name: str, function: Callable, x: np.ndarray, *more: float) -> list:
    """Return value and derivative; turn an overflow of NumPy into a message."""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            pair = function(x, *more)
    except FloatingPointError as error:
        hint = "np.where computes both branches; feed each one only what it can bear"
        raise AssertionError(f"{name}: {error}: {hint}") from None
    two = isinstance(pair, tuple | list) and len(pair) == 2
    assert two, f"{name} must return two arrays, value and derivative"
    for what, array in zip(("value", "derivative"), pair, strict=True):
        shape = f"{name}: the {what} has the shape {np.shape(array)}, not {x.shape}"
        assert np.shape(array) == x.shape, shape
    return list(pair)


def slope_torch(f: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
    """Return the derivative that PyTorch takes."""
    x = torch.tensor(at, requires_grad=True)
    return torch.autograd.grad(f(x), x)[0].item()


def slope_tf(f: Callable[[tf.Tensor], tf.Tensor], at: float) -> float:
    """Return the derivative that TensorFlow takes."""
    x = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return float(tape.gradient(y, x))


# %% [markdown]
# ## Curves that saturate
#
# Sigmoid and tanh are flat far from zero, and there their formulas
# [lose digits or overflow](../../modules/ml/deep-learning/activations-sigmoid-tanh/index.md#stable-evaluation).
#
# **Predict before you run.** All numbers are float32. Which of the six lines are right,
# and which are `0`, `inf` or `nan` and should not be?

# %%
hundred, twenty = torch.tensor(100.0), torch.tensor(20.0)
up, down = torch.exp(hundred), torch.exp(-hundred)
print("tanh(100) by formula:    ", ((up - down) / (up + down)).item())
print("log(1 + exp(100)):       ", torch.log(1 + up).item())
print("1 - sigmoid(20):         ", (1 - torch.sigmoid(twenty)).item())
print("sigmoid(-20):            ", torch.sigmoid(-twenty).item())
for sign in (20.0, -20.0):
    both = slope_torch(torch.sigmoid, sign), slope_tf(tf.sigmoid, sign)
    print(f"slope of sigmoid at {sign:3.0f}:   {both[0]:.3g}, TensorFlow {both[1]:.3g}")

# %% [markdown]
# **Task 1. Three curves that survive.** Write each function with its derivative in
# NumPy, from `np.exp`, `np.expm1` and `np.log1p`. $\operatorname{softplus}(x) =
# \log(1 + e^x)$ is the integral of the sigmoid. No input may overflow, and small
# results keep their digits: $r = e^{-\lvert x\rvert}$ is never above 1.


# %% tags=["task"]
def sigmoid(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return value and derivative; x float64 of any shape."""
    # BEGIN SOLUTION
    r = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, r) / (1 + r), r / (1 + r) ** 2
    # END SOLUTION


def tanh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return value and derivative; x float64 of any shape."""
    # BEGIN SOLUTION
    r = np.exp(-np.abs(x))
    square = r * r
    value = -np.expm1(-2 * np.abs(x)) / (1 + square)
    return np.copysign(value, x), 4 * square / (1 + square) ** 2
    # END SOLUTION


def softplus(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return value and derivative; x float64 of any shape."""
    # BEGIN SOLUTION
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), sigmoid(x)[0]
    # END SOLUTION


# %% tags=["check"]
ends = np.array([0.0, 1e-12, 1e-300, 1.0, 17.0, 40.0, 300.0, 1000.0, 1e300])
x = np.concatenate([ends, -ends, rng.normal(size=200) * 10])
right, left = np.logaddexp(0, -x), np.logaddexp(0, x)  # -log of sigmoid(x), of (-x)
sum_of_both = np.minimum(right, 2000) + np.minimum(left, 2000)
cosh = np.cosh(np.clip(x, -400, 400))
expected = {
    sigmoid: (np.exp(-right), np.exp(-sum_of_both)),
    tanh: (np.tanh(x), np.exp(-2 * np.log(cosh))),
    softplus: (left, np.exp(-right)),
}
in_torch = {sigmoid: torch.sigmoid, tanh: torch.tanh, softplus: functional.softplus}
in_tf = {sigmoid: tf.sigmoid, tanh: tf.tanh, softplus: tf.math.softplus}
hints = "use exp(-|x|) on both sides, and expm1, log1p where a difference is small"
for function, (value, slope) in expected.items():
    name = function.__name__
    pair = guarded(name, function, x)
    bad = x[~np.isfinite(pair[0]) | ~np.isfinite(pair[1])]
    assert bad.size == 0, f"{name} is not finite at {bad[:3]}: {hints}"
    hint = "1 - value has no digits where value is nearly 1; write it with r"
    if function is softplus:
        hint = "its derivative is the function of which it is the integral"
    for i, true in enumerate((value, slope)):  # 1e-218 for 0 is as good
        pair[i] = np.where((true == 0) & (np.abs(pair[i]) < 1e-200), 0, pair[i])
    for i, at in enumerate(x):
        compare(f"{name} of {at:.3g}", pair[0][i], value[i], hints, 1e-7)
        compare(f"slope of {name} at {at:.3g}", pair[1][i], slope[i], hint, 1e-7)
    at = torch.linspace(-5, 5, 11, dtype=torch.float64, requires_grad=True)
    y, ours = in_torch[function](at), function(at.detach().numpy())
    (grad,) = torch.autograd.grad(y.sum(), at)
    compare(f"{name} beside PyTorch", ours[0], y.detach(), hints, 1e-6)
    compare(f"slope of {name} beside PyTorch", ours[1], grad, hint, 1e-6)
    there = in_tf[function](at.detach().numpy())
    compare(f"{name} beside TensorFlow", ours[0], there, hints, 1e-6)
print("task 1: right")

# %% [markdown]
# ## A kink at zero
#
# ReLU and its relatives have
# [no derivative at 0](../../modules/ml/deep-learning/activations-relu-family/index.md#derivatives-and-subgradients);
# each library takes some number there, and chooses
# [its own slope](../../modules/ml/deep-learning/activations-relu-family/index.md#conventions-differ)
# on the left.
#
# **Predict before you run.** The first three lines are one function. Do they have the
# same slope at 0? Which value has the leaky one at $-1$ if you name no slope?

# %%
zero = torch.zeros(())
kinks = {
    "relu": (torch.relu, tf.nn.relu),
    "maximum": (lambda x: torch.maximum(x, zero), lambda x: tf.maximum(x, 0.0)),
    "clamp": (lambda x: x.clamp(min=0), lambda x: tf.clip_by_value(x, 0.0, np.inf)),
    "abs": (torch.abs, tf.abs),
    "elu": (functional.elu, tf.nn.elu),
}
for name, (here, there) in kinks.items():
    slopes = slope_torch(here, 0.0), slope_tf(there, 0.0)
    print(f"slope of {name:8} at 0: {slopes[0]:.1f}, TensorFlow {slopes[1]:.1f}")
in_torch = nn.LeakyReLU()(torch.tensor([-1.0]))
print(f"torch.nn.LeakyReLU at -1:     {in_torch.item():.2f}")
for layer in (keras.layers.LeakyReLU(), keras.layers.Activation("leaky_relu")):
    in_keras = float(layer(np.array([-1.0]))[0])
    print(f"keras {type(layer).__name__:10} at -1:       {in_keras:.2f}")

# %% [markdown]
# **Task 2. Two rectifiers and a translation.** Write Leaky ReLU for any slope $a$, 0
# and above 1 included, and ELU with floor $-1$, both with the derivative that the
# libraries use at 0. Then translate a Keras layer into the PyTorch module that computes
# the same.


# %% tags=["task"]
def leaky(x: np.ndarray, a: float) -> tuple[np.ndarray, np.ndarray]:
    """Return value and derivative: x on the right, a x on the left; slope a at 0."""
    # BEGIN SOLUTION
    return np.where(x > 0, x, a * x), np.where(x > 0, 1.0, a)
    # END SOLUTION


def elu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return value and derivative: x on the right, exp(x) - 1 on the left."""
    # BEGIN SOLUTION
    left = np.minimum(x, 0)  # np.where computes both branches
    return np.where(x > 0, x, np.expm1(left)), np.exp(left)
    # END SOLUTION


def to_torch(layer: keras.layers.Layer) -> nn.Module:
    """Translate a keras ReLU(), LeakyReLU(...) or ELU(...); see layer.get_config()."""
    # BEGIN SOLUTION
    if isinstance(layer, keras.layers.LeakyReLU):
        return nn.LeakyReLU(float(layer.negative_slope))
    if isinstance(layer, keras.layers.ELU):
        return nn.ELU(float(layer.alpha))
    return nn.ReLU()
    # END SOLUTION


# %% tags=["check"]
ends = [0.0, 1e-12, -1e-12, 900.0, -900.0, 1e300, -1e300]
x = np.concatenate([ends, rng.normal(size=50)])
t = torch.tensor(x, requires_grad=True)
for a in (0.0, 0.01, 0.3, 1.0, 2.0, -1.0, None):
    theirs = functional.elu(t) if a is None else functional.leaky_relu(t, a)
    (slope,) = torch.autograd.grad(theirs.sum(), t)
    name = "elu" if a is None else f"leaky with a = {a}"
    pair = guarded(name, *((elu, x) if a is None else (leaky, x, a)))
    hint = "max(a x, x) is right only up to a = 1"
    if a is None:
        hint = "expm1 keeps the digits of exp(x) - 1 near 0"
    compare(f"value of {name}", pair[0], theirs.detach(), hint, 1e-9)
    hint = "entry 0 is x = 0: take a there, and exp(0) for ELU; the others by sign"
    compare(f"slope of {name}", pair[1], slope, hint, 1e-9)
    if a is not None and a >= 0:
        at_zero = slope_tf(lambda x, a=a: tf.nn.leaky_relu(x, a), 0.0)
        compare(f"slope of {name} at 0 beside TensorFlow", pair[1][0], at_zero, hint)
assert (leaky(x, 0.0)[0] >= 0).all(), "with a = 0 it is ReLU"
originals = [keras.layers.LeakyReLU(), keras.layers.LeakyReLU(0.1), keras.layers.ReLU()]
originals += [keras.layers.ELU(), keras.layers.ELU(2.0), keras.layers.LeakyReLU(0.01)]
x = np.linspace(-3, 3, 13, dtype=np.float32)
for layer in originals:
    module = to_torch(layer)
    text = f"to_torch({type(layer).__name__}) gives {type(module).__name__}"
    assert isinstance(module, nn.Module), f"{text}: make a module of torch.nn"
    hint = "read the slope or alpha of the layer; the defaults of the libraries differ"
    there = np.asarray(layer(x))
    given = [layer.get_config().get(name) for name in ("negative_slope", "alpha")]
    name = f"to_torch of {type(layer).__name__} with slope {given[0]}, alpha {given[1]}"
    compare(name, module(torch.from_numpy(x)), there, hint)
print("task 2: right")

# %% [markdown]
# ## Two forms of GELU
#
# [GELU](../../modules/ml/deep-learning/activations-modern/index.md#definition)
# is $x\,\Phi(x)$, with $\Phi$ the distribution function of $\mathcal{N}(0, 1)$; it
# is a ReLU with a smooth gate. A cheaper form replaces $\Phi$:
#
# $$
# \Phi(x) = \tfrac12\operatorname{erfc}\Big(-\frac{x}{\sqrt2}\Big) \approx
#   \tfrac12\Big(1 + \tanh\Big(\sqrt{2/\pi}\,\big(x + 0.044715\,x^3\big)\Big)\Big) .
# $$
#
# **Predict before you run.** Which form is the default of each library? How many digits
# do the two have in common?

# %%
x = np.array([-2.7, 2.7])
defaults = {
    "torch": functional.gelu(torch.tensor(x)),
    "torch, approximate='tanh'": functional.gelu(torch.tensor(x), approximate="tanh"),
    "tf.nn": tf.nn.gelu(x),
    "keras.activations": keras.activations.gelu(tf.constant(x)),
}
for name, values in defaults.items():
    print(f"{name:26} {float(values[0]):.5f} {float(values[1]):.5f}")

# %% [markdown]
# **Task 3. GELU, exact and approximate.** Write both forms in both libraries, without
# their `gelu`. Far to the left the exact one is tiny, not 0: `1 + erf` rounds to 0
# there, `erfc` does not.


# %% tags=["task"]
def gelu_torch(x: torch.Tensor, approximate: bool) -> torch.Tensor:
    """Return GELU of each entry, by erfc or by tanh."""
    # BEGIN SOLUTION
    if approximate:
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + torch.tanh(u))
    return 0.5 * x * torch.special.erfc(-x / math.sqrt(2))
    # END SOLUTION


def gelu_tf(x: tf.Tensor, approximate: bool) -> tf.Tensor:
    """Return GELU of each entry, by erfc or by tanh."""
    # BEGIN SOLUTION
    if approximate:
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + tf.tanh(u))
    return 0.5 * x * tf.math.erfc(-x / math.sqrt(2))
    # END SOLUTION


# %% tags=["check"]
near = np.linspace(-4, 4, 101)
x = np.concatenate([near, rng.normal(size=50) * 3, [1e4, -1e4]])
for function, make in ((gelu_torch, torch.from_numpy), (gelu_tf, tf.constant)):
    name = function.__name__
    for approximate, option in ((False, "none"), (True, "tanh")):
        theirs = functional.gelu(torch.from_numpy(x), approximate=option)
        ours = np.asarray(function(make(x), approximate))
        hint = "erfc gets -x / sqrt(2)"
        if approximate:
            hint = "sqrt(2 / pi) multiplies both x and the cubic term"
        hint += "; the two forms differ by up to 0.0005"
        shape = f"{name} has the shape {ours.shape}, not {x.shape}"
        assert ours.shape == x.shape, shape
        gap = np.abs(ours - theirs.numpy())
        worst = gap.argmax() if np.isfinite(gap).all() else np.isnan(gap).argmax()
        text = f"{name}, approximate={approximate}: {ours[worst]:.5g} at {x[worst]:.5g}"
        assert gap[worst] < 1e-6, f"{text}, not {theirs[worst]:.5g}: {hint}"
    far = np.array([-6.0, -8.0, -10.0, -20.0])
    true = [0.5 * v * math.erfc(-v / math.sqrt(2)) for v in far]
    hint = "1 + erf and torch.special.ndtr lose all digits here; take erfc"
    compare(f"{name} at {far}", function(make(far), False), true, hint, 1e-4)
print("task 3: right")

# %%
x = torch.linspace(-5, 5, 501, dtype=torch.float64)
exact = gelu_torch(x, False)
forms = {"tanh form": gelu_torch(x, True)}
forms["x sigmoid(1.702 x)"] = x * torch.sigmoid(1.702 * x)
fig, ax = plt.subplots(num="gelu", figsize=(4.4, 2.6), layout="constrained")
for (name, values), style in zip(forms.items(), ("-", "--"), strict=True):
    gap = (values - exact).abs()
    place = x[gap.argmax()].abs()
    print(f"{name:18} largest gap {gap.max():.1e} at |x| = {place:.2f}")
    ax.plot(x, gap, style, label=name)
ax.set(xlabel="x", ylabel="distance from GELU", yscale="log", ylim=(1e-7, 1))
ax.legend(fontsize="small", loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# ![Two curves with several humps on a logarithmic axis: the tanh form stays below
# 0.001, the sigmoid form reaches
# 0.02.](lab_03_activations_and_gradients.py#gelu "How far are the cheaper forms from
# GELU? So much a unit changes if a model runs with another form than it trained with.")
#
# ## Gradients by layer
#
# A gradient that goes back through a layer is multiplied by
# [its Jacobian](../../modules/ml/deep-learning/vanishing-exploding-gradients/index.md#product-of-jacobians):
# by the transposed weights and the slopes of the activation. To see what is left, look
# at $\boldsymbol\Delta^{(l)} = \partial L/\partial\mathbf{Z}^{(l)}$ in every layer.


# %%
def nets(activation: str, variance: float) -> tuple[nn.Sequential, keras.Sequential]:
    """Return a network in both libraries, with equal weights: variance / fan-in."""
    function = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}[activation]
    modules, layers = [], []
    for k in [WIDTH] * (DEPTH - 1) + [CLASSES]:
        linear, dense = nn.Linear(WIDTH, k), keras.layers.Dense(k)
        dense.build((None, WIDTH))
        w = rng.normal(size=(WIDTH, k)) * np.sqrt(variance / WIDTH)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))  # PyTorch keeps (out, in)
            linear.bias.zero_()
        dense.kernel.assign(w)  # Keras keeps (in, out)
        modules += [linear, function()]
        layers += [dense, keras.layers.Activation(activation)]
    return nn.Sequential(*modules[:-1]), keras.Sequential(layers[:-1])


def loss_torch(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy."""
    return functional.cross_entropy(logits, targets)


def loss_tf(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return the mean cross-entropy."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    return tf.reduce_mean(losses)


# %% [markdown]
# **Task 4. One norm per layer.** Return $\lVert\boldsymbol\Delta^{(l)}\rVert$ for each
# linear layer, first layer first. In PyTorch use a
# [forward hook](../../modules/ml/deep-learning/vanishing-exploding-gradients/index.md#in-the-frameworks)
# on each `nn.Linear`, and leave the network as you found it: no hook, no `.grad`. In
# TensorFlow call the layers yourself under a `GradientTape`.


# %% tags=["task"]
def norms_torch(net: nn.Module, x: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Return the norm of dL/dZ for each nn.Linear, in order; L is loss_torch."""
    # BEGIN SOLUTION
    outputs: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        outputs.append(output)

    linear = [module for module in net if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_hook(keep) for module in linear]
    loss = loss_torch(net(x), targets)
    for hook in hooks:
        hook.remove()
    return [g.norm().item() for g in torch.autograd.grad(loss, outputs)]
    # END SOLUTION


def norms_tf(net: keras.Sequential, x: tf.Tensor, targets: tf.Tensor) -> list[float]:
    """Return the norm of dL/dZ for each Dense, in order; L is loss_tf."""
    # BEGIN SOLUTION
    outputs, a = [], x
    with tf.GradientTape() as tape:  # watches the kernels, so what comes from them too
        for layer in net.layers:
            a = layer(a)
            if isinstance(layer, keras.layers.Dense):
                outputs.append(a)
        loss = loss_tf(a, targets)
    return [float(tf.norm(g)) for g in tape.gradient(loss, outputs)]
    # END SOLUTION


# %% tags=["check"]
def norms_numpy(net: nn.Sequential, x: np.ndarray, targets: np.ndarray) -> list[float]:
    """Return the same norms by the four equations of backpropagation."""
    slopes = {nn.Sigmoid: lambda a: a * (1 - a), nn.Tanh: lambda a: 1 - a**2}
    slopes[nn.ReLU] = lambda a: a > 0
    weights = [m.weight.detach().double().numpy().T for m in net[::2]]
    f, outputs = net[1], [x.astype(float)]
    for w in weights[:-1]:
        outputs.append(f(torch.from_numpy(outputs[-1] @ w)).numpy())
    logits = torch.from_numpy(outputs[-1] @ weights[-1])
    delta = torch.softmax(logits, dim=1).numpy()
    delta[np.arange(len(x)), targets] -= 1
    norms = [np.linalg.norm(delta / len(x))]
    for w, a in zip(weights[:0:-1], outputs[:0:-1], strict=True):
        delta = (delta @ w.T) * slopes[type(f)](a)
        norms.append(np.linalg.norm(delta / len(x)))
    return norms[::-1]


for activation, variance, n in (("sigmoid", 1, 32), ("tanh", 4, 5), ("relu", 2, 1)):
    net, twin = nets(activation, variance)
    x = rng.normal(size=(n, WIDTH)).astype(np.float32)
    targets = rng.integers(CLASSES, size=n)
    expected = norms_numpy(net, x, targets)
    hint = "take gradients for the outputs of linear layers, not for weights or f(Z);"
    hint += f" L is a mean; first layer first, and the last norm is {expected[-1]:.3g}"
    both = torch.from_numpy(x), torch.from_numpy(targets)
    compare(f"norms_torch, {activation}", norms_torch(net, *both), expected, hint, 1e-3)
    hint_left = "call remove() on each hook; the next forward pass would run them again"
    assert not any(m._forward_hooks or m._backward_hooks for m in net), hint_left
    hint_left = ".grad is filled: use torch.autograd.grad, or the next step adds to it"
    assert all(p.grad is None for p in net.parameters()), hint_left
    in_tf = norms_tf(twin, tf.constant(x), tf.constant(targets))
    compare(f"norms_tf, {activation}", in_tf, expected, hint, 1e-3)
print("task 4: right")

# %% [markdown]
# **Predict before you run.** A sigmoid has a slope of at most $\frac14$. By which
# factor does the norm shrink per layer with weights of variance $1/n$? What is left
# after these 12 layers? What changes for tanh, and for ReLU?

# %%
x = torch.randn(64, WIDTH, generator=generator)
targets = torch.randint(CLASSES, (64,), generator=generator)
names = "tanh", "relu", "sigmoid"
curves = {name: norms_torch(nets(name, 1)[0], x, targets) for name in names}
fig, ax = plt.subplots(num="norms", figsize=(4.4, 2.8), layout="constrained")
layers = np.arange(1, DEPTH + 1)
for (name, norms), mark in zip(curves.items(), "os^", strict=True):
    ax.plot(layers, norms, f"{mark}-", markersize=4, label=name)
    left = norms[0] / norms[-1]
    factor = (norms[0] / norms[-2]) ** (1 / (DEPTH - 2))
    print(f"{name:8} first over last {left:.0e}, factor per layer {factor:.3f}")
quarter = curves["sigmoid"][-2] * 0.25 ** (DEPTH - 1 - layers[:-1])
ax.plot(layers[:-1], quarter, ":", color="gray", label="a quarter per layer")
ax.set(xlabel="layer", ylabel="norm of the gradient for Z", yscale="log")
ax.set_xticks([1, 4, 8, 12])
ax.legend(fontsize="small")
plt.show()

# %% [markdown]
# ![Logarithmic axis over layers 1 to 12. From right to left tanh falls a little, ReLU
# by about two orders of magnitude, the sigmoid by about seven, along a dotted line that
# keeps a quarter per layer.](lab_03_activations_and_gradients.py#norms "How much of the
# gradient reaches layer 1? Weights of variance 1/n in all three networks.")
#
# ## Weights that keep the signal
#
# Weights of variance $v$ multiply the squared norm of the gradient, on average, by
# $n v$ times the
# [mean squared slope](../../modules/ml/deep-learning/vanishing-exploding-gradients/index.md#product-of-jacobians),
# where $n$ is their fan-in. For a ReLU this is 1 with
# [He's start](../../modules/ml/deep-learning/he-initialization/index.md#backward),
# $v = 2 / n_\text{in}$, which keeps the signal too.
# [Xavier's](../../modules/ml/deep-learning/xavier-initialization/index.md#compromise),
# $v = 2 / (n_\text{in} + n_\text{out})$, is for a function with slope 1
# at zero, such as tanh: for slopes of 1 and equal widths the factor is 1.
#
# **Predict before you run.** Which of these four lines of NumPy draws He's start? What
# do the others do to 12 ReLU layers?

# %%
starts = {"normal(0, 2 / n)": 2 / WIDTH, "normal(0, sqrt(1 / n))": np.sqrt(1 / WIDTH)}
starts |= {"normal(0, sqrt(2 / n))": np.sqrt(2 / WIDTH), "normal(0, 1)": 1.0}
for name, deviation in starts.items():
    h = rng.normal(size=(100, WIDTH))
    for _ in range(DEPTH):
        h = np.maximum(h @ rng.normal(0, deviation, size=(WIDTH, WIDTH)), 0)
    print(f"{name:22} mean of h**2 after {DEPTH} layers: {(h**2).mean():.0e}")

# %% [markdown]
# **Task 5. Predict, then choose.** First the expected factor per layer for the *norm*
# of the gradient. Then draw the weights of a layer so that it keeps the signal: choose
# the start by the activation. Biases start at 0. A `weight` of PyTorch has the shape
# $(n_\text{out}, n_\text{in})$, a `kernel` of Keras $(n_\text{in}, n_\text{out})$.


# %% tags=["task"]
def gradient_factor(slopes: np.ndarray, variance: float) -> float:
    """Predict the norm of dL/dZ of a layer over that of the next one.

    slopes f'(Z) (N, D) of this layer; variance of the next layer's weights (D, K).
    """
    # BEGIN SOLUTION
    return float(np.sqrt(slopes.shape[1] * variance * (slopes**2).mean()))
    # END SOLUTION


def start_torch(layer: nn.Linear, activation: str) -> None:
    """Fill the layer in place; its inputs come from the activation "tanh" or "relu"."""
    # BEGIN SOLUTION
    n_out, n_in = layer.weight.shape
    variance = 2 / n_in if activation == "relu" else 2 / (n_in + n_out)
    with torch.no_grad():
        layer.weight.normal_(0, variance**0.5, generator=generator)
        layer.bias.zero_()
    # END SOLUTION


def start_tf(layer: keras.layers.Dense, activation: str) -> None:
    """Fill the layer in place; its inputs come from the activation "tanh" or "relu"."""
    # BEGIN SOLUTION
    n_in, n_out = layer.kernel.shape
    variance = 2 / n_in if activation == "relu" else 2 / (n_in + n_out)
    layer.kernel.assign(rng.normal(0, variance**0.5, size=(n_in, n_out)))
    layer.bias.assign(tf.zeros(n_out))
    # END SOLUTION


# %% tags=["check"]
for d, k, variance in ((30, 20, 0.05), (20, 50, 1 / 20), (40, 8, 0.4)):
    z, delta = rng.normal(size=(6, d)) * 2, rng.normal(size=(6, k))
    for slopes in (1 / (2 * np.cosh(z / 2)) ** 2, (z > 0) * 1.0):
        squares = []
        for _ in range(1000):
            w = rng.normal(0, np.sqrt(variance), size=(d, k))
            back = (delta @ w.T) * slopes
            ratios = (back**2).sum(axis=1) / (delta**2).sum(axis=1)
            squares.append(ratios.mean())
        hint = f"root of D v mean(slopes**2), D = {d}: first square, then average, then"
        hint += " the root"
        measured = np.sqrt(np.mean(squares))
        predicted = gradient_factor(slopes, variance)
        compare("gradient_factor", predicted, measured, hint, 0.04)

for d, k in ((400, 400), (900, 100), (100, 900)):
    linear, dense = nn.Linear(d, k), keras.layers.Dense(k, bias_initializer="ones")
    dense.build((None, d))
    for activation in ("tanh", "relu"):
        start_torch(linear, activation)
        start_tf(dense, activation)
        right = 2 / d if activation == "relu" else 2 / (d + k)
        found = {"start_torch": (linear.weight.detach(), linear.bias.detach())}
        found["start_tf"] = (dense.kernel, dense.bias)
        for name, (weight, bias) in found.items():
            w = np.asarray(weight)
            who = f"{name}, {activation}, {d} inputs, {k} outputs: variance"
            hint = "2 / n_in for ReLU, else 2 / (n_in + n_out); normal takes its root;"
            hint += " and mind which axis of the weights is the fan-in"
            compare(who, w.var(), right, hint, 0.1)
            far = abs(w.mean()) / np.sqrt(right / w.size)
            assert far < 6, f"{name}: the mean of the weights is {w.mean():.3g}, not 0"
            assert not np.asarray(bias).any(), f"{name}: biases start at 0"
print("task 5: right")

# %%
fig, ax = plt.subplots(num="signal", figsize=(4.4, 2.8), layout="constrained")
pairs = ("relu", "relu", "C0o-"), ("relu", "tanh", "C1s-"), ("tanh", "tanh", "C2^-")
for activation, weights, style in pairs:
    f = torch.relu if activation == "relu" else torch.tanh
    h, sizes = torch.randn(500, 256, generator=generator), []
    with torch.no_grad():
        for _ in range(20):
            linear = nn.Linear(256, 256)
            start_torch(linear, weights)
            h = f(linear(h))
            sizes.append((h**2).mean().item())
    name = f"{activation}, {'He' if weights == 'relu' else 'Xavier'}"
    print(f"{name:12} mean of h**2: layer 1 {sizes[0]:.2g}, layer 20 {sizes[-1]:.2g}")
    ax.plot(range(1, 21), sizes, style, markersize=4, label=name)
ax.set(xlabel="layer", ylabel="mean squared activation", yscale="log")
ax.set_xticks([1, 5, 10, 15, 20])
ax.legend(fontsize="small")
plt.show()

# %% [markdown]
# ![Logarithmic axis over 20 layers: ReLU with He's weights stays close to 1, ReLU with
# Xavier's falls on a straight line below 1e-6, tanh with Xavier's falls slowly to a few
# hundredths.](lab_03_activations_and_gradients.py#signal "Which start keeps the signal?
# 20 layers of 256 units, before any training.")
#
# ## Units that never answer
#
# A unit with output 0 for one example is inactive; it is
# [dead](../../modules/ml/deep-learning/activation-failure-modes/index.md#definition)
# if that holds for *every* example of the data set. One batch cannot tell.
#
# **Task 6. Count the dead.** The batches come one at a time, only once, and need not be
# of equal size. Return one count for each ReLU.


# %% tags=["task"]
def dead_torch(net: nn.Sequential, batches: Iterable[torch.Tensor]) -> list[int]:
    """Count the units of each nn.ReLU that give 0 for every example."""
    # BEGIN SOLUTION
    alive = [torch.tensor(False) for module in net if isinstance(module, nn.ReLU)]
    with torch.no_grad():
        for a in batches:
            place = 0
            for module in net:
                a = module(a)
                if isinstance(module, nn.ReLU):
                    alive[place] = alive[place] | (a > 0).any(dim=0)
                    place += 1
    return [int((~units).sum()) for units in alive]
    # END SOLUTION


def dead_tf(net: keras.Sequential, batches: Iterable[tf.Tensor]) -> list[int]:
    """Count the units of each Keras ReLU that give 0 for every example."""
    # BEGIN SOLUTION
    alive = [False for layer in net.layers if isinstance(layer, keras.layers.ReLU)]
    for a in batches:
        place = 0
        for layer in net.layers:
            a = layer(a)
            if isinstance(layer, keras.layers.ReLU):
                alive[place] = alive[place] | tf.reduce_any(a > 0, axis=0)
                place += 1
    return [int(tf.reduce_sum(tf.cast(~units, tf.int32))) for units in alive]
    # END SOLUTION


# %% tags=["check"]
def rectified(widths: list[int], bias: float) -> tuple[nn.Sequential, keras.Sequential]:
    """Return a ReLU network in both libraries, with He's weights and equal biases."""
    modules, layers = [], []
    for d, k in pairwise(widths):
        linear, dense = nn.Linear(d, k), keras.layers.Dense(k)
        dense.build((None, d))
        with torch.no_grad():
            linear.weight.normal_(0, (2 / d) ** 0.5, generator=generator)
            linear.bias.fill_(bias)
        dense.kernel.assign(linear.weight.detach().numpy().T)
        dense.bias.assign(linear.bias.detach().numpy())
        modules += [linear, nn.ReLU()]
        layers += [dense, keras.layers.ReLU()]
    return nn.Sequential(*modules), keras.Sequential(layers)


for widths, bias, sizes in (
    ([8, 60, 40], -2.0, (7, 7, 3)),
    ([8, 60, 40, 30], -1.5, (1, 1, 1, 1)),
    ([4, 30], -1.0, (20,)),
    ([4, 20, 20], -50.0, (5, 5)),
):
    net, twin = rectified(widths, bias)
    x = rng.normal(size=(sum(sizes), widths[0])).astype(np.float32)
    x = x[np.argsort(x[:, 0])]  # sorted, so that batches differ
    a, expected = x.astype(float), []
    for module in net[::2]:
        a = np.maximum(a @ module.weight.detach().double().numpy().T + bias, 0)
        expected.append(int((a == 0).all(axis=0).sum()))
    parts = np.split(x, np.cumsum(sizes)[:-1])
    hint = "a unit that answers once, in any batch, is alive: collect over all batches,"
    hint += " then count units, not examples"
    in_torch = dead_torch(net, (torch.from_numpy(part) for part in parts))
    counts = f"dead_torch gives {in_torch}: one number for each ReLU, please"
    assert len(in_torch) == len(expected), counts
    compare("dead_torch", in_torch, expected, hint, 0.0)
    in_tf = dead_tf(twin, (tf.constant(part) for part in parts))
    compare("dead_tf", in_tf, expected, hint, 0.0)
print("task 6: right")

# %% [markdown]
# **Predict before you run.** A layer of 200 units with He's weights gets 1000 standard
# normal examples. All biases are 0, then $-2$, $-4$, $-6$. From which bias
# on are more than 9 of 10 outputs zero? From which on are more than half the
# units dead?

# %%
x = torch.randn(1000, 50, generator=generator)
for bias in (0.0, -2.0, -4.0, -6.0):
    net, _ = rectified([50, 200], bias)
    zeros = (net(x) == 0).float().mean().item()
    (dead,) = dead_torch(net, [x])
    print(f"bias {bias:4.1f}: outputs that are zero {zeros:6.1%}, dead units {dead}")

# %% [markdown]
# ## A cure, measured
#
# Normalized inputs, other weights, a centered function, a
# [skip connection](../../modules/ml/deep-learning/vanishing-exploding-gradients/index.md#experiment):
# each of them can help, and each can turn vanishing into exploding. Two ratios decide:
# of the gradient, first layer over last, and of the signal, last over first.
#
# **Predict before you run.** Each block adds a sigmoid to its input, $\mathbf{h} +
# \sigma(\mathbf{h}\mathbf{W})$, with weights of variance $1/n$. Does the gradient still
# vanish? What happens to the signal?

# %%
BLOCKS = 30


def rms(tensors: Iterable[object]) -> list[float]:
    """Return the root of the mean square of each tensor."""
    return [float(np.sqrt(np.mean(np.asarray(t) ** 2))) for t in tensors]


def sizes_torch(block: Callable, x: np.ndarray, ws: np.ndarray) -> tuple[list, list]:
    """Return the sizes of signal and gradient at the output of each block."""
    h, outputs = torch.from_numpy(x).requires_grad_(), []
    for w in ws:
        h = block(h, torch.from_numpy(w), len(ws))
        outputs.append(h)
    seed = torch.from_numpy(np.random.default_rng(1).normal(size=x.shape))
    gradients = torch.autograd.grad((h * seed).sum(), outputs)
    return rms(h.detach() for h in outputs), rms(gradients)


def sizes_tf(block: Callable, x: np.ndarray, ws: np.ndarray) -> tuple[list, list]:
    """Return the sizes of signal and gradient at the output of each block."""
    h, outputs = tf.constant(x), []
    seed = np.random.default_rng(1).normal(size=x.shape)
    with tf.GradientTape() as tape:
        tape.watch(h)
        for w in ws:
            h = block(h, tf.constant(w), len(ws))
            outputs.append(h)
        loss = tf.reduce_sum(h * seed)
    return rms(outputs), rms(tape.gradient(loss, outputs))


def plain(h: torch.Tensor, w: torch.Tensor, depth: int) -> torch.Tensor:
    """A sigmoid layer with weights of variance 1 / n."""
    return torch.sigmoid(h @ w / len(w) ** 0.5)


def skip(h: torch.Tensor, w: torch.Tensor, depth: int) -> torch.Tensor:
    """The same layer, added to its input."""
    return h + torch.sigmoid(h @ w / len(w) ** 0.5)


x, weights = rng.normal(size=(32, 64)), rng.normal(size=(BLOCKS, 64, 64))
for block in (plain, skip):
    signal, gradient = sizes_torch(block, x, weights)
    ratios = signal[-1] / signal[0], gradient[0] / gradient[-1]
    print(f"{block.__name__:5} signal, last over first, {ratios[0]:.2g}; ", end="")
    print(f"gradient, first over last, {ratios[1]:.2g}")

# %% [markdown]
# **Task 7. Your cure.** Write a block with one product by $\mathbf{W}$ and one sigmoid,
# of which 30 in a row keep *both*: the gradient (first over last) and the signal (last
# over first) between $\frac{1}{10}$ and 10, so within 8% per block. You get
# $\mathbf{W}$ with entries from $\mathcal{N}(0, 1)$, so you choose the scale. There is
# more than one cure, built on a skip connection, on a centered sigmoid, or on batch
# normalization. A block that does nothing is none: its $\mathbf{W}$ has to matter.


# %% tags=["task"]
def block_torch(h: torch.Tensor, w: torch.Tensor, depth: int) -> torch.Tensor:
    """Apply one of depth blocks; (N, D), (D, D) standard normal -> (N, D)."""
    # BEGIN SOLUTION
    branch = 2 * torch.sigmoid(h @ w / len(w) ** 0.5) - 1  # centered: adds no mean
    return h + branch / depth**0.5  # the squares of depth branches add up to about 1
    # END SOLUTION


def block_tf(h: tf.Tensor, w: tf.Tensor, depth: int) -> tf.Tensor:
    """Apply one of depth blocks; (N, D), (D, D) standard normal -> (N, D)."""
    # BEGIN SOLUTION
    branch = 2 * tf.sigmoid(h @ w / w.shape[0] ** 0.5) - 1
    return h + branch / depth**0.5
    # END SOLUTION


# %% tags=["check"]
def pull(block: Callable, h: np.ndarray, w: np.ndarray, g: np.ndarray) -> list:
    """Return the gradients of sum(g * block(h, w)) for h and w."""
    if block is block_torch:
        inputs = [torch.from_numpy(a).requires_grad_() for a in (h, w)]
        total = (block(*inputs, BLOCKS) * torch.from_numpy(g)).sum()
        return list(torch.autograd.grad(total, inputs, materialize_grads=True))
    inputs = [tf.constant(a) for a in (h, w)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(block(*inputs, BLOCKS) * g)
    return tape.gradient(total, inputs, unconnected_gradients="zero")


draw = np.random.default_rng(7)  # its own: the same block always gets the same answer
for n, d in ((32, 64), (16, 128), (64, 48)):
    x, weights = draw.normal(size=(n, d)), draw.normal(size=(BLOCKS, d, d))
    g, u, v = (draw.normal(size=size) for size in ((n, d), (n, d), (d, d)))
    for block, sizes in ((block_torch, sizes_torch), (block_tf, sizes_tf)):
        name = block.__name__
        make = torch.from_numpy if block is block_torch else tf.constant
        once, thrice, other = (
            np.asarray(block(make(h), make(w), BLOCKS))
            for h, w in ((x, weights[0]), (3 * x, weights[0]), (x, weights[1]))
        )
        assert once.shape == (n, d), f"{name} gives {once.shape}, not {(n, d)}"
        size = np.linalg.norm(once)
        hint = "a block that ignores W keeps its gradient and learns nothing"
        change = np.linalg.norm(once - other)
        assert change > 0.001 * size, f"{name}: W hardly matters: {hint}"
        scale = (once * thrice).sum() / size**2
        bent = np.linalg.norm(thrice - 3 * once) / np.linalg.norm(3 * once)
        hint = f"f(3h) is {scale:.2f} f(h): where is the sigmoid?"
        assert bent > 1e-6, f"{name} is linear along a ray: {hint}"
        ends = []
        for e in (1e-5, -1e-5):
            h, w = x + e * u, weights[0] + e * v
            ends.append(np.asarray(block(make(h), make(w), BLOCKS)))
        for_h, for_w = pull(block, x, weights[0], g)
        along = (np.asarray(for_h) * u).sum() + (np.asarray(for_w) * v).sum()
        hint = "no detach or stop_gradient: all that is used has to learn"
        measured = (g * (ends[0] - ends[1])).sum() / 2e-5
        text = f"{name}: the gradient says {along:.5g}, differences say {measured:.5g}"
        assert abs(along - measured) < 1e-4 * np.linalg.norm(g), f"{text}: {hint}"
        signal, gradient = sizes(block, x, weights)
        forward, backward = signal[-1] / signal[0], gradient[0] / gradient[-1]
        text = f"{name}, width {d}: signal, last over first, {forward:.2g};"
        text += f" gradient, first over last, {backward:.2g}"
        assert np.isfinite([forward, backward]).all(), f"{text}: not finite"
        hint = "too small: let h pass beside the sigmoid, or center and scale it"
        assert min(forward, backward) > 1 / 10, f"{text}: {hint}"
        hint = "too large: 30 branches add up; center them, make each smaller, scale W"
        assert max(forward, backward) < 10, f"{text}: {hint}"
print("task 7: right")

# %%
x, weights = rng.normal(size=(32, 64)), rng.normal(size=(BLOCKS, 64, 64))
size = (4.4, 4.2)
fig, axes = plt.subplots(2, 1, num="cure", figsize=size, layout="constrained")
top, low = axes
lines = (plain, "plain", "C0--"), (skip, "skip", "C1-."), (block_torch, "cure", "C2-")
for block, name, style in lines:
    signal, gradient = sizes_torch(block, x, weights)
    print(f"{name:6} gradient, first over last {gradient[0] / gradient[-1]:.2g}")
    top.plot(range(1, BLOCKS + 1), np.array(gradient) / gradient[-1], style, label=name)
    low.plot(range(1, BLOCKS + 1), np.array(signal) / signal[0], style)
top.set(ylabel="gradient / last", yscale="log", xticks=[1, 10, 20, 30])
low.set(xlabel="block", ylabel="signal / first", xticks=[1, 10, 20, 30])
top.legend(fontsize="small")
plt.show()

# %% [markdown]
# ![Two panels over 30 blocks. Above, on a logarithmic axis, the gradients meet at 1 on
# the right; to the left the plain one falls to about 1e-18, skip connection and cure
# stay near 1. Below, the signal of the skip connection rises to about 13, the others
# stay near 1.](lab_03_activations_and_gradients.py#cure "How much of the gradient
# reaches block 1, and what becomes of the signal?")
#
# ## A limit for the step
#
# Clipping scales a gradient that is too long. By
# [global norm](../../modules/ml/deep-learning/vanishing-exploding-gradients/index.md#conventions-differ),
# all parameters get the same factor, so the direction stays.
#
# **Predict before you run.** Two parameters have gradients 3 and 40. What does each
# rule make of them, with the limit 1? Which rules keep their ratio?

# %%
pair = [torch.tensor([3.0]), torch.tensor([40.0])]
parameters = [nn.Parameter(torch.zeros(1)) for _ in pair]
for rule in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
    for parameter, gradient in zip(parameters, pair, strict=True):
        parameter.grad = gradient.clone()
    returned = rule(parameters, 1.0)
    after = [f"{parameter.grad.item():.3f}" for parameter in parameters]
    value = "nothing" if returned is None else f"{returned:.2f}"
    print(f"{rule.__name__:18}", *after, "returns", value)
for option in ("clipnorm", "global_clipnorm", "clipvalue"):
    variables = [keras.Variable(np.zeros(1)) for _ in pair]
    optimizer = keras.optimizers.SGD(1.0, **{option: 1.0})
    optimizer.apply([tf.constant(gradient.numpy()) for gradient in pair], variables)
    print(f"{'Keras ' + option:18}", *[f"{-float(v[0]):.3f}" for v in variables])

# %% [markdown]
# **Task 8. Clip by global norm.** Write it without the libraries' clipping. A parameter
# that the loss does not use has the gradient `None`, and keeps it. Return the norm
# *before* clipping. Add in float64: the square of a large float32 overflows. Where
# the norm is not finite no scaling helps: raise a `ValueError`, and change nothing.
# `clip_torch` changes each `.grad`; tensors of TensorFlow cannot change.


# %% tags=["task"]
Tensors = list[tf.Tensor | None]


def clip_torch(parameters: list[nn.Parameter], limit: float) -> float:
    """Scale all gradients down to a global norm of limit; return the norm before."""
    # BEGIN SOLUTION
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
    if not math.isfinite(norm):
        raise ValueError(f"the global norm is {norm}")
    if norm > limit:
        for gradient in gradients:
            gradient.mul_(limit / norm)
    return norm
    # END SOLUTION


def clip_tf(gradients: Tensors, limit: float) -> tuple[Tensors, float]:
    """Return gradients scaled down to a global norm of limit, and the norm before."""
    # BEGIN SOLUTION
    there = [tf.cast(g, tf.float64) for g in gradients if g is not None]
    norm = math.sqrt(sum(float(tf.reduce_sum(g**2)) for g in there))
    if not math.isfinite(norm):
        raise ValueError(f"the global norm is {norm}")
    factor = min(1.0, limit / norm) if norm else 1.0
    return [None if g is None else g * factor for g in gradients], norm
    # END SOLUTION


# %% tags=["check"]
Arrays = list[np.ndarray | None]


def run_torch(arrays: Arrays, limit: float) -> tuple[Arrays, object]:
    """Clip by clip_torch."""
    ps = [nn.Parameter(torch.zeros(2 if a is None else a.shape)) for a in arrays]
    for p, a in zip(ps, arrays, strict=True):
        p.grad = None if a is None else torch.from_numpy(a.copy())
    try:
        norm = clip_torch(ps, limit)
    except (ValueError, ZeroDivisionError) as error:
        norm = error
    return [None if p.grad is None else p.grad.numpy() for p in ps], norm


def run_tf(arrays: Arrays, limit: float) -> tuple[Arrays, object]:
    """Clip by clip_tf."""
    gradients = [None if a is None else tf.constant(a) for a in arrays]
    try:
        pair = clip_tf(gradients, limit)
    except (ValueError, ZeroDivisionError) as error:
        return arrays, error
    two = isinstance(pair, tuple) and len(pair) == 2 and len(pair[0]) == len(arrays)
    assert two, "clip_tf returns the list of gradients, and the norm"
    return [None if g is None else np.asarray(g) for g in pair[0]], pair[1]


def normal(*shape: int) -> np.ndarray:
    """Return standard normal numbers in float32."""
    return rng.normal(size=shape).astype(np.float32)


cases = [[normal(3, 4), normal(4)], [normal(2), None, normal(5, 5)], [100 * normal(1)]]
cases += [[np.zeros(3, np.float32)], [1e-3 * normal(4)], [3 * normal(1), normal(4)]]
cases += [[1e25 * normal(4), normal(2)]]
for name, clip in (("clip_torch", run_torch), ("clip_tf", run_tf)):
    for arrays in cases:
        there = [a for a in arrays if a is not None]
        norm = math.sqrt(sum(float((a.astype(float) ** 2).sum()) for a in there))
        for limit in (1.0, 0.1, norm * 1.5 + 1):
            clipped, returned = clip(arrays, limit)
            hint = "return the norm of all gradients together, as it was before"
            if norm == 0 or norm > 1e19:
                hint = "in float32 the square of 1e25 is inf" if norm else "0 / 0"
            text = f"{name} raises {returned} at the norm {norm:.3g}: {hint}"
            assert not isinstance(returned, Exception), text
            compare(f"the norm from {name}", returned, norm, hint, 1e-4)
            factor = limit / norm if norm > limit else 1.0
            for ours, a in zip(clipped, arrays, strict=True):
                assert (ours is None) == (a is None), f"{name}: None stays None"
                hint = f"norm {norm:.3g}, limit {limit:.3g}: one factor for all, <= 1"
                if a is not None:
                    compare(f"a gradient after {name}", ours, a * factor, hint, 1e-4)
                    dtype = f"a gradient after {name} is {ours.dtype}: cast it back"
                    assert ours.dtype == a.dtype, dtype
    for bad in (np.nan, np.inf):
        arrays = [normal(3), np.array([1.0, bad], np.float32)]
        clipped, returned = clip(arrays, 1.0)
        text = f"{name} of a gradient with {bad} returns {returned}"
        assert isinstance(returned, ValueError), f"{text}: raise a ValueError"
        hint = "test the norm first, then scale"
        pairs = zip(clipped, arrays, strict=True)
        same = all(np.array_equal(*each, equal_nan=True) for each in pairs)
        assert same, f"{name} changed the gradients before it raised: {hint}"
theirs = [torch.from_numpy(a.copy()) for a in cases[0]]
ps = [nn.Parameter(torch.zeros_like(a)) for a in theirs]
for p, g in zip(ps, theirs, strict=True):
    p.grad = g
nn.utils.clip_grad_norm_(ps, 0.5)
in_tf, _ = tf.clip_by_global_norm([tf.constant(a) for a in cases[0]], 0.5)
for g, h, ours in zip(theirs, in_tf, run_torch(cases[0], 0.5)[0], strict=True):
    compare("beside clip_grad_norm_", ours, g, "one factor, limit / norm", 1e-4)
    compare("beside tf.clip_by_global_norm", ours, h, "as in PyTorch", 1e-4)
print("task 8: right")
