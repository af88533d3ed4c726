"""One table of local derivatives serves both modes: dual numbers and a tape.

Shapes: f maps an array x to an array y; jvp gives J v in the shape of y, vjp gives u J in
the shape of x, with J taken on the flattened arrays. f is plain NumPy: NumPy passes its
calls on to the operands' __array_ufunc__. A tape of dual numbers gives H v.
Source: Baydin et al. (2018), Sections 3.1 and 3.2; Pearlmutter (1994) for H v.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Function = Callable[[Any], Any]
Linear = tuple[Callable[..., Any], ...]  # one map of tangents or adjoints per operand
PARTIALS: dict[np.ufunc, Callable[..., tuple]] = {  # y = op(a, b): dy/da, dy/db
    np.add: lambda y, a, b: (1.0, 1.0),
    np.subtract: lambda y, a, b: (1.0, -1.0),
    np.multiply: lambda y, a, b: (b, a),
    np.divide: lambda y, a, b: (1.0 / b, -y / b),
    np.negative: lambda y, a: (-1.0,),
    np.exp: lambda y, a: (y,),
    np.log: lambda y, a: (1.0 / a,),
    np.sin: lambda y, a: (np.cos(a),),
    np.cos: lambda y, a: (-np.sin(a),),
    np.tanh: lambda y, a: (1.0 - y * y,),
}


class Dual(NDArrayOperatorsMixin):
    """An array with its tangent: value + tangent ε, where ε² = 0."""

    def __init__(self, value: Any, tangent: Any) -> None:
        self.value, self.tangent, self.shape = value, tangent, np.shape(value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kw: Any) -> Any:
        if method != "__call__" or kw or ufunc not in {*PARTIALS, np.matmul}:
            return NotImplemented
        values = [x.value if isinstance(x, Dual) else x for x in inputs]
        y = ufunc(*values)
        if ufunc is np.matmul:
            a, b = values
            pushes: Linear = (lambda t: t @ b, lambda t: a @ t)
        else:
            pushes = tuple(lambda t, p=p: p * t for p in PARTIALS[ufunc](y, *values))
        pairs = zip(inputs, pushes, strict=True)
        terms = [push(x.tangent) for x, push in pairs if isinstance(x, Dual)]
        return Dual(y, sum(terms, start=np.zeros_like(y)))

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Dual":
        return Dual(*(a.sum(axis=axis, keepdims=keepdims) for a in (self.value, self.tangent)))

    def reshape(self, shape: tuple[int, ...]) -> "Dual":
        return Dual(self.value.reshape(shape), self.tangent.reshape(shape))

    @property
    def T(self) -> "Dual":  # noqa: N802
        return Dual(self.value.T, self.tangent.T)


class Var(NDArrayOperatorsMixin):
    """A value on a tape; the entry holds (index of operand, pullback) for each operand."""

    def __init__(self, value: Any, tape: list, operands: Any = ()) -> None:
        self.value, self.tape, self.index = value, tape, len(tape)
        self.shape = np.shape(value)
        tape.append(operands)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kw: Any) -> Any:
        if method != "__call__" or kw or ufunc not in {*PARTIALS, np.matmul}:
            return NotImplemented
        values = [x.value if isinstance(x, Var) else x for x in inputs]
        y = ufunc(*values)
        if ufunc is np.matmul:  # of two matrices
            a, b = values
            pulls: Linear = (lambda g: g @ b.T, lambda g: a.T @ g)
        else:
            partials = zip(PARTIALS[ufunc](y, *values), values, strict=True)
            pulls = tuple(lambda g, p=p, x=x: unbroadcast(g * p, x.shape) for p, x in partials)
        pairs = zip(inputs, pulls, strict=True)
        return Var(y, self.tape, [(x.index, pull) for x, pull in pairs if isinstance(x, Var)])

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Var":
        kept, zeros = self.value.sum(axis=axis, keepdims=True).shape, np.zeros(self.shape)
        y = self.value.sum(axis=axis, keepdims=keepdims)
        return Var(y, self.tape, [(self.index, lambda g: g.reshape(kept) + zeros)])


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Return g summed over the axes along which an operand of this shape was repeated."""
    g = g.sum(axis=tuple(range(len(g.shape) - len(shape))))
    repeated = tuple(i for i, d in enumerate(shape) if d == 1 < g.shape[i])
    return g.sum(axis=repeated, keepdims=True)


def jvp(f: Function, x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return y = f(x) and J v: one forward sweep."""
    y = f(Dual(x, v))
    return (y.value, y.tangent) if isinstance(y, Dual) else (y, np.zeros_like(y))


def vjp(f: Function, x: Any, u: np.ndarray) -> tuple[Any, Any]:
    """Return y = f(x) and u J: one recording and one reverse sweep."""
    tape: list = []
    y = f(Var(x, tape))
    if not isinstance(y, Var):  # f ignores x
        return y, np.zeros(x.shape)
    grads = {y.index: u}
    for index in range(y.index, 0, -1):  # operands come before results
        if index in grads:
            grad = grads.pop(index)
            for operand, pull in tape[index]:
                message = pull(grad)
                grads[operand] = grads[operand] + message if operand in grads else message
    return y.value, grads[0]


def jacobian_by_columns(f: Function, x: np.ndarray) -> np.ndarray:
    """Return J (m, n) from n forward sweeps, one per input."""
    columns = [jvp(f, x, e.reshape(x.shape))[1].ravel() for e in np.eye(x.size)]
    return np.stack(columns, axis=1)


def jacobian_by_rows(f: Function, x: np.ndarray) -> np.ndarray:
    """Return J (m, n) from m reverse sweeps, one per output."""
    y = f(x)
    return np.stack([vjp(f, x, e.reshape(y.shape))[1].ravel() for e in np.eye(y.size)])


def hvp(f: Function, x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of f with one output, and H v: a tape of dual numbers."""
    grad = vjp(f, Dual(x, v), np.ones(()))[1]
    return (grad.value, grad.tangent) if isinstance(grad, Dual) else (grad, np.zeros(x.shape))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    a, x, v = rng.normal(size=(4, 3)), rng.normal(size=(1, 4)), rng.normal(size=(1, 4))
    u = rng.normal(size=(1, 3))

    def f(x: Any) -> Any:
        z = np.tanh(x @ a)  # (1, 4) @ (4, 3) -> (1, 3)
        return z * np.exp(-(x * x).sum()) + z / (2.0 + np.cos(z))

    def loss(x: Any) -> Any:
        return (f(x) * f(x)).sum()

    j_v, u_j = jvp(f, x, v)[1], vjp(f, x, u)[1]
    left, right = float((u * j_v).sum()), float((u_j * v).sum())
    print(f"J v = {j_v.round(4)}\nu J = {u_j.round(4)}")
    print(f"<u, J v> = {left:.15f}\n<u J, v> = {right:.15f}")
    columns, rows = jacobian_by_columns(f, x), jacobian_by_rows(f, x)
    modes_differ = float(np.abs(columns - rows).max())
    print(f"J: {columns.shape[1]} columns and {rows.shape[0]} rows differ by {modes_differ:.0e}")
    h = 1e-5
    central = [(f(x + h * e) - f(x - h * e)).ravel() / (2 * h) for e in np.eye(4)]
    numeric_error = float(np.abs(columns - np.stack(central, axis=1)).max())

    def gradient(x: np.ndarray) -> np.ndarray:
        return vjp(loss, x, np.ones(()))[1]

    hessian_v = hvp(loss, x, v)[1]
    difference = (gradient(x + h * v) - gradient(x - h * v)) / (2 * h)
    hvp_error = float(np.abs(hessian_v - difference).max())
    print(f"H v = {hessian_v.round(4)}")
    print(f"central differences: J {numeric_error:.0e}, H v {hvp_error:.0e} away")

    def nested(x: Any) -> Any:
        """x times d(x + y)/dy, which is x: its slope is 1."""
        return x * jvp(lambda y: x + y, np.ones(()), np.ones(()))[1]

    confused = float(jvp(nested, np.ones(()), np.ones(()))[1])
    print(f"forward mode inside forward mode: slope {confused:g} instead of 1")
    w = rng.normal(size=(1, 4))  # H is symmetric: <w, H v> = <H w, v>
    asymmetry = float(abs((w * hessian_v).sum() - (hvp(loss, x, w)[1] * v).sum()))

    assert abs(left - right) < 1e-14 and modes_differ < 1e-14 and asymmetry < 1e-13
    assert numeric_error < 1e-9 and hvp_error < 1e-8
    assert confused == 2.0  # one ε for both: the outer tangent leaks into the inner one
