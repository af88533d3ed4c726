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
    """Draw the graph; at each edge the value that goes forward and the gradient that comes back."""
    places = {"w": (0, 0.5), "b": (1.1, 2), "u": (1.1, 1), "e": (2.3, 1), "c": (3.4, 1)}
    places |= {"r": (2.3, 0), "L": (4.5, 0.5)}
    formulas = {"u": "3 w", "e": "u + b − 7", "c": "e²", "r": "w² / 2", "L": "c + r"}
    fig, ax = plt.subplots(num="graph", figsize=(6.4, 4.2))
    for name, (x, y) in places.items():
        ax.plot(x, y, "o", ms=50, mfc="none", mec="0.5")
        ax.text(x, y, f"{name}\n{formulas[name]}" if name in graph else name, ha="center", va="center")
    for name, node in graph.items():
        local = node.local(*(values[parent] for parent in node.parents))
        for parent, derivative in zip(node.parents, local, strict=True):
            start, end = places[parent], places[name]
            arrow = {"arrowstyle": "->", "color": "0.5", "shrinkA": 27, "shrinkB": 27}
            ax.annotate("", end, start, arrowprops=arrow)
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            ax.text(x, y + 0.04, f"{values[parent]:g} →", color="C0", ha="center", va="bottom")
            message = f"← {grads[name] * derivative:g}".replace("-", "−")
            ax.text(x, y - 0.04, message, color="C1", ha="center", va="top")
    ax.set(xlim=(-0.4, 4.9), ylim=(-0.4, 2.4))
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
