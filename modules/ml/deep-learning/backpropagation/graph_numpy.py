"""Backpropagation on a graph of numbers: every node needs its local derivatives only.

Graph: L = (w x + b - y)^2 + w^2 / 2, the squared error of a linear unit plus a weight
penalty. Shapes: all values are numbers. A graph is a dictionary in topological order: a
node comes after its parents, the last is the output. Leaves, here w and b, have none.
Source: the multivariable chain rule; as a procedure in Baydin et al. (2018), Section 3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


@dataclass(frozen=True)
class Node:
    """An operation: its parents, its value, and its local derivative for each parent."""

    parents: tuple[str, ...]
    value: Callable[..., float]
    local: Callable[..., tuple[float, ...]]


def evaluate(graph: dict[str, Node], leaves: dict[str, float]) -> dict[str, float]:
    """Return the values of all leaves and nodes: the forward pass."""
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
            grads[parent] += grads[name] * derivative  # +=: a value may be used twice
    return grads


def draw(graph: dict[str, Node], values: dict[str, float], grads: dict[str, float]) -> None:
    """Draw the graph; at each edge the value sent forward and the gradient sent back."""
    places: dict[str, tuple[float, float]] = {
        "w": (0, 1),
        "u": (1.2, 1),
        "b": (2.4, 2),
        "e": (2.4, 1),
        "c": (3.6, 1),
    }
    places |= {"r": (2.4, 0.1), "L": (4.8, 1)}
    formulas = {"u": "3w", "e": "u+b−7", "c": "e²", "r": "w²/2", "L": "c+r"}
    bends = {"w": "angle,angleA=-90,angleB=180", "r": "angle,angleA=0,angleB=90"}
    fig, ax = plt.subplots(num="graph", figsize=(5.6, 3.8))
    for name, (x, y) in places.items():
        text = f"{name}\n{formulas[name]}" if name in graph else name
        ax.plot(x, y, "o", ms=45, mfc="none", mec="0.5")
        ax.text(x, y, text, ha="center", va="center", size=9.5)
    received: dict[str, list[str]] = {}
    for name, node in graph.items():
        local = node.local(*(values[parent] for parent in node.parents))
        for parent, derivative in zip(node.parents, local, strict=True):
            value, gradient = f"{values[parent]:g}", f"{grads[name] * derivative:g}"
            received.setdefault(parent, []).append(gradient)
            (x0, y0), (x1, y1) = places[parent], places[name]
            bend = bends[parent] if x0 != x1 and y0 != y1 else "arc3"
            arrow = {"arrowstyle": "->", "color": "0.5", "connectionstyle": bend}
            ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow | {"shrinkA": 24, "shrinkB": 24})
            x = (x0 + x1) / 2
            if x0 == x1:
                _label(ax, x - 0.08, (y0 + y1) / 2, f"{value} ↓", "C0", "right", "center")
                _label(ax, x + 0.08, (y0 + y1) / 2, f"↑ {gradient}", "C1", "left", "center")
            else:
                _label(ax, x, min(y0, y1) + 0.05, f"{value} →", "C0", "center", "bottom")
                _label(ax, x, min(y0, y1) - 0.05, f"← {gradient}", "C1", "center", "top")
    assert sum(map(float, received["w"])) == grads["w"]  # what the label says
    total = f"gradient of w:\n{' + '.join(received['w'])} = {grads['w']:g}"
    _label(ax, -0.36, 1.6, total, "C1", "left", "center")
    _label(ax, 4.8, 1.45, f"L = {values['L']:g}", "C0", "center", "center")
    ax.set(xlim=(-0.38, 5.18), ylim=(-0.3, 2.4))
    ax.set_axis_off()
    plt.show()


def _label(ax: Axes, x: float, y: float, text: str, color: str, ha: str, va: str) -> None:
    """Write numbers with a true minus sign."""
    ax.text(x, y, text.replace("-", "−"), color=color, ha=ha, va=va, size=12)


if __name__ == "__main__":
    x, y, w, b = 3.0, 7.0, 2.0, -1.0
    graph = {
        "u": Node(("w",), lambda w: x * w, lambda w: (x,)),
        "e": Node(("u", "b"), lambda u, b: u + b - y, lambda u, b: (1.0, 1.0)),
        "c": Node(("e",), lambda e: e**2, lambda e: (2 * e,)),
        "r": Node(("w",), lambda w: w**2 / 2, lambda w: (w,)),
        "L": Node(("c", "r"), lambda c, r: c + r, lambda c, r: (1.0, 1.0)),
    }
    values = evaluate(graph, {"w": w, "b": b})
    grads = backpropagate(graph, values)
    for name in values:
        print(f"{name} = {values[name]:4g}   dL/d{name} = {grads[name]:4g}")

    def loss_at(w: float, b: float) -> float:
        return evaluate(graph, {"w": w, "b": b})["L"]

    h = 1e-5
    numeric_w = (loss_at(w + h, b) - loss_at(w - h, b)) / (2 * h)
    numeric_b = (loss_at(w, b + h) - loss_at(w, b - h)) / (2 * h)
    print(f"central differences: dL/dw = {numeric_w:.6f}, dL/db = {numeric_b:.6f}")
    u, e, c, r, loss = (values[name] for name in "uecrL")
    grad_w, grad_b, grad_u, grad_e, grad_c, grad_r, grad_loss = (grads[name] for name in "wbuecrL")
    through_u, through_r = grad_u * x, grad_r * w  # the two messages that meet at w
    slope_c = 2 * e
    draw(graph, values, grads)

    assert through_u + through_r == grad_w
    assert (loss, grad_w, grad_b) == (6.0, -10.0, -4.0)  # as computed by hand on the page
    assert abs(numeric_w - grad_w) < 1e-8 and abs(numeric_b - grad_b) < 1e-8
