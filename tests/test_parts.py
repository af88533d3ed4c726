"""Formulas, figures, references, notebooks, built HTML: the small parts."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts import figures
from scripts.check import check_site, resolve
from scripts.context import Uses
from scripts.notebook import notebook
from scripts.problems import ROOT, nearest
from scripts.references import read_bibliography
from scripts.results import Figure, Result
from scripts.site import finish
from scripts.snippets import Snippet
from scripts.tex import Tex, TexError


def test_tex_keeps_and_fills(tmp_path: Path) -> None:
    tex = Tex(tmp_path)
    mark = tex.mark(r"\frac{a}{b} < c", display=False)
    shown = tex.fill(f"<p>{mark}</p>")
    assert "katex-mathml" in shown and r"\frac{a}{b} &lt; c" in shown
    again = Tex(tmp_path)  # another process: from the file, without the engine
    assert again.fill(f"<p>{mark}</p>") == shown
    assert "_engine" not in vars(again)


@pytest.mark.parametrize("formula", [r"\frac{1}{", r"\nosuch", "x^", "a & b", r"\begin{foo}\end{foo}", "é"])
def test_tex_refuses(tmp_path: Path, formula: str) -> None:
    with pytest.raises(TexError):
        Tex(tmp_path).mark(formula, display=False)


def test_tex_never_publishes_a_mark_without_its_formula(tmp_path: Path) -> None:
    with pytest.raises(TexError, match="was not rendered"):
        Tex(tmp_path).fill(f'<span class="tex" data-tex="{"0" * 24}"></span>')


DRAW = """
import sys; sys.path.insert(0, {root!r})
import matplotlib; matplotlib.use("svg")
import matplotlib.pyplot as plt
from scripts import figures
plt.rcParams.update(figures.style())
fig, ax = plt.subplots(num="x")
ax.plot([1, 2, 3], label="π"); ax.plot([3, 2, 1], label="b"); ax.legend(); ax.set_yscale("log")
ax.annotate("here", (1, 2), (1.5, 2.5), arrowprops=dict(arrowstyle="->")); ax.bar([0, 1], [1, 2])
print(figures.to_svg(fig)[0])
"""


def test_figure_follows_the_theme_and_is_the_same_each_time() -> None:
    command = [sys.executable, "-c", DRAW.format(root=str(ROOT))]
    one, two = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert one == two
    drawn = one.replace(figures.CSS, "")
    assert "#0" not in drawn.replace("#000000", ""), "a reserved color is left"
    assert "#000000" not in drawn, "black vanishes on a dark page"
    for role in ("ink", "grid", "c0", "c1"):
        assert f"var(--{role})" in drawn, role
    assert "<date>" not in one.lower()


def test_notebook_is_valid_and_the_same_each_time() -> None:
    source = '"""Claim.\n\nMore."""\n\nx = 1\nprint(x)\nassert x\n'
    result = Result("1\n", {"f": Figure("f", "<svg/>", 1, 1)}, {"x": 1}, 0.1)
    text = notebook(Snippet("a.py", source), result)
    assert text == notebook(Snippet("a.py", source), result)
    read = nbformat.reads(text, as_version=4)
    nbformat.validate(read)
    assert [cell.cell_type for cell in read.cells] == ["markdown", "code"]
    assert read.cells[0].source == "# Claim.\n\nMore."
    assert read.cells[1].source == "x = 1\nprint(x)\nassert x"
    assert read.cells[1].outputs[0].text == "1\n"
    assert json.loads(text)["nbformat"] == 4


ENTRIES = """@article{erdos1959,
  author = {Erd{\\H{o}}s, Paul and R{\\'e}nyi, Alfr{\\'e}d},
  title = {On {Random} Graphs},
  journal = {Publ. Math.},
  volume = {6},
  pages = {290--297},
  year = {1959},
  eprint = {1.2}
}
@misc{a2020, author = {A, B and C, D and E, F}, title = {T}, year = {2020}, url = {https://x.org/~a?a=1&b=2}}
"""


def test_bibliography(tmp_path: Path) -> None:
    file = tmp_path / "r.bib"
    file.write_text(ENTRIES)
    entries, problems = read_bibliography(file, "r.bib")
    assert not problems
    assert entries["erdos1959"].citation == "Erdős and Rényi, 1959"
    expected = 'Paul Erdős and Alfréd Rényi (1959). <a href="https://arxiv.org/abs/1.2">On Random Graphs</a>'
    assert entries["erdos1959"].markup() == f"{expected}. Publ. Math. 6, 290–297, arXiv:1.2."
    assert entries["a2020"].citation == "A et al., 2020"
    assert 'href="https://x.org/~a?a=1&amp;b=2"' in entries["a2020"].markup()
    assert entries["a2020"].line == 10


def test_nearest_name() -> None:
    assert nearest("keep_maen", ["keep_mean", "other"]) == "did you mean 'keep_mean'?"
    assert nearest("zzz", ["b", "a"]) == "there is: a, b"
    assert nearest("zzz", []) == "there is none"


@pytest.mark.parametrize(
    ("page", "link", "target"),
    [
        ("index.html", "a/", "a/index.html"),
        ("a/index.html", "../", "index.html"),
        ("a/index.html", "../b/c.svg", "b/c.svg"),
        ("a/index.html", "", "a/index.html"),
        ("404.html", "/assets/x.css", "assets/x.css"),
        ("index.html", ".", "index.html"),
        ("a/index.html", "..", "index.html"),
        ("a/index.html", "b%20c.svg", "a/b c.svg"),
    ],
)
def test_links_of_built_pages(page: str, link: str, target: str) -> None:
    assert resolve(page, link) == target


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<a href="gone/">x</a>', "broken link to 'gone/'"),
        ('<a href="#gone">x</a>', "no anchor '#gone'"),
        ('<img src="https://other.org/x.png" alt="x">', "loads https://other.org/x.png from another host"),
        ('<script src="https://other.org/x.js"></script>', "from another host"),
        ('<link rel="stylesheet" href="https://other.org/x.css">', "from another host"),
        ('<img src="index.html">', "without alt text"),
        ('<b onclick="x()">x</b>', "<b> with active content: onclick='x()'"),
        ('<a href=" JavaScript:x()">x</a>', "active content"),
        ('<b id="x"></b><i id="x"></i>', "two elements have the id 'x'"),
        ('<a href="https://other.org/">x</a>', ""),
        ('<b id="here"></b><a href="#here">x</a>', ""),
    ],
)
def test_check_of_built_pages(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    found = check_site(tmp_path, Uses())
    assert len(found) == bool(message)
    assert not found or message in str(found[0])


def test_finish_leaves_no_empty_header(tmp_path: Path) -> None:
    page = "<table>\n<thead>\n<tr>\n<th>At a glance</th>\n<th></th>\n</tr></thead></table>"
    page += "<table><th></th><th>b</th></table>"
    expected = '<table class="glance">\n<thead>\n<tr>\n<th colspan="2">At a glance</th>\n</tr></thead></table>'
    assert finish(page, Tex(tmp_path)) == expected + "<table><td></td><th>b</th></table>"


def test_a_box_at_a_glance_may_compare(tmp_path: Path) -> None:
    page = "<table>\n<thead>\n<tr>\n<th>At a glance</th>\n<th>ReLU</th>\n<th>GELU</th>\n</tr></thead></table>"
    assert finish(page, Tex(tmp_path)) == page.replace("<table>", '<table class="glance">')


def test_finish_makes_figures(tmp_path: Path) -> None:
    page = '<p class="figure"><img alt="a" src="b" />\n<span class="caption">c <em>d</em></span></p>'
    expected = '<figure><img alt="a" src="b" /><figcaption>c <em>d</em></figcaption></figure>'
    assert finish(page, Tex(tmp_path)) == expected


def test_symbols_methods_and_names() -> None:
    source = "import a\n\n\n@dec\ndef f(x):\n    return x\n\n\nclass C:\n    def m(self):\n        return 1\n\n\n"
    source += "if __name__ == '__main__':\n    y, _z = 1, 2\n    for i in range(3):\n        w = i\n"
    snippet = Snippet("s.py", source)
    assert snippet.symbol_source("f") == "@dec\ndef f(x):\n    return x\n"
    assert snippet.symbol_source("C.m") == "def m(self):\n    return 1\n"
    assert snippet.module_names == {"y", "i", "w"}
