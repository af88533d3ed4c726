"""Run every check and every test; make the lock."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import yaml

from scripts.environment import ROOT
from scripts.execute import ENVIRONMENT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_TESTS = "tests/test_site.py"


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


def checks() -> list[tuple[str, list[str]]]:
    """The checks of .pre-commit-config.yaml: by pre-commit, or one by one where there is no git checkout."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        return [("pre-commit", [sys.executable, "-m", "pre_commit", "run", "--all-files", "--color=never"])]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    names = {hook["id"]: hook["entry"].split() for hook in hooks}
    return [(name, [str(ROOT / entry[0]), *entry[1:]]) for name, entry in names.items()]


def _run(name: str, command: list[str], environment: dict[str, str]) -> list[str]:
    """Run one step, its output passed on; return its name in a list if it failed."""
    started = time.perf_counter()
    print(f"── {name}", flush=True)
    failed = subprocess.run(command, cwd=ROOT, env=environment).returncode
    print(f"   {time.perf_counter() - started:.0f} s", flush=True)
    return [name] if failed else []


def _pytest(environment: dict[str, str]) -> list[str]:
    """All tests, in two processes: what the browser does, and beside it everything else. Returns what failed."""
    pytest = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryFile() as output:  # told when the other has told its own
        beside = [*pytest, "-p", "no:cacheprovider", BROWSER_TESTS]
        process = subprocess.Popen(beside, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            failed = _run("tests", [*pytest, f"--ignore={BROWSER_TESTS}"], environment)
            process.wait()
        finally:
            process.kill()
        output.seek(0)
        print(f"── tests in the browser\n{output.read().decode(errors='replace')}", flush=True)
    return [*failed, "tests in the browser"] if process.returncode else failed


def test(arguments: list[str]) -> int:
    """The checks, then pytest; all of them, even when one fails. Returns 0 if all passed."""
    install_browser()
    threads = {name: value for name, value in ENVIRONMENT.items() if name.endswith(("THREADS", "LEVEL", "OPTS"))}
    environment = {**os.environ, **threads}
    failed = []
    if arguments:  # somebody is after certain tests
        failed += _run("tests", [sys.executable, "-m", "pytest", *arguments], environment)
    else:
        for name, command in checks():
            failed += _run(name, command, environment)
        # the experiments run while the cores are quiet
        failed += _run("site", [sys.executable, "-m", "scripts", "build"], environment)
        failed += _pytest(environment)
    print(f"FAILED: {', '.join(failed)}" if failed else "All checks and tests passed.")
    return 1 if failed else 0


def lock() -> int:
    """requirements.txt from requirements.in, with hashes and without the name of any host.

    Its first lines name the options: Dependabot reads them there.
    """
    command = "pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate"
    command += " --quiet --upgrade"
    files = ["requirements.in", "-o", "requirements.txt"]
    return subprocess.run([sys.executable, "-m", "uv", *command.split(), *files], cwd=ROOT).returncode
