"""Jupyter notebooks: of a snippet with its result, and what every notebook of the site has in common."""

import ast
import hashlib

import nbformat
from nbformat import NotebookNode, v4

from scripts.results import Figure, Result
from scripts.snippets import Snippet


def notebook(snippet: Snippet, result: Result) -> str:
    """The notebook's text: the docstring as Markdown, the code, and what it printed and drew."""
    doc = ast.get_docstring(snippet.tree) if snippet.tree else None
    first, _, rest = (doc or snippet.stem).partition("\n")
    outputs = printed(result.stdout) + [figure_output(figure) for figure in result.figures.values()]
    code = v4.new_code_cell(_without_docstring(snippet), execution_count=1, outputs=outputs)
    return written([v4.new_markdown_cell(f"# {first}\n{rest}".strip()), code], snippet.path)


def printed(text: str) -> list[NotebookNode]:
    return [v4.new_output("stream", name="stdout", text=text)] if text else []


def figure_output(figure: Figure) -> NotebookNode:
    data = {"image/svg+xml": figure.svg, "text/plain": f"figure {figure.name!r}"}
    output: NotebookNode = v4.new_output("display_data", data=data)
    return output


def written(cells: list[NotebookNode], name: str) -> str:
    """The text of a notebook, the same in every build; `name` makes the ids of its cells."""
    for number, cell in enumerate(cells):  # nbformat draws random ids
        cell.id = hashlib.sha256(f"{name} {number}".encode()).hexdigest()[:8]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    nbformat.validate(whole)
    return str(nbformat.writes(whole)) + "\n"


def _without_docstring(snippet: Snippet) -> str:
    body = snippet.tree.body if snippet.tree else []
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        lines = snippet.source.split("\n")
        return "\n".join(lines[body[0].end_lineno :]).strip("\n")
    return snippet.source.strip("\n")
