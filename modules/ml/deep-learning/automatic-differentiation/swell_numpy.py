"""A derivative as an expression grows exponentially; as a program it does not.

Function: the logistic map l_1 = x, l_{k+1} = 4 l_k (1 - l_k), as in Baydin et al. (2018).
Equal parts of an expression are one object, so the same derivative can be counted
written out (a tree) and with shared parts (a graph). The exact derivative is computed in
rational numbers.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np


@dataclass(frozen=True, eq=False)  # compared by identity: equal parts are one object
class Node:
    """An operation on two parts, or the variable x."""

    operation: str
    parts: tuple["Expression", ...] = ()


Expression = Node | int
X = Node("x")


@cache
def add(a: Expression, b: Expression) -> Expression:
    """Return the expression a + b, without zeros."""
    return b if a == 0 else a if b == 0 else Node("add", (a, b))


@cache
def mul(a: Expression, b: Expression) -> Expression:
    """Return the expression a b, without zeros and ones."""
    if a == 0 or b == 0:
        return 0
    return b if a == 1 else a if b == 1 else Node("mul", (a, b))


@cache
def derivative(e: Expression) -> Expression:
    """Return de/dx as an expression, by the rules of a calculus book."""
    if isinstance(e, int) or e is X:
        return int(e is X)
    a, b = e.parts
    if e.operation == "add":
        return add(derivative(a), derivative(b))
    return add(mul(derivative(a), b), mul(a, derivative(b)))


@cache
def evaluate(e: Expression, x: Any) -> Any:
    """Return the value of an expression."""
    if isinstance(e, int) or e is X:
        return x if e is X else e
    a, b = (evaluate(part, x) for part in e.parts)
    return a + b if e.operation == "add" else a * b


def logistic(steps: int) -> Expression:
    """Return l_{steps + 1} as an expression in x."""
    e: Expression = X
    for _ in range(steps):
        e = mul(mul(4, e), add(1, mul(-1, e)))
    return e


@cache
def written_out(e: Expression) -> int:
    """Return the operations of an expression that is written out as a tree."""
    if isinstance(e, int) or e is X:
        return 0
    return 1 + sum(written_out(part) for part in e.parts)


def shared(e: Expression) -> int:
    """Return the operations if every distinct part is computed once."""
    found: set[Node] = set()
    todo = [e]
    while todo:
        part = todo.pop()
        if isinstance(part, Node) and part is not X and part not in found:
            found.add(part)
            todo.extend(part.parts)
    return len(found)


def forward_mode(x: Any, steps: int) -> tuple[Any, Any, int]:
    """Return value, derivative and operations of a dual number sent through the map."""
    tangent, operations = 1, 0
    for _ in range(steps):
        a, a_tangent = 4 * x, 4 * tangent
        b, b_tangent = 1 + -1 * x, -1 * tangent
        x, tangent = a * b, a_tangent * b + a * b_tangent
        operations += 3 + 1 + 4  # value: 2 products, 1 sum, and 1 product; tangent
    return x, tangent, operations


if __name__ == "__main__":
    depths = list(range(1, 21))
    derivatives = [derivative(logistic(k)) for k in depths]
    trees, graphs = [written_out(e) for e in derivatives], [shared(e) for e in derivatives]
    duals = [forward_mode(0.3, k)[2] for k in depths]
    for k in (1, 2, 5, 10, 20):
        counts = f"written out {trees[k - 1]:>13,}, shared {graphs[k - 1]:>3}, dual {duals[k - 1]}"
        print(f"{k:2} steps, operations of the derivative: {counts}")
    tree_last, graph_last, dual_last = trees[-1], graphs[-1], duals[-1]

    steps, at = 10, Fraction(0.3)  # the double next to 0.3, exactly
    exact = forward_mode(at, steps)[1]
    x = float(at)
    widths = 10.0 ** np.arange(-15.0, -1.5, 0.5)
    right, left, here = (forward_mode(p, steps)[0] for p in (x + widths, x - widths, x))
    central, one_sided = (right - left) / (2 * widths), (right - here) / widths
    errors = {name: np.abs(d / float(exact) - 1) for name, d in
              (("one-sided", one_sided), ("central", central))}  # fmt: skip
    best_one_sided, best_central = (float(e.min()) for e in errors.values())
    best_width = float(widths[errors["central"].argmin()])
    autodiff_error = abs(float((Fraction(forward_mode(x, steps)[1]) - exact) / exact))
    print(f"relative error after {steps} steps: dual numbers {autodiff_error:.0e},")
    print(f"  central differences at best {best_central:.0e}, one-sided {best_one_sided:.0e}")

    fig, (ax, below) = plt.subplots(2, 1, num="swell", figsize=(6.0, 6.2), layout="constrained")
    ax.semilogy(depths, trees, "s--", color="C1", label="expression, written out")
    ax.semilogy(depths, duals, "o-", color="C0", label="dual numbers")
    ax.semilogy(
        depths, graphs, "^-.", color="C2", ms=9, mfc="none", label="expression, equal parts shared"
    )
    ax.set(xlabel="steps of the logistic map", ylabel="operations of\nthe derivative")
    ax.set_xticks([1, 5, 10, 15, 20])
    ax.legend(frameon=False)
    below.loglog(widths, errors["one-sided"], "v:", color="C3", label="one-sided difference")
    below.loglog(widths, errors["central"], "s--", color="C4", label="central difference")
    below.axhline(autodiff_error, color="C0")
    below.text(1e-2, autodiff_error * 1.6, "dual numbers", color="C0", ha="right")
    below.set(xlabel=f"width h of the difference, {steps} steps", ylabel="relative error")
    below.set_ylim(bottom=1e-17, top=1e3)
    below.legend(frameon=False)
    plt.show()

    assert trees[0] <= 8 and tree_last > 2**20 and graph_last < 12 * 20
    assert all(later > 2 * earlier for earlier, later in pairwise(trees))
    assert len(set(np.diff(graphs))) == len(set(np.diff(duals))) == 1  # both grow linearly
    assert evaluate(derivatives[steps - 1], at) == exact
    assert autodiff_error < 1e-12 < 1e-11 < best_central < best_one_sided < 1e-5
