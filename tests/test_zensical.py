"""The way out of MkDocs: Zensical builds the same stage, and our functions finish its pages. See decision 10."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree
from lxml import html as lxml_html

from scripts import build, site
from scripts.check import check_site, resolve
from scripts.context import Uses
from scripts.problems import ROOT
from scripts.tex import MARK, Tex
from tests import mini
from tests.mini import PAGE_PATH

NO_NETWORK = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https", "all")}  # nobody listens there
PLAIN = {"site_name": "x", "docs_dir": "stage", "site_dir": "html"}
EVERYTHING = """
!!! warning "Careful"

    A mean hides the spread.

??? note "More"

    The median does not.

- one
    - two

| Name | Symbol |
|---|---|
| mean | $\\bar{x}$ |

Median
:   The middle value.

A footnote.[^1]

[^1]: Below the page.

```text
$ echo plain
```

### Deeper

"""


@dataclass
class Built:
    """One stage, built by both generators; `finished` is Zensical's output after our functions."""

    root: Path
    mkdocs: Path
    zensical: Path
    finished: Path

    def pages(self) -> list[str]:
        """The HTML file that each page of the stage must become."""
        stage = self.root / "build/stage"
        names = [file.relative_to(stage).with_suffix("") for file in stage.rglob("*.md")]
        return sorted(
            f"{n.parent / ('' if n.name == 'index' else n.name)}/index.html".removeprefix("./") for n in names
        )


def configuration(root: Path) -> dict[str, Any]:
    """What MkDocs is told, in one file: Zensical appends an inherited navigation instead of replacing it."""
    told = yaml.safe_load((root / "build/mkdocs.yml").read_text("utf-8"))
    base = yaml.safe_load((root / told.pop("INHERIT").removeprefix("../")).read_text("utf-8"))
    theme = {**base["theme"], **told["theme"], "custom_dir": str(root / "overrides"), "variant": "classic"}
    return {**base, **told, "theme": theme}


def run(folder: Path, config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Zensical in strict mode, in a process of its own, without network."""
    file = folder / "mkdocs.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(file)]
    environment = {**os.environ, **NO_NETWORK, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module", params=["miniature", "project"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder, root = tmp_path_factory.mktemp("zensical"), ROOT
    if request.param == "miniature":
        root = mini.make(folder / "a site")
        mini.edit(root, PAGE_PATH, "See the [home page]", f"{EVERYTHING}See the [home page]")
    assert build.build(build.Options(root=root)) == 0
    shutil.copytree(root / "build/stage", folder / "stage")  # it takes relative folders only
    done = run(folder, configuration(root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    site.finish_site(folder / "html", folder / "finished", Tex(root / ".cache"))
    return Built(root, root / "build/html", folder / "html", folder / "finished")


def tree(file: Path) -> Any:
    return lxml_html.fromstring(file.read_bytes())


def content(file: Path) -> list[str]:
    """What a page says, without what the theme puts around the text."""
    article = tree(file).find(".//article")
    for ours in article.xpath("./a[@id='__skip']"):
        ours.drop_tree()
    text = etree.tostring(article, encoding="unicode", method="html", with_tail=False)
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_every_page_is_built_with_the_same_content(built: Built) -> None:
    pages = built.pages()
    assert "index.html" in pages and "bibliography/index.html" in pages and len(pages) > 2
    made = {file.relative_to(built.zensical).as_posix() for file in built.zensical.rglob("*.html")}
    assert made == {*pages, "404.html"}
    for page in pages:
        assert content(built.zensical / page) == content(built.mkdocs / page), page


def test_every_file_beside_the_pages_is_copied(built: Built) -> None:
    stage = built.root / "build/stage"
    for file in stage.rglob("*"):
        if file.is_file() and file.suffix != ".md":
            assert (built.zensical / file.relative_to(stage)).read_bytes() == file.read_bytes(), file


def test_links_anchors_and_images_are_right(built: Built) -> None:
    assert check_site(built.finished, Uses()) == []


def test_formulas_survive_and_are_filled_in(built: Built) -> None:
    """What the mark is in the stage it is in the page, so that `Tex.fill` finds it."""
    stage, found = built.root / "build/stage", 0
    for page in built.pages():
        folder = page.removesuffix("index.html").rstrip("/")
        source = next(f for f in (stage / folder / "index.md", stage / f"{folder}.md") if f.is_file())
        marks = sorted(MARK.findall(source.read_text("utf-8")))
        assert sorted(MARK.findall((built.zensical / page).read_text("utf-8"))) == marks, page
        finished = (built.finished / page).read_text("utf-8")
        assert "data-tex" not in finished and finished.count('class="katex"') == len(marks), page
        found += len(marks)
    assert found >= 3


def test_finish_finds_its_places(built: Built) -> None:
    """Figures, the search box and, where there is one, the table at a glance."""
    for page in built.pages():
        text = (built.finished / page).read_text("utf-8")
        assert text.count("<figure>") == (built.zensical / page).read_text("utf-8").count('<p class="figure">'), page
        assert text.count('<table class="glance">') == text.count(">At a glance</th>"), page
        assert re.search(r'class="md-search"[^>]* aria-label="Search"', text), page


def test_the_navigation_is_ours(built: Built) -> None:
    for page in built.pages():
        both = []
        for folder in (built.zensical, built.mkdocs):
            links = tree(folder / page).xpath("//nav[@class='md-tabs']//a")
            both.append([(link.text_content().strip(), resolve(page, link.get("href"))) for link in links])
        assert both[0] == both[1] and both[0][0] == ("Home", "index.html"), page


@pytest.fixture(scope="module")
def article(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The article of a page with one of everything, by Zensical alone."""
    folder = tmp_path_factory.mktemp("everything")
    text = "# Title\n\n[down](#deeper) [beside](other.md#there)\n" + EVERYTHING.replace("$\\bar{x}$", "x")
    text += '=== "A"\n\n    ```python title="a.py"\n    x = 1\n    ```\n\n=== "B"\n\n    two\n'
    for name, page in {"index.md": text, "other.md": "# Other\n\n## There\n"}.items():
        mini.write(folder, f"stage/{name}", page)
    base = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    done = run(folder, {**PLAIN, "markdown_extensions": base["markdown_extensions"]})
    assert done.returncode == 0, done.stdout + done.stderr
    return tree(folder / "html/index.html").find(".//article")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Title", "//h1[@id='title']"),
        ("Deeper", "//h3[@id='deeper']"),
        ("¶", "//h3/a[@class='headerlink' and @href='#deeper' and @title='Link to this section']"),
        ("down", "//a[@href='#deeper' and not(@class)]"),
        ("beside", "//a[@href='other/#there']"),
        ("Careful", "//div[@class='admonition warning']/p[@class='admonition-title']"),
        ("More", "//details[@class='note' and not(@open)]/summary"),
        ("two", "//li/ul/li"),
        ("Name", "//table/thead//th[1]"),
        ("mean", "//table/tbody//td[1]"),
        ("Median", "//dl/dt"),
        ("Below the page.", "//div[@class='footnote']//li/p"),
        ("$ echo plain", "//div[contains(@class, 'language-text')]//code"),
        ("a.py", "//div[contains(@class, 'language-python')]/span[@class='filename']"),
        ("1", "//div[contains(@class, 'language-python')]//code//span[@class='mi']"),
        ("B", "//div[contains(@class, 'tabbed-set')]/div[@class='tabbed-labels']/label[2]"),
        ("two", "//div[@class='tabbed-content']/div[@class='tabbed-block'][2]/p"),
    ],
    ids=lambda value: None if value.startswith("//") else value,
)
def test_what_a_page_may_hold(article: Any, text: str, path: str) -> None:
    """Without MkDocs to compare with: this must hold when MkDocs is gone."""
    found = article.xpath(f".{path}")
    assert len(found) == 1, path
    assert found[0].text_content().strip().removesuffix("\xa0↩").startswith(text)


def test_a_broken_link_stops_a_strict_build(tmp_path: Path) -> None:
    mini.write(tmp_path, "stage/index.md", "# Title\n\n[one](nowhere.md) [two](#nothing)\n")
    done = run(tmp_path, PLAIN)
    told = done.stdout + done.stderr
    assert done.returncode == 1 and "page does not exist" in told and "anchor does not exist" in told


def test_what_differs_is_known(built: Built) -> None:
    """When one of these goes red, Zensical has changed: look at decision 10 again."""
    page = next(name for name in built.pages() if name.startswith("modules/"))
    theirs = tree(built.zensical / page)
    assert (built.zensical / "search.json").is_file() and not (built.zensical / "search").exists()
    assert theirs.xpath("//meta[@name='generator']")  # `extra.generator: false` is not read


def test_an_image_that_is_missing_is_not_told(tmp_path: Path) -> None:
    """`check_site` tells it, whichever generator built the page."""
    mini.write(tmp_path, "stage/index.md", "# Title\n\n![A line](nowhere.svg)\n")
    assert run(tmp_path, PLAIN).returncode == 0
    assert [p for p in check_site(tmp_path / "html", Uses()) if "nowhere.svg" in p.message]


def test_an_inherited_navigation_is_appended(tmp_path: Path) -> None:
    mini.write(tmp_path, "stage/index.md", "# Title\n")
    mini.write(tmp_path, "base.yml", "site_name: x\nnav: [{First: index.md}]\ntheme: {features: [navigation.tabs]}\n")
    assert run(tmp_path, {**PLAIN, "INHERIT": "base.yml", "nav": [{"Second": "index.md"}]}).returncode == 0
    text = (tmp_path / "html/index.html").read_text("utf-8")
    assert re.search(r"md-tabs__link.*First.*md-tabs__link.*Second", text, re.S)
