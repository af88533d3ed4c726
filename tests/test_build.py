"""What a build promises when nothing is wrong: kept results, equal sites, whole publishing."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from scripts import build, publish, site
from scripts.discover import discover
from scripts.execute import Runner
from scripts.problems import ROOT, Stop
from scripts.results import Cache
from tests import mini
from tests.conftest import Build
from tests.mini import NUMPY_PATH, PAGE_PATH, contents


def ran(printed: str) -> list[str]:
    """The snippets that ran."""
    return [line.rsplit("/", 1)[1] for line in printed.splitlines() if line.startswith("[")]


def test_page_holds_code_output_figure_value_and_citation(root: Path, run_build: Build) -> None:
    code, printed = run_build(root)
    assert code == 0, printed
    folder = root / "build/site/modules/stats/mean"
    html = (folder / "index.html").read_text()
    assert '<data value="2.0" title="middle in mean_numpy.py">2.0</data>' in html
    assert "mean: 2.0" in html
    assert '<img alt="A rising line" height="192" fetchpriority="high" src="mean_numpy.line.svg" width="384" />' in html
    assert "<figcaption>How far does it rise?</figcaption>" in html
    assert '<a href="../../../bibliography/#gauss1809">Gauss, 1809</a>, Section 1' in html
    assert 'class="katex"' in html
    assert "data-tex" not in html
    assert (folder / "mean_numpy.py").read_text() == mini.SNIPPET
    assert "prefers-color-scheme" in (folder / "mean_numpy.line.svg").read_text()
    home = (root / "build/site/index.html").read_text()
    assert "A site of <data" in home and ">1</data> topic" in home
    assert 'href="modules/stats/mean/#definition"' in home
    bibliography = (root / "build/site/bibliography/index.html").read_text()
    assert "Carl Friedrich Gauss (1809)" in bibliography and ">Mean</a>" in bibliography


def test_only_what_changed_runs_again(root: Path, run_build: Build) -> None:
    assert ran(run_build(root)[1]) == []  # the fixture brings the results
    mini.edit(root, NUMPY_PATH, "mean: ", "the mean: ")
    assert ran(run_build(root)[1]) == ["mean_numpy.py"]
    mini.edit(root, PAGE_PATH, "The **mean**", "This **mean**")
    assert ran(run_build(root)[1]) == []
    assert sorted(ran(run_build(root, fresh=True)[1])) == ["mean_numpy.py", "mean_other.py"]


def test_unchanged_build_leaves_the_site_alone(root: Path, run_build: Build) -> None:
    run_build(root)
    before = (root / "build/site").resolve().stat().st_mtime_ns
    assert "unchanged" in run_build(root)[1]
    assert (root / "build/site").resolve().stat().st_mtime_ns == before


def test_a_damaged_site_is_built_again(root: Path, run_build: Build) -> None:
    run_build(root)
    before = contents(root / "build/site")
    (root / "build/site/index.html").write_text("damaged")
    assert "published" in run_build(root)[1]
    assert contents(root / "build/site") == before


def test_fresh_and_cached_sites_are_equal(root: Path, run_build: Build) -> None:
    run_build(root)
    cached = contents(root / "build/site")
    shutil.rmtree(root / "build")
    run_build(root, fresh=True)
    assert contents(root / "build/site") == cached


def test_forked_and_fresh_processes_give_the_same(tmp_path: Path, run_build: Build) -> None:
    sites = []
    for fork in (True, False):
        root = mini.make(tmp_path / str(fork), torch=True)
        assert run_build(root, fork=fork)[0] == 0
        sites.append(contents(root / "build/site"))
    assert sites[0] == sites[1]


def test_a_file_that_a_snippet_reads_is_part_of_its_result(root: Path, run_build: Build) -> None:
    reader = '"""Two."""\n\nfrom pathlib import Path\n\n'
    reader += 'two = int((Path(__file__).parent / "data.txt").read_text())\nprint(two)\nassert two\n'
    mini.write(root, "modules/stats/mean/mean_other.py", reader)
    mini.write(root, "modules/stats/mean/data.txt", "2")
    assert ran(run_build(root)[1]) == ["mean_other.py"]
    assert ran(run_build(root)[1]) == []
    mini.write(root, "modules/stats/mean/data.txt", "3")
    assert ran(run_build(root)[1]) == ["mean_other.py"]


def test_a_sibling_module_is_part_of_the_result(root: Path, run_build: Build) -> None:
    mini.write(root, "modules/stats/mean/mean_other.py", '"""Two."""\n\nimport helper\n\nassert helper.two\n')
    mini.write(root, "modules/stats/mean/helper.py", '"""Helps."""\n\ntwo = 2\nassert two\n')
    mini.edit(root, PAGE_PATH, "See the [home", "[Helper](helper.py)\n\nSee the [home")
    run_build(root)
    mini.edit(root, "modules/stats/mean/helper.py", "two = 2", "two = 3")
    assert sorted(ran(run_build(root)[1])) == ["helper.py", "mean_other.py"]


def test_a_new_library_version_runs_its_users_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts import results

    cache = Cache(root / ".cache", root)
    numpy, other = (discover(root).topics["stats/mean"].snippets[n] for n in ("mean_numpy", "mean_other"))
    assert cache.get(numpy) and cache.get(other)
    monkeypatch.setattr(results, "_version", lambda name: "99.0")
    assert cache.get(numpy) is None
    assert cache.get(other), "it imports nothing"


@pytest.mark.parametrize("damage", ["truncate", "flip", "schema", "remove"])
def test_a_damaged_entry_is_computed_again(root: Path, run_build: Build, damage: str) -> None:
    run_build(root)
    before = contents(root / "build/site")
    for entry in (root / ".cache/results").iterdir():
        file = entry / "stdout.txt"
        match damage:
            case "truncate":
                file.write_bytes(file.read_bytes()[:2])
            case "flip":
                (entry / "result.json").write_bytes((entry / "result.json").read_bytes().replace(b"2", b"3"))
            case "schema":
                (entry / "seal.json").write_text("[]")
            case "remove":
                (entry / "result.json").unlink()
    (root / ".cache/tex.sqlite").write_bytes(b"no database")
    shutil.rmtree(root / "build")
    code, printed = run_build(root)
    assert code == 0, printed
    assert len(ran(printed)) == (1 if damage == "truncate" else 2)  # one of them printed nothing
    assert contents(root / "build/site") == before


def test_a_cache_that_cannot_be_written_is_no_error(root: Path, run_build: Build) -> None:
    shutil.rmtree(root / ".cache/results")
    (root / ".cache/results").write_text("a file where the folder should be")
    assert run_build(root)[0] == 0


def test_two_builds_at_once_take_turns(root: Path) -> None:
    code = "import sys; from pathlib import Path; from scripts import build;"
    code += "sys.exit(build.build(build.Options(root=Path(sys.argv[1]), fresh=True)))"
    command = [sys.executable, "-c", code, str(root)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = "".join(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "Another build is running here" in printed


@pytest.mark.slow
def test_killed_at_any_moment_the_old_site_is_whole(root: Path, run_build: Build) -> None:
    run_build(root)
    before = contents(root / "build/site")
    mini.edit(root, NUMPY_PATH, "mean: ", "the mean: ")
    code = "import sys; from pathlib import Path; from scripts import build;"
    code += "sys.exit(build.build(build.Options(root=Path(sys.argv[1]))))"
    for delay in (0.2, 0.5, 0.8, 1.1, 1.4):
        process = subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait()
        now = contents(root / "build/site")
        assert now == before or b"the mean: 2.0" in now["modules/stats/mean/index.html"]
    assert run_build(root)[0] == 0
    after = contents(root / "build/site")
    assert b"the mean: 2.0" in after["modules/stats/mean/index.html"]
    assert not list((root / "build").glob(".new-*"))
    assert not list((root / ".cache/scratch").iterdir())
    shutil.rmtree(root / "build")
    run_build(root, fresh=True)
    assert contents(root / "build/site") == after


def test_readers_never_see_a_part(root: Path, run_build: Build) -> None:
    run_build(root)
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            text = (root / "build/site/modules/stats/mean/index.html").read_text()
            seen.add(("the mean: 2.0" in text, text.rstrip().endswith("</html>")))

    thread = threading.Thread(target=read)
    thread.start()
    mini.edit(root, NUMPY_PATH, "mean: ", "the mean: ")
    run_build(root)
    time.sleep(0.05)
    stop.set()
    thread.join()
    assert seen == {(False, True), (True, True)}


def test_same_site_whatever_the_machine(tmp_path: Path, kept: Path) -> None:
    sites = []
    for number, (zone, language) in enumerate([("UTC", "C"), ("Asia/Kathmandu", "de_DE.UTF-8")]):
        root = mini.make(tmp_path / ("a" * (number + 1)))
        code = "import os, sys; os.umask(0o077) if sys.argv[2] == '1' else None;"
        code += "from pathlib import Path; from scripts import build;"
        code += "sys.exit(build.build(build.Options(root=Path(sys.argv[1]), jobs=int(sys.argv[2]) + 1)))"
        environment = {**os.environ, "TZ": zone, "LC_ALL": language, "PYTHONHASHSEED": str(number)}
        subprocess.run([sys.executable, "-c", code, str(root), str(number)], cwd=ROOT, env=environment, check=True)
        sites.append(contents(root / "build/site"))
    differing = [name for name in sites[0] if sites[0][name] != sites[1].get(name)]
    assert not differing and sites[0].keys() == sites[1].keys()


def test_publish_keeps_two_releases(tmp_path: Path) -> None:
    for number in range(4):
        finished = tmp_path / "finished"
        finished.mkdir()
        (finished / "index.html").write_text(str(number))
        publish.publish(finished, tmp_path)
        assert (tmp_path / "site/index.html").read_text() == str(number)
        assert publish.is_whole(tmp_path / "site")
    assert len(list((tmp_path / "releases").iterdir())) == publish.KEEP


def test_only_one_topic(root: Path, run_build: Build) -> None:
    code, printed = run_build(root, only="stats/mean")
    assert code == 0
    assert "mean_numpy.py: 0." in printed
    assert not (root / "build/site").exists()


def test_a_snippet_sees_nothing_of_the_one_before(root: Path) -> None:
    leak = '"""Leaks."""\n\nimport builtins, os, random\n\nimport matplotlib as mpl\nimport numpy as np\n\n'
    leak += 'os.environ["LEAK"] = "1"\nmpl.rcParams["font.size"] = 99\nbuiltins.leak = 1\nrandom.seed(0)\n'
    leak += 'np.random.seed(0)\nopen("leak.txt", "w").close()\nassert True\n'
    look = '"""Looks."""\n\nimport builtins, os\n\nimport matplotlib as mpl\n\nassert "LEAK" not in os.environ\n'
    look += 'assert mpl.rcParams["font.size"] == 11\nassert not hasattr(builtins, "leak")\nassert os.listdir() == []\n'
    look += 'assert os.environ["HOME"] == os.getcwd()\n'
    mini.write(root, NUMPY_PATH, leak)
    mini.write(root, "modules/stats/mean/mean_other.py", look)
    snippets = discover(root).topics["stats/mean"].snippets
    with Runner(Cache(root / ".cache", root), jobs=1) as runner:
        assert runner.run([snippets["mean_numpy"]])[NUMPY_PATH].problem is None
        result = runner.run([snippets["mean_other"]])["modules/stats/mean/mean_other.py"]
    assert result.problem is None


def test_secrets_are_not_in_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    mini.write(root, NUMPY_PATH, '"""Looks."""\n\nimport os\n\nassert "SECRET_TOKEN" not in os.environ\n')
    snippet = discover(root).topics["stats/mean"].snippets["mean_numpy"]
    with Runner(Cache(root / ".cache", root), jobs=1) as runner:
        assert runner.run([snippet])[NUMPY_PATH].problem is None


def test_stage_forgets_what_is_gone(root: Path) -> None:
    stage = root / "stage"
    site.write_stage({"a.md": "a", "b/c.md": "c"}, stage, root)
    assert site.write_stage({"a.md": "a"}, stage, root) == ["b/c.md"]
    assert not (stage / "b").exists()


def test_topic_that_is_not_there(root: Path) -> None:
    with pytest.raises(Stop, match=r"no topic 'stats/maen' \(did you mean 'stats/mean'\?\)"):
        build.build(build.Options(root=root, only="stats/maen"))


@pytest.mark.parametrize(
    "text", ["site_url: https://example.org/site/\nrepo_url: https://github.com/example/site\n", ""]
)
def test_addresses_appear_only_when_they_are_set(root: Path, run_build: Build, text: str) -> None:
    (root / "mkdocs.yml").write_text(text + (root / "mkdocs.yml").read_text())
    code, printed = run_build(root)
    assert code == 0, printed
    page = (root / "build/site/modules/stats/mean/index.html").read_text()
    edit = 'href="https://github.com/example/site/edit/main/modules/stats/mean/index.md"'
    report = 'href="https://github.com/example/site/issues/new?title=Error%20on%20the%20page%3A%20Mean'
    source = 'href="https://github.com/example/site/blob/main/modules/stats/mean/mean_numpy.py"'
    canonical = '<link rel="canonical" href="https://example.org/site/modules/stats/mean/">'
    for expected in (edit, report, source, canonical):
        assert (expected in page) == bool(text), expected
    assert 'data-md-component="source"' not in page, "the theme would ask another host for stars"
    assert "example.org" not in "".join(f.read_text() for f in (root / "build/site").rglob("*.html")) or text


def test_a_page_says_where_it_stands_and_what_it_was_made_with(
    root: Path, run_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(86400 * 365))
    for name in ("median", "mode"):
        needs = "mean" if name == "median" else "median"
        page = f"---\ntitle: The {name}\nsummary: It.\nprerequisites: [stats/{needs}]\nlevel: beginner\nminutes: 5\n"
        page += "tags: [basics, order statistics]\n---\n\n[Two](two.py)\n"
        mini.write(root, f"modules/stats/{name}/index.md", page)
        mini.write(
            root, f"modules/stats/{name}/two.py", '"""Two is two."""\n\nimport numpy\n\nassert numpy.size(2) == 1\n'
        )
    lines = "".join(f"      - {{path: stats/{name}, frameworks: [numpy]}}\n" for name in ("median", "mode"))
    curriculum = root / "modules/curriculum.yml"
    curriculum.write_text(curriculum.read_text() + lines)
    code, printed = run_build(root)
    assert code == 0, printed
    read = {name: (root / f"build/site/modules/stats/{name}/index.html").read_text() for name in ("mean", "mode")}
    here = '<span aria-current="page">The mode</span>'
    steps = ["<b>First</b>", '<a href="../mean/">Mean</a>', "<b>Then</b>", '<a href="../median/">', here]
    shown = read["mode"][read["mode"].index('<nav class="path"') :]
    places = [shown.index(step) for step in steps]
    assert places == sorted(places)
    assert "Leads to" not in read["mode"] and '<b>Leads to</b><ul><li><a href="../median/">' in read["mean"]
    assert 'href="../../../tags/#order-statistics">order statistics</a>' in read["mode"]
    python = ".".join(map(str, sys.version_info[:2]))
    assert f"Run with Python {python}, NumPy 2" in read["mode"]
    assert "on a CPU with one thread, from the sources of 1971-01-01." in read["mode"]
    tags = (root / "build/site/tags/index.html").read_text()
    assert '<span id="order-statistics">order statistics</span>' in tags
    assert tags.count('href="../modules/stats/mode/">The mode</a>') >= 2  # under both its tags


def test_the_policy_names_each_inline_script(root: Path, run_build: Build) -> None:
    import base64
    import hashlib
    import re

    run_build(root)
    for file in (root / "build/site").rglob("*.html"):
        page = file.read_text()
        policies = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
        assert len(policies) == 1, file
        assert page.index("Content-Security-Policy") < page.index("<script")
        inline = re.findall(r"<script>(.*?)</script>", page, re.S)
        assert inline
        for script in inline:
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policies[0], (file, script[:80])
        rules = dict(rule.strip().split(" ", 1) for rule in policies[0].split(";"))
        assert rules["default-src"] == "'self'" and "unsafe" not in rules["script-src"]


def test_recipes_are_run_and_shown_with_their_tests(root: Path, run_build: Build) -> None:
    mini.write(root, "snippets/double.py", '"""Twice as much."""\n\ntwo = 2 * 1\nprint("two:", two)\nassert two == 2\n')
    mini.write(root, "snippets/test_double.py", "def test_double():\n    assert True\n")
    page = (
        "---\ntitle: Recipes\nsummary: Some.\n---\n\nOf {{ snippets/double.two }}.\n\n[Double](../snippets/double.py)\n"
    )
    mini.write(root, "docs/recipes.md", page)
    mini.edit(root, "mkdocs.yml", "  - tags.md", "  - tags.md\n  - recipes.md")
    code, printed = run_build(root)
    assert code == 1 and "snippets/test_double.py: no page shows this file" in printed
    (root / "docs/recipes.md").write_text(page + "\n[Its tests](../snippets/test_double.py)\n")
    code, printed = run_build(root)
    assert code == 0, printed
    html = (root / "build/site/recipes/index.html").read_text()
    assert "two: 2" in html and 'title="two in double.py">2</data>' in html
    assert 'href="../snippets/double.ipynb"' in html and 'href="../snippets/test_double.ipynb"' not in html
    (root / "docs/recipes.md").write_text(page + "\n{{ snippets/test_double.x }}\n")
    assert "is a test: it gives no values" in run_build(root)[1]


def test_the_zip_is_the_same_each_time_and_whole(root: Path, run_build: Build) -> None:
    import zipfile

    run_build(root)
    one = (root / "build/site/offline.zip").read_bytes()
    shutil.rmtree(root / "build")
    run_build(root)
    assert (root / "build/site/offline.zip").read_bytes() == one
    with zipfile.ZipFile(root / "build/site/offline.zip") as bundled:
        assert bundled.testzip() is None
        names = {name.removeprefix("deep-learning-foundations/") for name in bundled.namelist()}
        page = bundled.read("deep-learning-foundations/modules/stats/mean/index.html").decode()
    site = {f.relative_to(root / "build/site").as_posix() for f in (root / "build/site").rglob("*") if f.is_file()}
    assert names == site - {"404.html", "sitemap.xml", "sitemap.xml.gz", "offline.zip", "search/search_index.json"} | {
        "search/search_index.js"
    }
    assert 'href="../../../bibliography/index.html#gauss1809"' in page and "Content-Security-Policy" not in page


WORKERS = '''"""Workers give tensors to the process that asked."""

import torch
from torch.utils.data import DataLoader, TensorDataset

if __name__ == "__main__":
    data = TensorDataset(torch.arange(8.0))
    total = sum(batch.sum().item() for (batch,) in DataLoader(data, 2, num_workers=2))
    print(f"total: {total}")
    assert total == 28.0
'''


def test_a_snippet_may_use_worker_processes() -> None:
    """torch hands their tensors over by a socket in a temporary folder, which the snippet must be able to write.

    The path of a socket has about 100 characters, so this one starts in a short folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = mini.make(Path(folder))
        file = mini.write(root, "modules/stats/mean/mean_other.py", WORKERS)
        snippet = discover(root).snippet_of[file.relative_to(root).as_posix()]
        with Runner(Cache(root / ".cache", root), jobs=1) as runner:
            result = runner.run([snippet])[snippet.path]
    assert result.problem is None, result.problem
    assert result.stdout == "total: 28.0\n"
