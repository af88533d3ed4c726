"""What a page shows of a snippet: its code with what it printed, or one of its figures."""

import html
import posixpath
from typing import TYPE_CHECKING

from scripts import frame, lab
from scripts.markdown import Token, fenced, indented
from scripts.problems import nearest
from scripts.results import Figure, Result
from scripts.snippets import Snippet

if TYPE_CHECKING:
    from scripts.body import Body


def listing(body: "Body", token: Token, snippet: Snippet, symbol: str, caption: str) -> str:
    """A snippet's code with its caption and downloads, and what it printed when shown whole."""
    name = posixpath.basename(snippet.path)
    if symbol and symbol not in snippet.symbols and snippet.tree:
        message = f"{token['target']!r}: no function or class {symbol!r}"
        return body.problem(token.line, message, nearest(symbol, snippet.symbols))
    code = snippet.symbol_source(symbol) if symbol and snippet.tree else snippet.source
    here = body.page.link(snippet.url)
    result = (body.context.results or {}).get(snippet.path)
    links = [f"[{name}]({here}){{ download }}"]
    if result and not result.problem:
        links.append(f"[notebook]({here.removesuffix('.py')}.ipynb){{ download }}")
    if repository := frame.address_of(body.project, "blob"):
        links.append(f"[source]({repository}{snippet.path}){{ .source }}")
    lines = [heading(caption, " ".join(links)), "", fenced(code, f' {{ .python title="{name}" }}')]
    if result and result.problem:
        lines += ["", failure(result, "The snippet failed")]
    elif result and not symbol and result.stdout.strip():
        lines += ["", fenced(result.stdout, ' { .text .output title="Output" }')]
    return indented("\n".join(lines), token.indent).removeprefix(token.indent)


def lab_cells(body: "Body", token: Token, snippet: Snippet) -> str:
    """The lab as Markdown: each task as the learner gets it, its solution folded, and the check with what it says."""
    url = body.page.link(snippet.url.removesuffix(".py"))
    links = f"[{snippet.stem}.py]({url}.py){{ download }}"
    result = (body.context.results or {}).get(snippet.path)
    if result and not result.problem:
        links += f" [notebook to work in]({url}.ipynb){{ download }}"
        links += f" [notebook with solutions]({url}_solutions.ipynb){{ download }}"
    caption = body.text(token["text"], token.line)
    blocks = [heading(caption, links)]
    if result and result.problem:
        blocks.append(failure(result, "The lab failed"))
    inside = type(body)(body.context, body.page, body.topic, snippet.path)
    for cell, output in zip(lab.cells(snippet), lab.outputs(snippet, result), strict=False):
        if cell.kind == "markdown":
            blocks.append(inside.text(cell.text.strip("\n"), cell.line))
            continue
        blocks.append(fenced(lab.stub(cell.text), " { .python }"))
        if cell.kind == "task":
            solution = fenced(lab.with_solution(cell.text), " { .python }")
            blocks.append('??? success "Solution"\n\n' + indented(solution, "    "))
        if output:
            blocks.append(fenced(output, ' { .text .output title="Output" }'))
    return "\n\n".join(blocks)


def heading(caption: str, links: str) -> str:
    """What stands over a listing."""
    return f'<span class="caption">{caption}</span> <span class="downloads">{links}</span>\n{{: .listing }}'


def failure(result: Result, title: str) -> str:
    """Why there is no result."""
    text = indented(fenced(str(result.problem), "text"), "    ")
    return f'!!! failure "{"Not run here" if result.skipped else title}"\n\n{text}'


def figure(body: "Body", token: Token, snippet: Snippet, name: str) -> str:
    alt, caption = token["text"].strip(), token["title"].strip()
    if not alt:
        return body.problem(token.line, f"the figure {name!r} has no alt text", "say what one sees")
    if not caption:
        return body.problem(token.line, f"the figure {name!r} has no caption", "say which question it answers")
    result = (body.context.results or {}).get(snippet.path)
    if result and result.problem:
        return mark(f"no figure {name!r}: {snippet.path} gave no result")
    known = set(result.figures) if result else snippet.figure_names
    if name not in known:
        return body.problem(token.line, f"{snippet.path} draws no figure {name!r}", nearest(name, known))
    body.uses.figures.add((snippet.path, name))
    figure = result.figures[name] if result else Figure(name, "", 0, 0)
    source = body.page.link(snippet.url.removesuffix(".py"))
    size = f'width="{figure.width}" height="{figure.height}" loading="lazy"'
    image = f"![{body.text(alt, token.line, plain=True)}]({source}.{name}.svg){{ {size} }}"
    lines = [
        f'{image}\n<span class="caption">{body.text(caption, token.line)}</span>',
        "{: .figure }",
    ]
    return indented("\n".join(lines), token.indent).removeprefix(token.indent)


def mark(message: str) -> str:
    """What stands on a page in place of a form that could not be filled. A failed snippet was reported already."""
    return f"<mark>{html.escape(message)}</mark>"
