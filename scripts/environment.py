"""Make .venv on first use. Standard library only: this runs before anything is installed."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
OLDEST, NEWEST = (3, 11), (3, 13)
TORCH = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
REQUIREMENTS = ROOT / "requirements.txt"
MARK = VENV / "complete"
NEEDED_BYTES = 4 * 1000**3


class SetUpError(Exception):
    """Set-up cannot go on; the message is one sentence that says what to do."""


def wanted() -> str:
    """What a complete environment was made from."""
    text = REQUIREMENTS.read_bytes() + TORCH.encode()
    return f"{platform.python_version()} {hashlib.sha256(text).hexdigest()}"


def is_complete() -> bool:
    return PYTHON.is_file() and MARK.is_file() and REQUIREMENTS.is_file() and MARK.read_text("utf-8") == wanted()


def lacking() -> list[str]:
    """Locked packages that this environment does not have in the locked version: somebody has changed it."""
    names = [name.lower() for name in os.listdir(sysconfig.get_path("purelib")) if name.endswith(".dist-info")]
    present = {re.sub(r"[-_.]+", "-", name[: -len(".dist-info")]) for name in names}
    wanted_ones = re.findall(r"^([a-z0-9._-]+)==([^\s;]+) \\$", REQUIREMENTS.read_text("utf-8"), re.M)
    return [f"{n} {v}" for n, v in wanted_ones if re.sub(r"[-_.]+", "-", f"{n}-{v}".lower()) not in present]


def enter(arguments: list[str]) -> int:
    """Run `python -m scripts ARGUMENTS` inside the environment, made first if needed."""
    try:
        if not is_complete():
            make()
    except SetUpError as error:
        print(f"Set-up stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up stopped; the next run goes on.", file=sys.stderr)
        return 130
    command = [str(PYTHON), "-m", "scripts", *arguments]
    if sys.platform == "win32":
        return subprocess.run(command, cwd=ROOT).returncode
    os.chdir(ROOT)
    os.execv(command[0], command)
    return None


def make() -> None:
    """Create .venv with PyTorch's CPU build and the locked requirements."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        need = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
        raise SetUpError(f"Python {need} is needed, this is {platform.python_version()}; run it with another python3.")
    if not REQUIREMENTS.is_file():
        raise SetUpError("requirements.txt is missing; get it again: git checkout requirements.txt.")
    if not VENV.exists() and shutil.disk_usage(ROOT).free < NEEDED_BYTES:
        raise SetUpError(f"the environment needs {NEEDED_BYTES // 1000**3} GB of disk; make room and try again.")
    print("Making .venv: about two minutes, 3 GB, this once.", flush=True)
    try:
        venv.create(VENV, with_pip=True, clear=not is_complete() and not PYTHON.is_file())
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SetUpError(f"the folder .venv could not be made: {error}; is Python's venv module installed?") from None
    MARK.unlink(missing_ok=True)
    print("  PyTorch (CPU build) ...", flush=True)
    _install_torch()
    print("  the locked requirements ...", flush=True)
    _pip("-r", str(REQUIREMENTS), "--require-hashes", "--no-deps")
    MARK.write_text(wanted(), "utf-8")


def _install_torch() -> None:
    """The CPU build: from what pip is configured with where that offers one, else from PyTorch's own index.

    Its dependencies are in the lock; without them no resolver can reach for CUDA.
    """
    found = subprocess.run([PYTHON, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if found.stdout.strip().split("+")[0] == TORCH:
        return
    if platform.system() != "Linux":  # there the plain build is the CPU build
        _pip("--no-deps", f"torch=={TORCH}")
        return
    try:
        _pip("--no-deps", f"torch=={TORCH}+cpu")
    except SetUpError:
        _pip("--no-deps", "--index-url", TORCH_CPU_INDEX, f"torch=={TORCH}+cpu")


def _pip(*arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    text = done.stderr + done.stdout
    if "No space left" in text:
        raise SetUpError("the disk is full; make room and run the same command again.")
    if any(sign in text for sign in ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "ProxyError")):
        raise SetUpError("the package index cannot be reached; check the network and run the same command again.")
    if "DO NOT MATCH THE HASHES" in text:
        raise SetUpError("a downloaded package is not the one in requirements.txt; do not use it, and report it.")
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.strip().splitlines()
    last = lines[-1] if lines else "pip failed"
    raise SetUpError(f"{last.removeprefix('ERROR: ')}; mend that and run the same command again.")
