"""Backpropagation on a graph of numbers: every node needs its local derivatives only.

Graph: L = (w x + b - y)^2 + lambda w^2 / 2, one linear neuron with squared error and weight decay.
Shapes: all values are numbers. A graph is a dictionary in topological order: a node comes after
its parents, the last node is the output. Nodes without parents, w and b, are given as leaves.
Source of the backward rule: multivariable chain rule; Baydin et al. (2018), Section 3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt


@dataclass(frozen=True)
class Node:
    """An operation: its parents, its value and its derivative for each parent."""

    parents: tuple[str, ...]
    value: Callable[..., float]
    local: Callable[..., tuple[float, ...]]


def evaluate(graph: dict[str, Node], leaves: dict[str, float]) -> dict[str, float]:
    """Return the value of every leaf and node: the forward pass."""
    values = dict(leaves)
    for name, node in graph.items():
        values[name] = node.value(*(values[parent] for parent in node.parents))
    return values


def backpropagate(graph: dict[str, Node], values: dict[str, float]) -> dict[str, float]:
    """Return the derivative of the last node with respect to every leaf and node."""
    grads = dict.fromkeys(values, 0.0)
    grads[next(reversed(graph))] = 1.0  # dL/dL
    for name, node in reversed(graph.items()):
        local = node.local(*(values[parent] for parent in node.parents))
        for parent, derivative in zip(node.parents, local, strict=True):
            grads[parent] += grads[name] * derivative  # += because paths meet where edges fan out
    return grads


def draw(graph: dict[str, Node], values: dict[str, float], grads: dict[str, float]) -> None:
    """Draw the graph: above each edge the value forward, below it the gradient backward."""
    places = {"w": (0.0, 0.6), "b": (1.35, 2.2), "u": (1.35, 1.2), "e": (2.7, 1.2)}
    places |= {"c": (4.05, 1.2), "r": (2.7, 0.0), "L": (5.4, 0.6)}
    texts = {"w": "w", "b": "b", "u": "u = 3w", "e": "e = u+b−7", "c": "c = e²"}
    texts |= {"r": "r = w²/2", "L": "L = c+r"}
    fig, ax = plt.subplots(num="graph", figsize=(6.4, 4.2))
    for name, node in graph.items():
        local = node.local(*(values[parent] for parent in node.parents))
        for parent, derivative in zip(node.parents, local, strict=True):
            (x0, y0), (x1, y1) = places[parent], places[name]
            ax.plot([x0, x1], [y0, y1], "-", color="0.5", lw=1.2, zorder=1)
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            message = grads[name] * derivative
            ax.text(x, y + 0.06, f"{values[parent]:g} →", color="C0", ha="center", va="bottom")
            ax.text(x, y - 0.06, f"← {message:g}", color="C1", ha="center", va="top")
    ax.set_axis_off()
    plt.show()


if __name__ == "__main__":
    x, y, decay = 3.0, 7.0, 1.0
    graph = {
        "u": Node(("w",), lambda w: x * w, lambda w: (x,)),
        "e": Node(("u", "b"), lambda u, b: u + b - y, lambda u, b: (1.0, 1.0)),
        "c": Node(("e",), lambda e: e**2, lambda e: (2 * e,)),
        "r": Node(("w",), lambda w: decay * w**2 / 2, lambda w: (decay * w,)),
        "L": Node(("c", "r"), lambda c, r: c + r, lambda c, r: (1.0, 1.0)),
    }
    values = evaluate(graph, {"w": 2.0, "b": -1.0})
    grads = backpropagate(graph, values)
    print(values, grads)
    draw(graph, values, grads)
