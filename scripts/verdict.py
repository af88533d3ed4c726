"""What a finished process gave: a result, or in one sentence what ended it."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from scripts import child
from scripts.problems import ADVICE, Problem
from scripts.results import Result, read_result, visible
from scripts.snippets import Snippet

MEMORY_BYTES = 4 * 1024**3
WALL_FACTOR, WALL_SLACK = 3, 10  # beside other work, a second of CPU takes longer


def wall_seconds(snippet: Snippet) -> int:
    return WALL_FACTOR * snippet.cpu_seconds + WALL_SLACK


def read_end(snippet: Snippet, folder: Path, end: dict[str, Any]) -> Result:
    """The result of a finished process, or the problem that ended it."""
    try:
        result = read_result(folder, snippet.path)
    except (OSError, ValueError, KeyError):
        message, advice = _death(end["status"], snippet)
        line = _traced_line(folder, snippet)
        printed = _last_output(folder)
        advice += f"; its last output: {printed}" if printed else ""
        warned = _last_output(folder, "stderr.txt")  # a worker that failed says why here, and nobody hears it
        advice += f"; its last error: {warned}" if warned else ""
        return Result("", {}, {}, 0.0, problem=Problem(snippet.path, line, message, advice))
    if result.problem is None:
        size = (folder / "stdout.txt").stat().st_size
        if size > child.OUTPUT_BYTES:
            message = f"prints {size:,} bytes, more than {child.OUTPUT_BYTES // 1024} KiB"
            advice = f"print a summary; it starts with {_first_output(folder)} and ends with {_last_output(folder)}"
            problem = Problem(snippet.path, 0, message, advice)
            return Result("", {}, {}, result.cpu, problem=problem)
        return result
    problem = result.problem
    if problem.message.startswith(("MemoryError", "RuntimeError: [enforce fail at alloc_cpu")):
        message = f"needs more than {MEMORY_BYTES // 1024**3} GiB of memory"
        problem = Problem(snippet.path, problem.line, message, "make the arrays smaller")
    elif "File too large" in problem.message:
        message = f"prints or writes more than {child.FILE_BYTES // 1024**2} MiB"
        advice = f"print a summary; its output starts with {_first_output(folder)}"
        problem = Problem(snippet.path, problem.line, message, advice)
    elif printed := _last_output(folder):
        problem = Problem(snippet.path, problem.line, problem.message, f"its last output: {printed}")
    return Result("", {}, {}, result.cpu, problem=problem)


def _death(status: int, snippet: Snippet) -> tuple[str, str]:
    """What ended a process that left no result."""
    if (number := (status >> 8) - 128) in ADVICE:
        return f"its folder cannot be written: {os.strerror(number)}", ADVICE[number]
    if not os.WIFSIGNALED(status):
        return f"left the interpreter with status {status >> 8} before its end", "remove os._exit"
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return (
            f"used more than {snippet.cpu_seconds} s of CPU",
            "make it smaller, or an experiment_*",
        )
    if number == signal.SIGALRM:
        return f"did not end within {wall_seconds(snippet)} s", "it waits for something"
    if number == signal.SIGKILL:
        return "was killed (SIGKILL)", "it used too much memory or time, or killed itself"
    return f"was killed by {signal.Signals(number).name}", "the code or a library crashed"


def _traced_line(folder: Path, snippet: Snippet) -> int:
    """The snippet's own line in the traceback that the process left when its time was over."""
    with contextlib.suppress(OSError):
        for line in (folder / "trace.txt").read_text("utf-8", "replace").splitlines():
            if f'"{snippet.file}"' in line:
                return int(line.split(", line ")[1].split()[0])
    return 0


def _first_output(folder: Path) -> str:
    """The start of the first line that the snippet printed."""
    with contextlib.suppress(OSError), open(folder / "stdout.txt", "rb") as file:
        return repr(visible(file.read(200).decode("utf-8", "replace").strip().split("\n")[0][:60]))
    return ""


def _last_output(folder: Path, name: str = "stdout.txt") -> str:
    """The last line that the snippet printed, shortened."""
    with contextlib.suppress(OSError), open(folder / name, "rb") as file:
        file.seek(max(0, os.path.getsize(folder / name) - 2000))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return repr(visible(lines[-1][-60:])) if lines else ""
    return ""
