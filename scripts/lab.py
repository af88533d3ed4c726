"""A lab: a script in cells (py:percent), shown on its page, to be worked through as a notebook.

A file named lab_*.py. `# %% [markdown]` starts text, `# %%` code, `# %% tags=["task"]` code with lines for the learner
to write, between `# BEGIN SOLUTION` and `# END SOLUTION`, and `# %% tags=["check"]` asserts that tell right from wrong.
"""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from nbformat import NotebookNode, v4

from scripts.notebook import figure_output, printed, written
from scripts.problems import Problem
from scripts.results import VISIBLE, Result
from scripts.snippets import Snippet

START = re.compile(r'^# %%(?: (?:\[(markdown)\]|tags=\["(task|check)"\]))?[ ]*$', re.M)
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n(.*?)^ *# END SOLUTION\n", re.M | re.S)
ASSERTING = re.compile(r"^def (\w+)(?=(?:(?!^def ).)*?assert)", re.M | re.S)
MARKER = re.compile(r"^ *# (?:BEGIN|END) SOLUTION\n", re.M)
FIGURE = re.compile(r"^!\[[^\]]*\]\([^)#]*\.py#[^)]*\)\n?", re.M)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")
END_OF_CELL = chr(int(VISIBLE[0x1E]))  # what scripts/child.py prints at the start of each cell, as a page shows it


@dataclass(frozen=True)
class Cell:
    """`kind`: markdown, code, task or check. `line`: that of its first line of text."""

    kind: str
    text: str
    line: int


def is_lab(snippet: Snippet) -> bool:
    return snippet.stem.startswith("lab_")


def cells(snippet: Snippet) -> list[Cell]:
    """The cells in order; the docstring before the first is for those who open the file."""
    starts = list(START.finditer(snippet.source))
    ends = [*(start.start() for start in starts[1:]), len(snippet.source)]
    found = []
    for start, end in zip(starts, ends, strict=True):
        text = snippet.source[start.end() + 1 : end].rstrip("\n") + "\n"
        if start[1]:
            text = re.sub(r"^# ?", "", text, flags=re.M)
        found.append(Cell(start[1] or start[2] or "code", text, snippet.source.count("\n", 0, start.end()) + 2))
    return found


def stub(text: str) -> str:
    """A task as the learner gets it."""
    return SOLUTION.sub(r'\1raise NotImplementedError("your code stands here")\n', text)


def with_solution(text: str) -> str:
    """A task with its solution, without the marks around it."""
    return MARKER.sub("", text)


def check(snippet: Snippet) -> Iterable[Problem]:
    """Tasks that have nothing to do or nothing that checks them, and text that a notebook cannot show."""
    found = cells(snippet)
    tags = [row for row in re.finditer(r"^# %%.*$", snippet.source, re.M) if not START.fullmatch(row[0])]
    for row in tags:
        line = snippet.source.count("\n", 0, row.start()) + 1
        yield Problem(snippet.path, line, f"no such cell: {row[0]}", 'write # %%, # %% [markdown] or tags=["task"]')
    asserting = {"assert"}  # and the lab's own functions that do
    for number, cell in enumerate(found):
        if cell.kind == "code":
            asserting |= {f"{name}(" for name in ASSERTING.findall(cell.text)}
        left = SOLUTION.sub("", cell.text)
        if cell.kind == "task" and left == cell.text:
            yield Problem(snippet.path, cell.line, "a task without a solution", "write # BEGIN and # END SOLUTION")
        if MARKER.search(left) or (cell.kind != "task" and left != cell.text):
            yield Problem(snippet.path, cell.line, "half a solution", "# BEGIN and # END SOLUTION, in a task")
        after = [other.kind for other in found[number + 1 :] if other.kind in ("task", "check")]
        if cell.kind == "task" and after[:1] != ["check"]:
            yield Problem(snippet.path, cell.line, "nothing checks this task", "let a check follow")
        if cell.kind == "check" and not any(word in cell.text for word in asserting):
            yield Problem(snippet.path, cell.line, "a check that cannot fail", "assert something")
        if cell.kind == "markdown" and re.search(r"\{\{|\[@", cell.text):
            yield Problem(snippet.path, cell.line, "a value or a citation in a lab", "a notebook would not show it")


def outputs(snippet: Snippet, result: Result | None) -> list[str]:
    """What each cell printed."""
    texts = result.stdout.split(END_OF_CELL)[1:] if result else []
    return [text.strip("\n") for text in texts] or [""] * len(cells(snippet))


def notebooks(snippet: Snippet, result: Result, address: str) -> tuple[str, str]:
    """The notebook to work in, without results, and the executed one with the solutions."""
    empty, solved, number = [], [], 0
    for cell, output in zip(cells(snippet), outputs(snippet, result), strict=False):
        if cell.kind == "markdown":
            text = _plain(cell.text, snippet, address)
            empty.append(v4.new_markdown_cell(text))
            solved.append(v4.new_markdown_cell(text))
            continue
        gave: list[NotebookNode] = printed(output + "\n" if output else "")
        names = [figure for name, figure in result.figures.items() if f'num="{name}"' in cell.text]
        gave += [figure_output(figure) for figure in names]
        empty.append(v4.new_code_cell(stub(cell.text).strip("\n")))
        number += 1
        text = with_solution(cell.text).strip("\n")
        solved.append(v4.new_code_cell(text, execution_count=number, outputs=gave))
    return written(empty, f"{snippet.path} empty"), written(solved, f"{snippet.path} solved")


def _plain(text: str, snippet: Snippet, address: str) -> str:
    """Markdown for a notebook that may lie anywhere: its figures are drawn there, its links lead to the site."""
    folder = snippet.url.rpartition("/")[0]

    def link(match: re.Match[str]) -> str:
        if not address:
            return match[1]
        target = posixpath.normpath(posixpath.join(folder, match[2].replace("index.md", "").replace(".md", "/")))
        return f"[{match[1]}]({address}{target})"

    return LINK.sub(link, FIGURE.sub("", text)).strip("\n")
