"""Make a topic folder from a template that already passes every check."""

import re
from pathlib import Path

from scripts.discover import discover
from scripts.pages import TOPIC_PATH
from scripts.problems import ROOT, Stop, nearest

PAGE = """---
title: "{title}"
summary: "{title}: what it is, where it comes from, and code that shows it."
prerequisites: []
level: beginner
minutes: 20
tags: [draft]
---

**{title}** doubles each number: $y = 2x$. Replace this lead: one or two sentences that an expert would sign.

![A straight line through the origin with slope two]({stem}_numpy.py#idea "What is the idea in one picture?")

| At a glance | |
|---|---|
| Formula | $y = 2x$ |
| Gradient | $\\partial y / \\partial x = 2$ |

## Intuition

Why would anybody invent this?

## Definition

$$
y = 2x
$$

| Symbol | Shape | Meaning |
|---|---|---|
| $x$ | $(N,)$ | input |
| $y$ | $(N,)$ | output |

## Derivation

The derivative of $2x$ is 2. Central differences give {{{{ {stem}_numpy.numeric_slope:.6f }}}}.

## From scratch

[{title} in NumPy]({stem}_numpy.py)

## In the frameworks

=== "PyTorch"

    [{title} in PyTorch]({stem}_torch.py)

The largest difference between the two is {{{{ {stem}_torch.largest_difference:.1e }}}}.

## Pitfalls

What do people get wrong?

## Exercises

**1. Check the slope.** What is the slope at $x = 3$?

??? success "Answer"

    It is 2, as everywhere.
"""
NUMPY = '''"""{title} doubles its input, and its slope is two everywhere.

Shapes: x is (N,). Replace this by what the page shows.
"""

import matplotlib.pyplot as plt
import numpy as np


def {stem}(x: np.ndarray) -> np.ndarray:
    """y = 2x for x (N,)."""
    return 2.0 * x


if __name__ == "__main__":
    x = np.linspace(-1.0, 1.0, 5)
    h = 1e-5
    numeric_slope = (({stem}(x + h) - {stem}(x - h)) / (2 * h)).mean()
    print(f"slope by central differences: {{numeric_slope:.6f}}")

    fig, ax = plt.subplots(num="idea", figsize=(6.4, 3.6))
    ax.plot(x, {stem}(x))
    ax.set(xlabel="x", ylabel="y")
    plt.show()

    assert np.allclose(numeric_slope, 2.0)
'''
TORCH = '''"""PyTorch's autograd gives the same values and the same slope."""

import numpy as np
import torch

if __name__ == "__main__":
    x = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64, requires_grad=True)
    y = 2.0 * x
    y.sum().backward()
    largest_difference = np.abs(y.detach().numpy() - 2.0 * x.detach().numpy()).max()
    print(f"slope by autograd: {{x.grad.tolist()}}")

    assert largest_difference == 0.0
    assert (x.grad == 2.0).all()
'''
TEST = '''"""What must hold of {title}, beyond the snippets' own asserts."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=20))
def test_agrees_with_torch(load, numbers):
    function = load("{stem}_numpy").{stem}
    x = np.array(numbers)
    expected = torch.from_numpy(x).mul(2.0).numpy()
    np.testing.assert_allclose(function(x), expected, rtol=1e-6)
'''


def new(path: str, title: str, part: str = "", root: Path = ROOT) -> int:
    """Make `modules/PATH` and its line in the curriculum. Raises Stop for a path that cannot be."""
    path = path.removeprefix("modules/").rstrip("/")
    if not re.fullmatch(TOPIC_PATH, path):
        raise Stop(f"{path!r} is no topic path (write lower-case words: ml/deep-learning/my-topic)")
    if not title.strip() or re.search(r'["\\{}\n]', title):
        raise Stop(f"{title!r} is no title (write plain words, without quotes and braces)")
    folder = root / "modules" / path
    if folder.exists():
        raise Stop(f"modules/{path} exists (choose another path)")
    parts = list(discover(root).parts)
    curriculum = root / "modules/curriculum.yml"
    text = curriculum.read_text("utf-8")
    named = re.findall(r"^  - part: *(.+?) *$", text, re.M)
    if part and part not in named:
        raise Stop(f"no part {part!r} in modules/curriculum.yml ({nearest(part, named)})")
    part = part or (parts or named)[-1]
    stem = folder.name.replace("-", "_")
    if stem[0].isdigit():
        raise Stop(f"{path!r} ends in a word that starts with a digit (it names Python functions)")
    folder.mkdir(parents=True)
    made = {
        "index.md": PAGE,
        f"{stem}_numpy.py": NUMPY,
        f"{stem}_torch.py": TORCH,
        f"test_{stem}.py": TEST,
    }
    for name, template in made.items():
        (folder / name).write_text(template.format(title=title.strip(), stem=stem), "utf-8")
    curriculum.write_text(_with_line(text, part, path), "utf-8")
    print(f"modules/{path}: {', '.join(made)}; listed under {part!r} in modules/curriculum.yml.")
    print(f"Next: edit the page, then  python -m scripts build --only {path}")
    return 0


def _with_line(text: str, part: str, path: str) -> str:
    """The curriculum with one more line at the end of a part."""
    lines = text.rstrip("\n").split("\n")
    start = next(n for n, line in enumerate(lines) if re.fullmatch(rf"  - part: *{re.escape(part)} *", line))
    ends = [n for n in range(start + 1, len(lines)) if lines[n].startswith("  - part:")]
    end = ends[0] if ends else len(lines)
    while not lines[end - 1].strip():
        end -= 1
    lines[start:end] = [re.sub(r"^    modules: *\[\] *$", "    modules:", line) for line in lines[start:end]]
    return "\n".join([*lines[:end], f"      - {{path: {path}}}", *lines[end:]]) + "\n"
