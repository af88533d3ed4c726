"""Faults of the machine (F19, F20, F36, F38, F39, F40): what is kept, locked, installed, how much there is."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import __main__, bench, environment
from scripts.problems import ROOT, refusal
from scripts.tex import Tex
from tests import mini
from tests.conftest import Build
from tests.faults import BUILD
from tests.mini import NUMPY_PATH, PAGE_PATH, contents


def start(root: Path, code: str = BUILD) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, str(root)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def mounted(root: Path, options: str) -> "subprocess.CompletedProcess[str]":
    """Build with `.cache` mounted with these options, in a namespace of its own."""
    mount = 'mount --bind "$1/.cache" "$1/.cache" && mount -o "remount,bind,$2" "$1/.cache" && exec "$3" -c "$4" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(root), options, sys.executable, BUILD]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


can_mount = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
needs_mount = pytest.mark.skipif(not can_mount, reason="no namespace of mounts for users on this machine")


@needs_mount
def test_a_read_only_cache_is_used(root: Path) -> None:
    done = mounted(root, "ro")
    assert done.returncode == 0, done.stdout + done.stderr
    mini.edit(root, PAGE_PATH, "\\frac{1}{n}", "\\frac{1}{n + 0}")  # a formula that is not kept
    done = mounted(root, "ro")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_mount
def test_a_cache_where_nothing_can_run_is_said_in_one_line(root: Path) -> None:
    mini.edit(root, NUMPY_PATH, "mean: ", "the mean: ")
    done = mounted(root, "ro")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert ".cache/scratch" in done.stderr and "Read-only file system (make it writable for you)" in done.stderr


@pytest.mark.parametrize("damage", ["folder", "bytes", "table", "row"])
def test_a_damaged_store_of_formulas(tmp_path: Path, damage: str) -> None:
    import sqlite3

    tex = Tex(tmp_path)
    mark = tex.mark("x^2", display=False)
    shown = tex.fill(mark)
    file = tmp_path / "tex.sqlite"
    tex._rows.close()
    match damage:
        case "folder":
            file.unlink()
            file.mkdir()
        case "bytes":
            file.write_bytes(file.read_bytes()[:100] + b"\xff" * 4000)
        case _:
            with sqlite3.connect(file) as rows:
                rows.execute("drop table formula" if damage == "table" else "update formula set html = 'x'")
            rows.close()
    again = Tex(tmp_path)
    assert again.mark("x^2", display=False) == mark and again.fill(mark) == shown


def test_a_lock_whose_holder_was_killed_blocks_nobody(root: Path, run_build: Build) -> None:
    code = "import sys, time; from pathlib import Path; from scripts import build;"
    code += "held = build.lock(Path(sys.argv[1]) / 'build'); print('held', flush=True); time.sleep(600)"
    holder = start(root, code)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    waiting = start(root)
    assert waiting.stdout and waiting.stdout.readline() == "Another build is running here; waiting for it.\n"
    holder.kill()
    holder.communicate()
    printed = waiting.communicate(timeout=60)[0]
    assert waiting.returncode == 0, printed
    assert "Another build" not in run_build(root)[1]


@pytest.mark.parametrize("number", [28, 5, 13, 30])
def test_a_refusal_of_the_system_is_one_line(capsys: pytest.CaptureFixture[str], number: int) -> None:
    def fails() -> int:
        raise OSError(number, os.strerror(number), str(ROOT / "build/x"))

    assert __main__.guarded(fails) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"build/x: {os.strerror(number)} (") and line.count("\n") == 1


def test_an_error_of_the_engine_is_not_hidden() -> None:
    def fails() -> int:
        raise FileNotFoundError(2, "No such file or directory", "x")

    assert not refusal(FileNotFoundError(2, "No such file or directory"))
    with pytest.raises(FileNotFoundError):
        __main__.guarded(fails)


def test_a_package_that_is_gone_or_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.lacking() == []
    folder = Path(sysconfig.get_path("purelib"))
    for found in folder.glob("*.dist-info"):
        (tmp_path / found.name).mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert environment.lacking() == []
    (gone,) = tmp_path.glob("rich-*")
    gone.rmdir()
    (changed,) = tmp_path.glob("numpy-*.dist-info")
    changed.rename(tmp_path / "numpy-1.0.dist-info")
    lacking = environment.lacking()
    assert [name.split()[0] for name in lacking] == ["numpy", "rich"]


def test_a_damaged_set_up_stops_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "is_complete", lambda: True)
    monkeypatch.setattr(environment, "make", lambda: pytest.fail("work has started"))
    monkeypatch.setattr(environment, "lacking", lambda: ["rich 1.0"])
    monkeypatch.setattr(__main__, "dispatch", lambda _: pytest.fail("work has started"))
    assert __main__.main(["build"]) == 1
    line = capsys.readouterr().err
    assert line == "Set-up is damaged: .venv lacks rich 1.0 (delete .venv, then run the same command again).\n"


def test_a_lock_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("VENV", "PYTHON", "MARK", "REQUIREMENTS"):  # never the real ones
        monkeypatch.setattr(environment, name, tmp_path / name)
    monkeypatch.setattr("venv.create", lambda *_, **__: pytest.fail("work has started"))
    assert __main__.main(["build"]) == 1
    assert capsys.readouterr().err.startswith("Set-up stopped: requirements.txt is missing; get it again")


def test_same_site_with_another_clock_and_other_rights(tmp_path: Path, kept: Path) -> None:
    """Beside what test_build varies: years later, old files, files that only their owner may read, one core."""
    sites = []
    for number in range(2):
        root = mini.make(tmp_path / ("a" if number else "another path, with spaces & signs (1)"))
        shutil.copytree(kept, root / ".cache")
        code = BUILD
        if number:
            for file in root.rglob("*"):
                os.utime(file, (0, 0))
            code = "import datetime, os, time; os.sched_setaffinity(0, {0}); os.umask(0o077); now = time.time;"
            code += "time.time = lambda: now() + 1e8; " + BUILD
        process = start(root, code)
        printed = process.communicate(timeout=120)[0]
        assert process.returncode == 0, printed
        sites.append(contents(root / "build/site"))
    differing = [name for name in sites[0] if sites[0][name] != sites[1].get(name)]
    assert not differing and sites[0].keys() == sites[1].keys()


SENTENCE = "Words, and *more* words with `code` and {{ mean_numpy.middle }}. "


def timed(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


@pytest.mark.slow
def test_a_page_of_five_megabytes(root: Path, run_build: Build) -> None:
    seconds = []
    page = (root / PAGE_PATH).read_text()
    for size in (1_250_000, 5_000_000):
        paragraph = SENTENCE * 12 + "\n\n"
        (root / PAGE_PATH).write_text(page + "\n" + paragraph * (size // len(paragraph)))
        seconds.append(timed(lambda: run_build(root)))
        assert (root / "build/site/modules/stats/mean/index.html").stat().st_size > size
    assert seconds[1] < 6 * seconds[0], f"four times the page takes {seconds[1] / seconds[0]:.1f} times as long"


@pytest.mark.slow
def test_a_page_of_two_thousand_formulas(root: Path, run_build: Build) -> None:
    seconds = []
    page = (root / PAGE_PATH).read_text()
    for count in (500, 2_000):
        formulas = "\n\n".join(f"Is $x_{{{n}}} + \\frac{{{n}}}{{y}}$ here?" for n in range(count, 2 * count))
        (root / PAGE_PATH).write_text(f"{page}\n{formulas}\n")
        seconds.append(timed(lambda: run_build(root)))
        html = (root / "build/site/modules/stats/mean/index.html").read_text()
        assert html.count('class="katex"') == count + 2
    assert seconds[1] < 6 * seconds[0], f"four times the formulas take {seconds[1] / seconds[0]:.1f} times as long"


@pytest.mark.slow
def test_three_hundred_snippets_of_no_work(tmp_path: Path, run_build: Build) -> None:
    """Forked, they take a few hundredths of a second each; memory stays bounded."""
    root = bench.generated(tmp_path / "many", 300)
    mini.write(root, "docs/references.bib", "")
    before = os.times()
    code, printed = run_build(root)
    seconds = sum(os.times()[:4]) - sum(before[:4])  # of CPU, children included: others may keep the cores busy
    assert code == 0, printed
    assert printed.count("[") == 300
    assert seconds < 60, f"{seconds:.0f} s of CPU"
    import resource

    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 * 1024**2, "2 GB"


def test_disagreement_is_shown_with_the_largest_difference(tmp_path: Path) -> None:
    """A broken formula: the test beside a topic says where, how much, and both arrays."""
    folder = ROOT / "modules/ml/deep-learning/activations-relu-family"
    for file in [*folder.glob("*.py"), ROOT / "modules/conftest.py"]:
        shutil.copyfile(file, tmp_path / file.name)
    mini.edit(tmp_path, "relu_family_numpy.py", "alpha * np.expm1(", "1.5 * alpha * np.expm1(")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    command += ["--rootdir", str(tmp_path), str(tmp_path), "-k", "equal_torch and elu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    for part in ("Mismatched elements", "Max absolute difference among violations", "ACTUAL", "DESIRED"):
        assert part in done.stdout, done.stdout[-3000:]


def test_comparisons_of_frameworks_say_the_difference() -> None:
    """`assert np.allclose(...)` says nothing but that it failed."""
    silent = []
    for file in (ROOT / "modules").rglob("test_*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if "assert np.allclose(" in line or "assert numpy.allclose(" in line:
                silent.append(f"{file.relative_to(ROOT)}:{number}")
    assert not silent, "use np.testing.assert_allclose"
