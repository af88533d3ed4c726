"""Miniature sites for the engine's tests: small, whole, and broken on purpose one fault at a time."""

import shutil
from pathlib import Path

from scripts.problems import ROOT

Contents = dict[str, bytes]

SNIPPET = '''"""The mean of three numbers is two."""

import numpy as np


def mean(x: np.ndarray) -> float:
    """Mean of x (N,)."""
    return float(x.sum() / x.size)


if __name__ == "__main__":
    import matplotlib.pyplot as plt

    middle = mean(np.array([1.0, 2.0, 3.0]))
    print(f"mean: {middle}")
    fig, ax = plt.subplots(num="line", figsize=(4, 2))
    ax.plot([0.0, middle])
    plt.show()
    assert middle == 2.0
'''
TORCH = '''"""torch agrees with the mean of three numbers."""

import torch

torch_middle = torch.tensor([1.0, 2.0, 3.0]).mean().item()
assert torch_middle == 2.0
print("torch agrees")
'''
PAGE = """---
title: Mean
summary: What a mean is.
prerequisites: []
level: beginner
minutes: 5
tags: [basics]
---

The **mean** of $x_1, \\dots, x_n$ is {{ mean_numpy.middle:.1f }} here [@gauss1809, Section 1].

![A rising line](mean_numpy.py#line "How far does it rise?")

## Definition

$$
\\bar{x} = \\frac{1}{n} \\sum_{i=1}^{n} x_i
$$

## From scratch

[The mean, in full](mean_numpy.py)

[The function alone](mean_numpy.py#mean)

## In the frameworks

=== "PyTorch"

    [The mean in PyTorch](mean_torch.py)

See the [home page](../../../docs/index.md) or the [definition](#definition).
"""
HOME = """---
title: Home
summary: A miniature site.
---

A site of {{ site.topics }} topic: [the mean](../modules/stats/mean/index.md#definition).
"""
BIB = """@book{gauss1809,
  author = {Gauss, Carl Friedrich},
  title = {Theoria motus},
  year = {1809},
  publisher = {Perthes}
}
"""
CURRICULUM = "parts:\n  - part: Statistics\n    modules:\n      - {path: stats/mean}\n"


def make(root: Path, torch: bool = False) -> Path:
    """A whole miniature site in `root`. Without torch its snippets need NumPy only, and run faster."""
    page, curriculum = PAGE, CURRICULUM
    if not torch:
        page = page.replace("(mean_torch.py)", "(mean_other.py)")
        curriculum = curriculum.replace("mean}", "mean, frameworks: [numpy]}")
    write(root, "modules/curriculum.yml", curriculum)
    write(root, "modules/stats/mean/index.md", page)
    write(root, "modules/stats/mean/mean_numpy.py", SNIPPET)
    other = "mean_torch.py" if torch else "mean_other.py"
    source = TORCH if torch else '"""Two is two."""\n\ntwo = 2\nassert two == 2\n'
    write(root, f"modules/stats/mean/{other}", source)
    write(root, "docs/index.md", HOME)
    write(root, "docs/references.bib", BIB)
    shutil.copytree(ROOT / "docs/assets", root / "docs/assets", dirs_exist_ok=True)
    shutil.copytree(ROOT / "overrides", root / "overrides", dirs_exist_ok=True)
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    start, end = config.index("nav:"), config.index("theme:")
    nav = "nav:\n  - Home: index.md\n  - modules\n  - bibliography.md\n  - tags.md\n\n"
    write(root, "mkdocs.yml", config[:start] + nav + config[end:])
    return root


def write(root: Path, path: str, text: str | bytes) -> Path:
    """Write a file of the miniature site."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def edit(root: Path, path: str, old: str, new: str) -> None:
    """Replace text that must be there."""
    file = root / path
    text = file.read_text("utf-8")
    assert old in text, f"{old!r} is not in {path}"
    file.write_text(text.replace(old, new), "utf-8")


PAGE_PATH = "modules/stats/mean/index.md"
NUMPY_PATH = "modules/stats/mean/mean_numpy.py"


def contents(folder: Path) -> Contents:
    """Every file of a folder by its path."""
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def sources(root: Path) -> Contents:
    """What a build must not change."""
    return {k: v for k, v in contents(root).items() if not k.startswith((".cache/", "build/"))}
