"""A tape with custom rules: an operation may bring its own way to send a gradient back.

An operation takes arrays and returns its value and a rule; the rule maps the gradient for
the value to one gradient per input, a vector-Jacobian product. tf.custom_gradient has the
same form. Shapes: exp, log1p, log1pexp and step act on each entry; logsumexp and norm map
rows (N, D) to (N,). All gradients have the shape of their array.
"""

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

Rule = Callable[[np.ndarray], tuple[np.ndarray, ...]]
Operation = Callable[..., tuple[np.ndarray, Rule]]


@dataclass(eq=False)  # two variables with equal values are still two variables
class Variable:
    """An array whose history the tape knows."""

    value: np.ndarray


class Tape:
    """A record of operations, and the backward pass over it."""

    def __init__(self) -> None:
        self.steps: list[tuple[Variable, tuple[Variable, ...], Rule]] = []

    def apply(self, operation: Operation, *inputs: Variable) -> Variable:
        """Run an operation and record its result, its inputs and its rule."""
        value, rule = operation(*(v.value for v in inputs))
        self.steps.append((Variable(value), inputs, rule))
        return self.steps[-1][0]

    def gradients(self, grad_output: np.ndarray) -> dict[Variable, np.ndarray]:
        """Return the gradient for every variable from the gradient for the last result."""
        grads = {self.steps[-1][0]: grad_output}
        for result, inputs, rule in reversed(self.steps):
            if result in grads:
                for v, grad in zip(inputs, rule(grads[result]), strict=True):
                    grads[v] = grads[v] + grad if v in grads else grad  # fan-out adds
        return grads


def exp(x: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Return e^x; the rule needs the output only."""
    y = np.exp(x)
    return y, lambda grad_y: (grad_y * y,)


def log1p(x: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Return log(1 + x)."""
    return np.log1p(x), lambda grad_y: (grad_y / (1 + x),)


def log1pexp(x: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Return log(1 + e^x); the rule is the sigmoid, and neither can overflow."""
    e = np.exp(-np.abs(x))
    slope = np.where(x >= 0, 1.0, e).astype(e.dtype) / (1 + e)
    return np.maximum(x, 0) + np.log1p(e), lambda grad_y: (grad_y * slope,)


def logsumexp(z: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Return log(sum_k e^{z_k}) of each row; the rule is the softmax, from the same e."""
    largest = z.max(axis=-1, keepdims=True)
    e = np.exp(z - largest)
    total = e.sum(axis=-1, keepdims=True)  # at least 1
    p = e / total
    return (largest + np.log(total))[..., 0], lambda grad_y: (grad_y[..., None] * p,)


def norm(x: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Return the Euclidean norm of each row; the rule sends 0 to a row of zeros."""
    largest = np.abs(x).max(axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0)  # squares of x / scale cannot overflow
    length = np.sqrt(np.square(x / scale).sum(axis=-1, keepdims=True))  # 0, or at least 1
    unit = x / scale / np.where(length > 0, length, 1.0)
    return (scale * length)[..., 0], lambda grad_y: (grad_y[..., None] * unit,)


def step(z: np.ndarray) -> tuple[np.ndarray, Rule]:
    """Return 1 where z > 0, else 0; the rule is straight-through, not the derivative."""
    return (z > 0).astype(z.dtype), lambda grad_y: (grad_y,)


def _draw(x: np.ndarray, recorded: np.ndarray, custom: np.ndarray, first_nan: float) -> None:
    """Draw the two reasons for a rule of one's own."""
    fig, (top, low) = plt.subplots(2, 1, num="idea", figsize=(5.4, 5.0), layout="constrained")
    top.plot(x, custom, color="C1", lw=5, alpha=0.45)
    top.plot(x, recorded, "--", color="C0")
    top.plot(first_nan, 1.0, "x", color="C0", ms=9, mew=2)
    top.text(first_nan, 0.88, f"recorded: nan\nfrom x = {first_nan:.1f}", ha="center", va="top")
    top.text(-118, 0.2, "wide: custom rule\ndashed: recorded rules")
    top.set(xlabel="x", ylabel="gradient of log(1 + exp x)", ylim=(-0.08, 1.12))
    z = np.linspace(-4, 4, 801)
    p = 1 / (1 + np.exp(-z))
    low.plot(z, (z > 0).astype(float), color="0.5", lw=3)
    low.plot(z, 0 * z, ":", color="C0", lw=2.5)
    low.plot(z, 1 + 0 * z, "-.", color="C1")
    low.plot(z, p * (1 - p), "--", color="C2")
    low.text(-3.9, 1.05, "backward: identity, slope 1")
    low.text(-3.9, 0.25, "backward: slope\nof a sigmoid")
    low.text(0.2, 0.84, "forward: the step (gray)")
    low.text(0.4, -0.17, "its derivative: 0 (dotted)")
    low.set(xlabel="z", ylabel="step and three slopes", ylim=(-0.25, 1.22))
    plt.show()


if __name__ == "__main__":
    x = np.linspace(-120, 120, 2401, dtype=np.float32)
    tape, inputs = Tape(), Variable(x)
    with np.errstate(over="ignore", invalid="ignore"):
        tape.apply(log1p, tape.apply(exp, inputs))
        recorded = tape.gradients(np.ones_like(x))[inputs]
    tape = Tape()
    value = tape.apply(log1pexp, inputs).value
    custom = tape.gradients(np.ones_like(x))[inputs]
    first_nan = float(x[np.isnan(recorded)].min())
    print(f"recorded rules, float32: gradient nan from x = {first_nan:.1f}")
    print(f"custom rule: {custom[-1]} at x = 120, finite everywhere: {np.isfinite(custom).all()}")

    rng = np.random.default_rng(0)
    z, grad_y, h = rng.normal(size=(5, 4)), rng.normal(size=5), 1e-5
    gradient_error = 0.0
    for operation in (logsumexp, norm):
        grad = operation(z)[1](grad_y)[0]
        for index in np.ndindex(z.shape):
            d = np.zeros_like(z)
            d[index] = h
            change = operation(z + d)[0] - operation(z - d)[0]
            numeric = float(change @ grad_y) / (2 * h)  # (N,) @ (N,) -> number
            gradient_error = max(gradient_error, abs(numeric - float(grad[index])))
    print(f"logsumexp and norm against central differences: {gradient_error:.1e}")
    rows = np.array([[0.0, 0.0], [3e200, 4e200], [3e-200, 4e-200]])
    lengths, at_zero = norm(rows)[0], norm(rows)[1](np.ones(3))[0]
    print(f"norms {lengths}, gradients {at_zero.tolist()}")

    tape, v = Tape(), Variable(np.array([-0.5, 2.0]))
    tape.apply(log1pexp, tape.apply(step, v))
    through_step = tape.gradients(np.ones(2))[v]
    print(f"through the step: {through_step.round(4)}, the derivative would be 0")
    _draw(x, recorded, custom, first_nan)

    assert 88 < first_nan < 90 and np.isfinite(custom).all() and np.isfinite(value).all()
    assert np.nanmax(np.abs(recorded - custom)) < 1e-6
    assert gradient_error < 1e-8
    assert np.allclose(lengths, [0.0, 5e200, 5e-200], atol=0.0)
    assert np.allclose(at_zero, np.array([[0, 0], [0.6, 0.8], [0.6, 0.8]]))
    assert np.allclose(through_step, 1 / (1 + np.exp([0.0, -1.0])))
