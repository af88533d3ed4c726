"""Labs: scripts in cells that become a page, a notebook to work in, and one with solutions."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts import lab
from scripts.discover import discover
from scripts.problems import ROOT
from scripts.snippets import Snippet
from tests import mini
from tests.conftest import Build

LABS = [snippet for snippet in discover(ROOT).loose.values() if lab.is_lab(snippet)]
PAGE = """---
title: A lab
summary: What a lab is made of.
---

Before the cells.

[The lab](lab_mean.py)

After the cells.
"""
LAB = '''"""The mean, by hand."""

# %% [markdown]
# ## Means
#
# The mean of $x$ is $\\bar x$; see [the topic](../../modules/stats/mean/index.md#definition).

# %%
import matplotlib.pyplot as plt
import numpy as np

x = np.array([1.0, 2.0, 6.0])
print("three numbers")

# %% [markdown]
# **Task 1.** Write the mean.

# %% tags=["task"]
def mean(x: np.ndarray) -> float:
    """The mean of x (N,)."""
    # BEGIN SOLUTION
    return float(x.sum() / x.size)
    # END SOLUTION


# %% tags=["check"]
assert mean(x) == 3.0, "the sum of the entries over their number"
print("task 1: right")

# %%
fig, ax = plt.subplots(num="points", figsize=(4, 2))
ax.plot(x)
plt.show()

# %% [markdown]
# ![Three points that rise](lab_mean.py#points "How far do they rise?")
'''
SOLUTION = "    # BEGIN SOLUTION\n    return float(x.sum() / x.size)\n    # END SOLUTION\n"


@pytest.fixture
def lab_root(root: Path) -> Path:
    mini.write(root, "docs/notebooks/mean.md", PAGE)
    mini.write(root, "docs/notebooks/lab_mean.py", LAB)
    mini.edit(root, "mkdocs.yml", "  - modules\n", "  - modules\n  - notebooks/mean.md\n")
    return root


def test_a_lab_is_a_page_and_two_notebooks(lab_root: Path, run_build: Build) -> None:
    code, printed = run_build(lab_root)
    assert code == 0, printed
    folder = lab_root / "build/site/notebooks"
    html = re.sub("<span[^>]*>|</span>", "", (folder / "mean/index.html").read_text())
    assert html.index("three numbers") < html.index("Task 1.") < html.index("NotImplementedError")
    assert html.index("<summary>Solution") < html.index("x.size") < html.index("task 1: right")
    assert html.index("Before the cells") < html.index('id="means"') < html.index("After the cells")
    assert "lab_mean.points.svg" in html and "<math" in html and "SOLUTION" not in html and "\u241e" not in html
    assert 'href="../../modules/stats/mean/#definition"' in html

    empty, solved = (nbformat.read(folder / f"lab_mean{name}.ipynb", 4) for name in ("", "_solutions"))
    assert [cell.cell_type for cell in empty.cells] == [cell.cell_type for cell in solved.cells]
    assert not any(cell.get("outputs") for cell in empty.cells)
    assert "x.size" not in str(empty) and "NotImplementedError" in str(empty)
    given = [cell.get("outputs") for cell in solved.cells]
    assert [len(each) for each in given if each is not None] == [1, 0, 1, 1]
    assert given[1][0]["text"] == "three numbers\n" and "image/svg+xml" in given[5][0]["data"]
    assert ".py#" not in str(solved) and "../" not in str(solved)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("    # BEGIN SOLUTION\n", "", 19, "half a solution"),
        (
            SOLUTION,
            "    return 3.0\n",
            19,
            "without",
        ),
        ('# %% tags=["check"]', "# %%", 19, "nothing checks this task"),
        ('assert mean(x) == 3.0, "the sum of the entries over their number"', "mean(x)", 27, "cannot fail"),
        ("Write the mean.", "Write {{ lab_mean.x }}.", 16, "a value or a citation"),
        ('tags=["check"]', 'tags=["no"]', 26, "no such cell"),
        ("return float(", "return floot(", 22, "floot"),
        ("index.md#definition", "indx.md", 6, "broken link"),
        ("index.md#definition", "index.md#definitoin", 6, "no anchor"),
        ("$\\bar x$", "$\\barr x$", 6, "TeX"),
    ],
)
def test_faults_of_labs_say_their_line(
    lab_root: Path, run_build: Build, old: str, new: str, line: int, message: str
) -> None:
    mini.edit(lab_root, "docs/notebooks/lab_mean.py", old, new)
    code, printed = run_build(lab_root)
    assert code == 1
    assert any(f"lab_mean.py:{line}: " in row and message in row for row in printed.splitlines()), printed


@pytest.mark.parametrize(("body", "problems"), [("assert x == 3.0", 0), ("print(x)", 1)])
def test_a_check_may_assert_in_a_function_of_the_lab(lab_root: Path, body: str, problems: int) -> None:
    file, check = "docs/notebooks/lab_mean.py", 'assert mean(x) == 3.0, "the sum of the entries over their number"'
    mini.edit(lab_root, file, check, "compare(mean(x))")
    other = "def other() -> None:\n    assert True\n"
    mini.edit(
        lab_root, file, "x = np.array", f"def compare(x: float) -> None:\n    {body}\n\n\n{other}\n\nx = np.array"
    )
    (snippet,) = (each for each in discover(lab_root).loose.values() if lab.is_lab(each))
    assert [p.message for p in lab.check(snippet)] == ["a check that cannot fail"] * problems


@pytest.mark.parametrize("snippet", LABS, ids=[each.stem for each in LABS])
def test_the_checks_of_a_lab_tell_a_stub_from_a_solution(snippet: Snippet) -> None:
    """Each check, after its own task was left as it is given and all others were solved, stops."""
    found = lab.cells(snippet)
    for number, cell in enumerate(found):
        if cell.kind != "task":
            continue
        end = next(n for n, other in enumerate(found) if n > number and other.kind == "check")
        before = [each.text for each in found[:end] if each.kind != "markdown" and each is not cell]
        source = "\n".join([*before[:number], lab.stub(cell.text), found[end].text])
        assert "NotImplementedError" in source
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
        assert done.returncode == 1, f"{snippet.path}:{cell.line}: the check passes without a solution"
