"""A few rounds of `python -m tests.faults`, which does the same at more moments."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.problems import ROOT
from tests import faults, mini


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_at_random_moments_and_with_a_disk_that_fails() -> None:
    printed = run("--rounds", "6", "--step", "150", "--quick")
    assert re.search(r"'struck': [3-6]", printed), printed
    assert "NOT TESTED" in printed or re.search(r"'stopped': [1-9]", printed), printed


def test_the_check_itself_can_fail(tmp_path: Path) -> None:
    """Each promise is broken once, by hand, and the check says so."""
    site = faults.Site(tmp_path / "site", snippet=False)
    site.turn()
    before = mini.sources(site.root)
    page = site.root / "build/site/index.html"
    page.write_bytes(page.read_bytes() + b" ")
    mini.write(site.root, "modules/new.txt", "new")
    sleeper = subprocess.Popen(["sleep", "2"], env={"SITE": str(site.root)})
    found = "; ".join(site.faults(0, "Traceback (most recent call last)", before))
    sleeper.wait()
    for words in ("neither the old one nor the new one", "not whole", "exit code 0", "repository", "a traceback"):
        assert words in found
    assert "the next build" not in found, "which mended it"
