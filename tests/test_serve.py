"""The preview: an edit shows, only what it touches is rendered, a fault is shown where it is."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import serve
from tests import mini
from tests.mini import NUMPY_PATH, PAGE_PATH

URL = "modules/stats/mean/"


@pytest.fixture
def preview(root: Path) -> Iterator[serve.Preview]:
    shown = serve.Preview(root)
    assert shown.refresh() == []
    yield shown
    shown.close()


@pytest.fixture
def address(preview: serve.Preview) -> Iterator[str]:
    server = serve.listen(preview, 8200)
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_an_edit_of_text_shows(preview: serve.Preview, root: Path, address: str) -> None:
    version = fetch(address + ".version")
    home = (preview.site / "index.html").stat().st_mtime_ns
    mini.edit(root, PAGE_PATH, "The **mean**", "Every **mean**")
    assert preview.refresh() == []
    assert "Every <strong>mean</strong>" in fetch(address + URL)
    assert '<script src="/.reload.js">' in fetch(address + URL), "the policy allows no other inline script"
    assert "location.reload()" in fetch(address + ".reload.js")
    assert fetch(address + ".version") != version
    assert (preview.site / "index.html").stat().st_mtime_ns == home, "the home page was not touched"


def test_an_edit_of_a_snippet_shows(preview: serve.Preview, root: Path, address: str) -> None:
    mini.edit(root, NUMPY_PATH, "mean: ", "the mean: ")
    assert preview.refresh() == []
    assert "the mean: 2.0" in fetch(address + URL)


def test_nothing_changed_nothing_reloads(preview: serve.Preview) -> None:
    version = preview.version
    preview.refresh()
    assert preview.version == version


def test_a_fault_is_shown_and_mended(preview: serve.Preview, root: Path, address: str) -> None:
    mini.edit(root, NUMPY_PATH, "    middle = mean(", "    1 / 0\n    middle = mean(")
    problems = preview.refresh()
    assert [str(p) for p in problems] == [f"{NUMPY_PATH}:14: ZeroDivisionError: division by zero"]
    assert "ZeroDivisionError" in fetch(address + URL)
    assert fetch(address), "the other pages are served"
    mini.edit(root, NUMPY_PATH, "    1 / 0\n", "")
    assert preview.refresh() == []
    assert "ZeroDivisionError" not in fetch(address + URL)


def test_a_new_title_reaches_the_other_pages(preview: serve.Preview, root: Path, address: str) -> None:
    mini.edit(root, PAGE_PATH, "title: Mean", "title: Average")
    assert preview.refresh() == []
    assert "Average" in fetch(address), "in the home page's navigation"


def test_the_search_knows_all_pages_after_an_edit(preview: serve.Preview, root: Path, address: str) -> None:
    mini.edit(root, PAGE_PATH, "The **mean**", "Every **mean**")
    preview.refresh()
    index = fetch(address + "search/search_index.json")
    assert "Bibliography" in index and '"location":"modules/stats/mean/"' in index


def test_a_page_that_goes_is_gone(preview: serve.Preview, root: Path) -> None:
    import shutil

    shutil.rmtree(root / "modules/stats/mean")
    mini.write(root, "modules/curriculum.yml", "parts: []\n")
    mini.write(root, "docs/index.md", "---\ntitle: Home\nsummary: Alone.\n---\n\nText.\n")
    mini.write(root, "docs/references.bib", "")
    assert preview.refresh() == []
    assert not (preview.site / URL / "index.html").exists()


def test_a_busy_port_is_no_obstacle(preview: serve.Preview) -> None:
    one, two = serve.listen(preview, 8300), serve.listen(preview, 8300)
    assert one.server_address[1] != two.server_address[1]
    for server in (one, two):
        server.shutdown()
        server.server_close()
