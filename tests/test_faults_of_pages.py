"""Faults in pages, front matter, configuration and folders (F23 to F35, F37): refused, and the old site stays."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import build
from scripts.problems import Stop
from tests import mini
from tests.conftest import Build
from tests.mini import PAGE_PATH

FOLDER = "modules/stats/mean"
TEXT = "The **mean**"  # in line 10 of the page
DOC = "---\ntitle: X\nsummary: X.\n---\n\nText.\n"
NUMPY = mini.CURRICULUM.replace("mean}", "mean, frameworks: [numpy]}")
DEEP = "[" * 50_000


def refused(root: Path, run_build: Build, message: str, at: str = "") -> str:
    """The build fails with this message at this place, and publishes nothing."""
    code, printed = run_build(root)
    lines = [line for line in printed.splitlines() if message in line and line.startswith(at)]
    assert code == 1 and lines, printed
    assert not (root / "build/site").exists() and "nothing is published" in printed
    assert "Traceback" not in printed
    return printed


# F30, and F29 where a formula could load something: what stands in the page, what is said, and on which line
ACTIVE = {
    "iframe": ('<iframe src="https://x.org"></iframe>', 10),
    "capitals": ('<IFRAME SRC="https://x.org"></IFRAME>', 10),
    "script with a slash": ("<script/x>alert(1)</script>", 10),
    "script that does not end": ("<script src=//x.org/a.js", 0),
    "script behind >": ('<b title=">"><script>alert(1)</script></b>', 10),
    "script in svg": ("<svg><script>alert(1)</script></svg>", 10),
    "script in template": ("<template><script>alert(1)</script></template>", 10),
    "script in what looks like code": ("\n\n<div>`<script>alert(1)</script>`</div>\n\n", 0),
    "svg onload": ("<svg onload=alert(1)></svg>", 10),
    "svg animate": ('<svg><animate attributeName="href" values="javascript:alert(1)"/></svg>', 10),
    "xlink": ('<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>', 10),
    "onerror": ('<img src="x" onerror="alert(1)" alt="x">', 10),
    "onerror after a slash": ('<img src="x"/onerror=alert(1) alt="x">', 10),
    "onerror in the next line": ('<img src="x"\nonerror="alert(1)" alt="x">', 10),
    "onerror behind >": ('<img alt=">" src="x" onerror="alert(1)">', 0),
    "noscript": ('<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>', 10),
    "object": ('<object data="x.swf"></object>', 10),
    "frame": ('<frameset><frame src="https://x.org"></frameset>', 10),
    "form": ('<form action="https://x.org"><input name=a></form>', 10),
    "refresh": ('<meta http-equiv="refresh" content="0;url=https://x.org">', 10),
    "base": ('<base href="https://x.org/">', 10),
    "style": ("<style>body{display:none}</style>", 10),
    "capital scheme": ("[x](JAVASCRIPT:alert)", 10),
    "entity in a scheme": ('<a href="javascript&#58;alert(1)">x</a>', 10),
    "entity in a link": ("[x](javascript&#58;alert(1))", 10),
    "tab in a scheme": ('<a href="java&#9;script:alert(1)">x</a>', 10),
    "break in a scheme": ('<a href="\tjava\nscript:alert(1)">x</a>', 10),
    "vbscript": ("[x](vbscript:x)", 10),
    "data": ("[x](data:text/html,hi)", 10),
    "data in HTML": ('<a href="data:text/html,hi">x</a>', 10),
    "data image": ("![x](data:image/svg+xml;base64,AAAA)", 10),
    "file": ("[x](file:///etc/passwd)", 10),
    "button": ('<button formaction="javascript:alert(1)">x</button>', 10),
    "reference": ("[x][y]\n\n[y]: javascript:alert(1)\n\nThen", 10),
    "short reference": ("[y]\n\n[y]: <javascript:alert(1)>\n\nThen", 12),
    "attribute list": ('**bold**{: onclick="x()" }', 0),
    "attribute list of a link": ('[x](#definition){ onclick="x()" }', 0),
    "attribute list of a paragraph": ("Paragraph\n{: onclick=x }\n\nmore ", 0),
    "attribute list with an address": ('[x](#definition){ href="javascript:alert(1)" }', 0),
    "Markdown in HTML": ('<div markdown="1">\n[x](javascript:alert)\n</div>\n\n', 11),
    "handler beside Markdown": ('<div markdown onclick="x()">\nx\n</div>\n\n', 10),
    "foreign image": ("![x](https://x.org/a.png)", 0),
    "foreign image without scheme": ('<img src="//x.org/a.png" alt="x">', 0),
    "foreign srcset": ('<img src="/assets/favicon.svg" srcset="https://x.org/a.png 2x" alt="x">', 0),
    "foreign poster": ('<video poster="https://x.org/a.png"></video>', 0),
    "foreign input": ('<input type="image" src="https://x.org/a.png" alt="x">', 0),
    "foreign style": ('<b style="background:url(https://x.org/a.png)">x</b>', 0),
    "foreign use": ('<svg><use href="https://x.org/a.svg#x"/></svg>', 0),
    "ping": ('<a href="#definition" ping="https://x.org">x</a>', 0),
    "link in a formula": (r"$\href{javascript:alert(1)}{x}$", 10),
    "image in a formula": (r"$\includegraphics{https://x.org/a.png}$", 10),
    "class in a formula": (r"$\htmlClass{a}{x}$", 10),
}


@pytest.mark.parametrize("name", ACTIVE)
def test_active_content_is_refused(root: Path, run_build: Build, name: str) -> None:
    markup, line = ACTIVE[name]
    mini.edit(root, PAGE_PATH, TEXT, f"{markup} {TEXT}")
    refused(root, run_build, "", f"{PAGE_PATH}:{line}: " if line else f"{PAGE_PATH}: ")


@pytest.mark.parametrize("comment", ["<!--> <script>alert(1)</script> -->", "<!-- --!> <script>x</script> -->"])
def test_comments_are_not_published(root: Path, run_build: Build, comment: str) -> None:
    mini.edit(root, PAGE_PATH, TEXT, f"{comment} {TEXT}")  # browsers end these two before the script
    assert run_build(root)[0] == 0
    html = (root / "build/site" / FOLDER / "index.html").read_text()
    assert "alert(1)" not in html and "<script>x" not in html


# F29, F32, F34: what stands in the page, what is said; all of them in line 10
FORMS = {
    "open display": ("\n\n$$\nx = 1\n\nText", "12: a $ without its partner"),
    "display in a line": ("$$x$$ and", "10: a $ without its partner"),
    "price": ("Costs $5 and $6", "10: a $ without its partner"),
    "environment": (r"$\begin{nosuch}x\end{nosuch}$", "10: TeX: No such environment: nosuch"),
    "open environment": ("\n\n$$\n\\begin{aligned}x\n$$\n\n", "12: TeX: "),
    "endless macro": (r"$\def\a{\a\a}\a$", "10: TeX: Too many expansions"),
    "nesting": (f"${'{' * 3000}x{'}' * 3000}$", "10: TeX: "),
    "image": ("![x](nosuch.png)", "10: broken link to 'nosuch.png'"),
    "asset": ("![x](../../../docs/assets/favicn.svg)", "10: broken link"),
    "image in HTML": ('<img src="nosuch.png" alt="x">', " broken link to 'nosuch.png'"),
    "link in HTML": ('<a href="nosuch/">x</a>', " broken link to 'nosuch/'"),
    "anchor of another page": ("[x](../../../docs/index.md#nosuch)", "10: no anchor"),
    "anchor in HTML": ('<a href="../../../#nosuch">x</a>', "no anchor"),
    "page": ("[x](../../../docs/indx.md)", "10: broken link to '../../../docs/indx.md' (did you mean"),
    "absolute": ("[x](/modules/stats/mean/)", "10: broken link"),
    "nothing": ("[x]()", "10: a link without a target"),
    "unknown reference": ("[x][nosuch]", "10: a reference link"),
    "spaces": ("[x](a b.md)", "broken link to 'a b.md'"),
    "brackets": ("[a [b] c](nosuch.md)", "10: broken link"),
    "not alone": ("See [x](mean_numpy.py) here", "10: 'mean_numpy.py' is not alone"),
}


@pytest.mark.parametrize("name", FORMS)
def test_bad_forms(root: Path, run_build: Build, name: str) -> None:
    text, message = FORMS[name]
    mini.edit(root, PAGE_PATH, TEXT, f"{text} {TEXT}")
    refused(root, run_build, message, f"{PAGE_PATH}:")


# F26: what stands in place of the snippet's name, and what is said in line 22
INCLUDES = {
    "NUL": ("mean\0.py", "control character U+0000"),
    "NUL in percent": ("mean%00.py", "no snippet"),
    "percent": ("..%2f..%2fx.py", "no snippet"),
    "drive": ("C:\\x.py", "refused"),
    "home": ("~/x.py", "no snippet"),
    "file": ("file:///etc/x.py", "refused link"),
    "query": ("mean_numpy.py?x", "broken link"),
    "image outside": ("../../../../../etc/passwd.png", "broken link"),
    "folder": ("../mean", "broken link"),
    "test": ("test_mean.py", "no snippet"),
}


@pytest.mark.parametrize("name", INCLUDES)
def test_bad_includes(root: Path, run_build: Build, name: str) -> None:
    target, message = INCLUDES[name]
    mini.write(root, f"{FOLDER}/test_mean.py", "")
    mini.edit(root, PAGE_PATH, "(mean_numpy.py)", f"({target})")
    refused(root, run_build, message, f"{PAGE_PATH}:22: ")


SECRET = "secret-4711"


def outside(root: Path) -> Path:
    """A folder beside the site with one of each, every file with a secret in it."""
    folder = root.parent / "outside"
    shutil.copytree(root, folder)
    for file in folder.rglob("*"):
        if file.suffix in (".md", ".py", ".bib", ".yml", ".svg", ".html") and file.is_file():
            file.write_text(file.read_text() + f"\n# {SECRET}\n")
    return folder


@pytest.mark.parametrize(
    "path",
    [
        f"{FOLDER}/mean_other.py",
        PAGE_PATH,
        FOLDER,
        "modules",
        "modules/curriculum.yml",
        "docs/index.md",
        "docs/references.bib",
        "docs/assets/favicon.svg",
        "docs/assets",
        "overrides/main.html",
        "overrides",
    ],
)
def test_links_out_of_the_tree_are_refused(root: Path, run_build: Build, path: str) -> None:
    there = outside(root) / path
    shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()
    (root / path).symlink_to(there)
    printed = refused(root, run_build, "is a symbolic link", path)
    assert SECRET not in printed
    if not path.startswith("overrides"):  # these the generator reads, and nothing of them is published
        shown = [f for f in (root / "build").rglob("*") if f.is_file() and SECRET.encode() in f.read_bytes()]
        assert not shown


def test_a_configuration_outside_is_refused(root: Path) -> None:
    there = outside(root) / "mkdocs.yml"
    (root / "mkdocs.yml").unlink()
    (root / "mkdocs.yml").symlink_to(there)
    with pytest.raises(Stop, match=r"mkdocs\.yml: is a symbolic link"):
        build.build(build.Options(root=root))


def test_a_pipe_is_not_waited_for(root: Path, run_build: Build) -> None:
    os.mkfifo(root / FOLDER / "pipe.py")
    refused(root, run_build, "is no regular file", f"{FOLDER}/pipe.py")


# F24: files that are added, where it is said, and what
OWNERS: dict[str, tuple[dict[str, str], str, str]] = {
    "topic folder in capitals": (
        {"modules/Stats/Mean/index.md": mini.PAGE},
        PAGE_PATH,
        "has the same place on the site as modules/Stats/Mean/index.md",
    ),
    "page in capitals": ({f"{FOLDER}/Index.md": DOC}, PAGE_PATH, f"the same place on the site as {FOLDER}/Index.md"),
    "snippet in capitals": (
        {f"{FOLDER}/Mean_numpy.py": mini.SNIPPET},
        mini.NUMPY_PATH,
        f"the same place on the site as {FOLDER}/Mean_numpy.py",
    ),
    "page in docs": (
        {f"docs/{PAGE_PATH}": DOC},
        f"docs/{PAGE_PATH}",
        f"has the same place on the site as {PAGE_PATH}",
    ),
    "two forms": (
        {"docs/about.md": DOC, "docs/about/index.md": DOC},
        "docs/about.md",
        "has the same place on the site as docs/about/index.md",
    ),
    "generated page": ({"docs/bibliography.md": DOC}, "docs/bibliography.md", "as docs/references.bib"),
    "folder without a line": ({"modules/stats/x/x_numpy.py": mini.SNIPPET}, "modules/stats/x/x_numpy.py", "no line in"),
    "second page": ({f"{FOLDER}/more.md": mini.PAGE}, f"{FOLDER}/more.md", "is no page"),
    "line twice": (
        {"modules/curriculum.yml": f"{NUMPY}      - {{path: stats/mean}}\n"},
        "modules/curriculum.yml:5",
        "the topic 'stats/mean' is listed twice, first in line 4",
    ),
    "line in capitals": (
        {"modules/curriculum.yml": f"{NUMPY}      - {{path: Stats/Mean}}\n"},
        "modules/curriculum.yml:5",
        "'Stats/Mean' does not match",
    ),
    "line without a folder": (
        {"modules/curriculum.yml": f"{NUMPY}      - {{path: stats/maen}}\n"},
        "modules/curriculum.yml:5",
        "no page modules/stats/maen/index.md (did you mean 'stats/mean'?)",
    ),
}


@pytest.mark.parametrize("name", OWNERS)
def test_every_place_has_one_owner(root: Path, run_build: Build, name: str) -> None:
    files, place, message = OWNERS[name]
    for path, text in files.items():
        mini.write(root, path, text)
    refused(root, run_build, message, f"{place}: ")


# F23: what stands in the page's front matter in place of what, the line, and what is said
FRONTS = {
    "nested": ("tags: [basics]", f"tags: {DEEP}", 7, "YAML nested more than 20 deep"),
    "key twice": ("minutes: 5", "minutes: 5\nminutes: 6", 7, "the key 'minutes' stands here a second time"),
    "tab": ("minutes: 5", "\tminutes: 5", 6, "not valid YAML in column 1"),
    "Python": ("[basics]", '!!python/object/apply:os.system ["true"]', 7, "not valid YAML in column 7"),
    "list as key": ("minutes: 5", "? [a]\n: 1\nminutes: 5", 6, "not valid YAML in column 3"),
    "no date": ("[basics]", "2020-13-45", 2, "not valid YAML: month must be in 1..12"),
    "infinite": ("minutes: 5", "minutes: .inf", 6, "minutes: inf is not of type 'integer'"),
    "markup in the title": ("title: Mean", 'title: "<script>alert(1)</script>"', 2, "is not plain text"),
    "link in the title": ("title: Mean", 'title: "[a](b)"', 2, "is not plain text"),
    "template in the title": ("title: Mean", 'title: "{{ x }}"', 2, "is not plain text"),
    "direction in the title": ("title: Mean", 'title: "a\\u202eb"', 2, "is not plain text"),
    "quote in the summary": ("summary: What", "summary: '\"><script>alert(1)</script>'  # What", 3, "is not plain"),
    "markup in a tag": ("[basics]", '["<b>"]', 7, "is not plain text"),
}


@pytest.mark.parametrize("name", FRONTS)
def test_bad_front_matter(root: Path, run_build: Build, name: str) -> None:
    old, new, line, message = FRONTS[name]
    mini.edit(root, PAGE_PATH, old, new)
    refused(root, run_build, message, f"{PAGE_PATH}:{line}: ")


CURRICULA: dict[str, tuple[str | bytes, str]] = {
    "bad": ("parts: [\n", "2: not valid YAML in column 1"),
    "alias": ("a: &a [x]\nparts: *a\n", "2: YAML alias"),
    "nested": (f"parts: {DEEP}", "1: YAML nested more than 20 deep"),
    "list": ("- a\n", "1: ['a'] is not of type 'object'"),
    "empty": ("", "1: None is not of type 'object'"),
    "key twice": ("parts: []\nparts: []\n", "2: the key 'parts' stands here a second time"),
    "part without topics": ("parts:\n  - part: x\n    modules:\n", "3: parts.0.modules: None is not of type 'array'"),
    "markup": ("parts:\n  - part: <b>x\n    modules: []\n", "2: parts.0.part: '<b>x' is not plain text"),
    "bytes": (b"parts: \xff", " not UTF-8: byte 7"),
}


@pytest.mark.parametrize("name", CURRICULA)
def test_bad_curriculum(root: Path, run_build: Build, name: str) -> None:
    data, message = CURRICULA[name]
    mini.write(root, "modules/curriculum.yml", data)
    refused(root, run_build, f"modules/curriculum.yml:{message}", "modules/curriculum.yml:")


CONFIGURATIONS: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "bad": (lambda text: f"{text}x: [\n", r"mkdocs\.yml:\d+:1: not valid YAML: did not find expected node content"),
    "empty": (lambda text: "", r"mkdocs\.yml: no theme with a custom_dir"),
    "list": (lambda text: "- a\n", r"mkdocs\.yml: no theme with a custom_dir"),
    "theme by name": (lambda text: "theme: material\n", r"mkdocs\.yml: no theme with a custom_dir"),
    "navigation": (lambda text: text.replace("\nnav:", "\nnav: x\nx:"), r"mkdocs\.yml: nav is no list"),
    "alias": (lambda text: f"{text}a: &a [x]\nb: [*a, *a]\n", r"mkdocs\.yml:\d+: YAML alias"),
    "nested": (lambda text: f"{text}x: {DEEP}", r"mkdocs\.yml:\d+: YAML nested more than 20 deep"),
    "bytes": (lambda text: b"site_name: \xff", r"mkdocs\.yml: not UTF-8: byte 11"),
    "Python": (
        lambda text: f'{text}extra_css: !!python/object/apply:os.mkdir ["made"]\n',
        r"mkdocs\.yml:\d+:\d+: not valid YAML: could not determine a constructor",
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_bad_configuration(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    change, message = CONFIGURATIONS[name]
    monkeypatch.chdir(root)
    mini.write(root, "mkdocs.yml", change((root / "mkdocs.yml").read_text()))
    with pytest.raises(Stop, match=message):
        build.build(build.Options(root=root))
    assert not (root / "made").exists(), "what a tag named was called"
    assert not (root / "build/site").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - search", "  - nosuch", 'The "nosuch" plugin is not installed'),
        ("  - abbr", "  - nosuch", "Failed to load extension 'nosuch'"),
        ("extra: {", "nosuch: 1\nextra: {", "Unrecognised configuration name: nosuch"),
        ("custom_dir: overrides", "custom_dir: nosuch", "does not exist"),
    ],
)
def test_configuration_that_the_generator_refuses(
    root: Path, run_build: Build, old: str, new: str, message: str
) -> None:
    mini.edit(root, "mkdocs.yml", old, new)
    refused(root, run_build, message, "mkdocs.yml: MkDocs: ")


def test_bad_template(root: Path, run_build: Build) -> None:
    mini.write(root, "overrides/main.html", '{% extends "base.html" %}{% block libs %}')
    refused(root, run_build, "Unexpected end of template", "mkdocs.yml: MkDocs: ")


@pytest.mark.parametrize(("data", "message"), [(b"\xff", "not UTF-8: byte 0"), ("\u202e".encode(), "U+202E")])
@pytest.mark.parametrize("path", ["docs/references.bib", "docs/index.md", f"{FOLDER}/mean_other.py"])
def test_bad_bytes(root: Path, run_build: Build, path: str, data: bytes, message: str) -> None:
    file = root / path
    file.write_bytes(data + file.read_bytes())
    refused(root, run_build, message, path)


def test_bytes_of_a_test_are_nobodys_fault(root: Path, run_build: Build) -> None:
    mini.write(root, f"{FOLDER}/test_mean.py", b"def test_x(): pass\n# \xff\n")
    assert run_build(root)[0] == 0  # pytest says it


def add_topic(root: Path, name: str, *prerequisites: str) -> None:
    """A topic without snippets."""
    mini.edit(root, "modules/curriculum.yml", "numpy]}\n", f"numpy]}}\n      - {{path: {name}, frameworks: []}}\n")
    page = mini.PAGE[: mini.PAGE.index("The **")] + "Text.\n"
    needed = f"prerequisites: [{', '.join(prerequisites)}]"
    mini.write(root, f"modules/{name}/index.md", page.replace("prerequisites: []", needed))


def test_a_cycle_of_prerequisites_is_shown_as_a_chain(root: Path, run_build: Build) -> None:
    add_topic(root, "stats/c", "stats/b")
    add_topic(root, "stats/b", "stats/mean")
    mini.edit(root, PAGE_PATH, "prerequisites: []", "prerequisites: [stats/c]")
    message = "prerequisites form a cycle: stats/mean → stats/c → stats/b → stats/mean"
    refused(root, run_build, message, PAGE_PATH)


def test_a_prerequisite_that_comes_later(root: Path, run_build: Build) -> None:
    add_topic(root, "stats/c")
    add_topic(root, "stats/b", "stats/c")
    printed = refused(root, run_build, "'stats/c' comes later than 'stats/b'", "modules/stats/b/index.md:")
    assert "cycle" not in printed


def test_a_library_that_is_not_installed(root: Path, run_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    source = '"""Two."""\n\nimport sklearn\n\ntwo = 2\nassert two == 2\n'
    mini.write(root, f"{FOLDER}/mean_other.py", source)
    mini.edit(root, PAGE_PATH, "See the [home", "Two is {{ mean_other.two }}.\n\nSee the [home")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    monkeypatch.delenv("CI", raising=False)
    message = f"{FOLDER}/mean_other.py:3: not run: sklearn is not installed"

    code, printed = run_build(root)
    assert code == 0 and message in printed and "1 were not run here" in printed, printed
    html = (root / "build/site" / FOLDER / "index.html").read_text()
    tab = html[html.index("PyTorch") :]
    assert "Not run here" in tab and "not run: sklearn is not installed" in tab
    assert "no value &#x27;two&#x27;" in html
    assert "middle in mean_numpy.py" in html, "the other values are there"

    monkeypatch.setenv("CI", "1")
    code, printed = run_build(root)
    assert code == 1 and message in printed and "the site published before is unchanged" in printed
