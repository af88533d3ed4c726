"""The command line and the set-up, as a person meets them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import __main__, build, environment, new, run
from scripts.discover import discover
from scripts.environment import SetUpError
from scripts.problems import ROOT, Stop
from tests import mini
from tests.mini import NUMPY_PATH

COMMANDS = ["build", "serve", "run", "new", "check", "test", "bench", "lock"]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "scripts", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_names_every_command() -> None:
    shown = command("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"^ +{name} ", shown, re.M), name
        assert "usage: python -m scripts" in command(name, "--help").stdout


def test_help_needs_the_standard_library_only() -> None:
    code = "import sys; sys.path.insert(0, '.'); from scripts.__main__ import parser; parser()"
    code += "; known = set(sys.stdlib_module_names) | {'scripts', '__main__'}"
    code += "; print({n.split('.')[0] for n in sys.modules} - known)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_wrong_usage_is_told() -> None:
    done = command("biuld")
    assert done.returncode == 2 and "invalid choice: 'biuld'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_topic_that_is_not_there() -> None:
    done = command("run", "ml/deep-learning/droput")
    assert done.returncode == 1 and "did you mean 'ml/deep-learning/dropout'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_shows_what_a_snippet_gives(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.run("stats/mean", root) == 0
    shown = capsys.readouterr().out
    assert "mean: 2.0" in shown and "middle = 2.0" in shown and "s of CPU" in shown
    assert (root / "build/run/mean_numpy.line.svg").is_file()
    assert run.run(str(root / NUMPY_PATH), root) == 0
    assert run.run("mean_numpy", root) == 0


def test_run_of_a_failing_snippet(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mini.edit(root, NUMPY_PATH, "middle == 2.0", "middle == 3.0")
    assert run.run(str(root / NUMPY_PATH), root) == 1
    assert f"{NUMPY_PATH}:19: AssertionError" in capsys.readouterr().out


def test_new_topic_passes_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = mini.make(tmp_path / "site")
    assert new.new("ml/exploding-kittens", "Exploding kittens", root=root) == 0
    assert "- {path: ml/exploding-kittens}" in (root / "modules/curriculum.yml").read_text()
    assert build.check(root) == 0
    assert build.build(build.Options(root=root, twice=True)) == 0, capsys.readouterr().out
    folder = root / "modules/ml/exploding-kittens"
    for name in ("conftest.py", "modules/conftest.py"):
        mini.write(root, name, (ROOT / name).read_text())
    for tool in (
        ["pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(root)],
        ["ruff", "check"],
    ):
        done = subprocess.run([sys.executable, "-m", *tool, str(folder)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    lint = ["ruff", "format", "--check", "--config", str(ROOT / "modules/ruff.toml"), str(folder)]
    done = subprocess.run([sys.executable, "-m", *lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "title", "part", "message"),
    [
        ("ml/Big", "Big", "", "is no topic path"),
        ("../out", "Out", "", "is no topic path"),
        ("stats/mean", "Mean", "", "exists"),
        ("ml/x", "", "", "is no title"),
        ("ml/x", "{x}", "", "is no title"),
        ("ml/x", "X", "Statstics", "did you mean 'Statistics'?"),
        ("ml/3d", "3D", "", "starts with a digit"),
    ],
)
def test_new_refuses(root: Path, path: str, title: str, part: str, message: str) -> None:
    before = (root / "modules/curriculum.yml").read_text()
    with pytest.raises(Stop, match=re.escape(message)):
        new.new(path, title, part, root)
    assert (root / "modules/curriculum.yml").read_text() == before


def test_new_in_a_part_in_the_middle(root: Path) -> None:
    mini.write(root, "modules/curriculum.yml", mini.CURRICULUM + "\n  - part: Other\n    modules: []\n")
    new.new("ml/x", "X", "Statistics", root)
    text = (root / "modules/curriculum.yml").read_text()
    assert text.index("ml/x") < text.index("Other")


def test_new_is_the_first_topic_of_its_part(root: Path) -> None:
    mini.write(root, "modules/curriculum.yml", mini.CURRICULUM + "\n  - part: Other\n    modules: []\n")
    new.new("ml/x", "X", "Other", root)
    assert [t.path for t in discover(root).parts["Other"]] == ["ml/x"]


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set-up that would work in an empty folder."""
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(environment, "MARK", tmp_path / ".venv/complete")
    return tmp_path


@pytest.mark.parametrize("name", ["__init__", "__main__", "environment"])
def test_an_old_python_can_read_that_it_is_too_old(name: str) -> None:
    source = (ROOT / f"scripts/{name}.py").read_text()
    ast.parse(source, feature_version=(3, 7))
    assert name == "__init__" or "from __future__ import annotations" in source


def test_set_up_wrong_python(set_up: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert environment.enter(["serve"]) == 1
    assert "Python 3.11 to 3.13 is needed" in capsys.readouterr().err
    assert not list(set_up.iterdir())


def test_set_up_full_disk(set_up: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    assert environment.enter(["serve"]) == 1
    assert "make room and try again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("NewConnectionError: Failed to establish", "cannot be reached; check the network"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "is not the one in requirements.txt"),
        ("ERROR: No matching distribution found for foo", "No matching distribution found for foo; mend that"),
    ],
)
def test_set_up_failing_pip(monkeypatch: pytest.MonkeyPatch, stderr: str, message: str) -> None:
    answer = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: answer)
    with pytest.raises(SetUpError, match=re.escape(message)) as raised:
        environment._pip("-r", "requirements.txt")
    assert "\n" not in str(raised.value)


def test_a_changed_lock_makes_the_environment_anew(set_up: Path) -> None:
    (set_up / ".venv/bin").mkdir(parents=True)
    (set_up / ".venv/bin/python").touch()
    assert not environment.is_complete()
    environment.MARK.write_text(environment.wanted())
    assert environment.is_complete()
    environment.MARK.write_text("other")
    assert not environment.is_complete()


def test_the_lock_has_hashes_and_names_no_host() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    packages = re.findall(r"^[a-z0-9._-]+==", text, re.M)
    assert len(packages) > 50
    assert len(re.findall(r"^[a-z0-9._-]+==.*\\\n +--hash=sha256:", text, re.M)) == len(packages)
    assert not [name for name in packages if name.startswith(("torch==", "nvidia", "triton"))]


def test_main_runs_inside_the_environment() -> None:
    assert Path(sys.prefix).resolve() == environment.VENV.resolve(), "run the tests with: python3 -m scripts test"
    assert __main__.parser().parse_args(["build", "--only", "x"]).only == "x"
