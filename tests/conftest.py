"""Miniature sites for the tests."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import build
from tests import mini

Build = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the whole miniature site: what a test does not change need not run in it."""
    root = mini.make(tmp_path_factory.mktemp("kept"))
    assert build.build(build.Options(root=root)) == 0
    return root / ".cache"


@pytest.fixture
def root(tmp_path: Path, kept: Path) -> Path:
    """A whole miniature site with NumPy snippets, not built yet."""
    made = mini.make(tmp_path / "a site")  # with a space in its path
    shutil.copytree(kept, made / ".cache")
    return made


@pytest.fixture
def run_build(capfd: pytest.CaptureFixture[str]) -> Build:
    """Build a miniature site: the exit code and what was printed."""

    def run(root: Path, **options: object) -> tuple[int, str]:
        capfd.readouterr()
        code = build.build(build.Options(root=root, **options))  # type: ignore[arg-type]
        return code, capfd.readouterr().out

    return run
