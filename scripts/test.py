"""Run every check and every test; make the lock."""

import os
import shutil
import subprocess
import sys
import time

from scripts.environment import ROOT
from scripts.execute import ENVIRONMENT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SOURCES = ["scripts", "tests", "modules", "conftest.py"]
CHECKS = [
    ("lint", ["ruff", "check", *SOURCES]),
    ("format", ["ruff", "format", "--check", *SOURCES]),
    ("types", ["mypy"]),
    ("spelling", ["codespell"]),
    ("pages", ["scripts", "check"]),
]


def browser() -> str | None:
    """Chromium's path, where it is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def install_browser() -> None:
    """In CI a missing browser is installed; elsewhere its tests are skipped, and that is said aloud."""
    if browser():
        return
    if not os.environ.get("CI"):
        print("NOT TESTED: no Chromium here, so the browser tests are skipped (install the package chromium).")
        return
    if not shutil.which("apt-get"):
        print("Chromium is missing, and there is no apt-get to install it with.")
        return
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        subprocess.run(
            ["apt-get", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=False,
        )


def test(arguments: list[str]) -> int:
    """The checks, then pytest; all of them, even when one fails. Returns 0 if all passed."""
    install_browser()
    threads = {name: value for name, value in ENVIRONMENT.items() if name.endswith(("THREADS", "LEVEL", "OPTS"))}
    environment = {**os.environ, **threads}
    failed = []
    chosen = [] if arguments else CHECKS  # with arguments, somebody is after certain tests
    for name, command in [*chosen, ("tests", ["pytest", *arguments])]:
        started = time.perf_counter()
        print(f"── {name}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment).returncode:
            failed.append(name)
        print(f"   {time.perf_counter() - started:.0f} s", flush=True)
    print(f"FAILED: {', '.join(failed)}" if failed else "All checks and tests passed.")
    return 1 if failed else 0


def lock() -> int:
    """requirements.txt from requirements.in, with hashes and without the name of any host."""
    command = "pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate"
    command += " --quiet --upgrade"
    files = ["requirements.in", "-o", "requirements.txt"]
    header = ["--custom-compile-command", "python -m scripts lock"]
    return subprocess.run([sys.executable, "-m", "uv", *command.split(), *header, *files], cwd=ROOT).returncode
