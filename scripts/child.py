"""What runs inside a snippet's own process: limits, a clean world, and a record of what the snippet did.

Used by a fork of a preloaded server (Linux) and by a fresh interpreter (elsewhere, and in the test that both agree):
`python -m scripts.child '{"script": ..., "folder": ..., ...}'`. Writes `result.json` and the figures into the folder;
a process that ends without `result.json` has been killed or has left by the back door.
"""

import faulthandler
import importlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

from scripts import figures
from scripts.watch import NotAllowed, watch

OUTPUT_BYTES = 64 * 1024
FILE_BYTES = 16 * 1024 * 1024
TEXT_VALUE = 500
FIGURE_NAME = r"[\w-]+"
CELL = re.compile(rb"^# %%", re.M)  # starts a cell of a lab


def run(job: dict[str, Any]) -> None:
    """Run a snippet in this process. `job`: script, folder, root, preload, cpu_seconds, wall_seconds, memory_bytes."""
    for name in job["preload"]:
        importlib.import_module(name)
    folder = Path(job["folder"])
    _limit(job, folder)
    _redirect(folder)
    if sys.platform == "linux":
        from scripts import confine

        confine.write_only_below(str(folder), "/dev")
    files = watch(Path(job["root"]), folder, Path(job["script"]))
    os.chdir(folder / "work")
    os.environ["HOME"] = os.environ["TMPDIR"] = str(folder / "work")
    tempfile.tempdir = None  # what was imported before the fork may have asked for it
    result: dict[str, Any] = {"error": None, "figures": [], "values": {}}
    _fresh_randomness()
    warnings.resetwarnings()
    warnings.simplefilter("error")
    _figures(folder, result)
    module = types.ModuleType("__main__")
    module.__file__ = job["script"]
    sys.modules["__main__"] = module
    sys.argv, sys.path[0] = [job["script"]], str(Path(job["script"]).parent)
    started, cpu = time.perf_counter(), time.process_time()
    try:
        source = Path(job["script"]).read_bytes()
        if Path(job["script"]).name.startswith("lab_"):  # its page shows what each cell printed
            source = CELL.sub(rb'print("\\x1e", end="");\g<0>', source)
        exec(compile(source, job["script"], "exec"), module.__dict__)
        plt = sys.modules.get("matplotlib.pyplot")
        if plt and plt.get_fignums():
            result["error"] = _error(0, "leaves a figure open", "call plt.show() at the end")
    except SystemExit as exit_:
        line = _own_line(exit_, job["script"])
        result["error"] = _error(line, f"ended early with sys.exit({exit_.code!r})", "let it run to its end")
    except NotAllowed as refusal:
        result["error"] = _error(_own_line(refusal, job["script"]), *refusal.args)
    except BaseException as error:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        result["error"] = _error(_own_line(error, job["script"]), message, "")
    result["cpu"], result["wall"] = time.process_time() - cpu, time.perf_counter() - started
    result["values"] = _values(module)
    result["files"] = sorted(files)
    try:
        sys.stdout.flush()
    except OSError as error:  # the output has reached its limit, or the disk is full
        result["error"] = result["error"] or _error(0, f"OSError: {error}", "")
    pending = folder / "result.json.part"
    pending.write_text(json.dumps(result), "utf-8")
    pending.rename(folder / "result.json")


def _error(line: int, message: str, advice: str) -> dict[str, Any]:
    return {"line": line, "message": message.strip()[:2000], "advice": advice}


def _own_line(error: BaseException, script: str) -> int:
    """The last line of the snippet's own file on the way to the error; 0 where there is none."""
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == script]
    return (frames[-1] or 0) if frames else 0


def _limit(job: dict[str, Any], folder: Path) -> None:
    """Limits of the operating system; when time is over, `trace.txt` says where the snippet was."""
    (folder / "work").mkdir(parents=True)
    if sys.platform == "win32":
        return
    import resource

    trace = open(folder / "trace.txt", "w")  # noqa: SIM115 (stays open for the signal handler)
    for number in (signal.SIGXCPU, signal.SIGALRM):
        faulthandler.register(number, file=trace, all_threads=False, chain=True)
    faulthandler.enable(file=trace, all_threads=False)
    # process_time() counts a fork from zero, as RLIMIT_CPU does
    cpu = int(job["cpu_seconds"] + time.process_time()) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, job["wall_seconds"])
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        held = int(status.split("VmData:")[1].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (held + job["memory_bytes"],) * 2)


def _redirect(folder: Path) -> None:
    """Output goes to files: a pipe that a forgotten process holds would block whoever reads it."""
    for number, name in ((0, os.devnull), (1, folder / "stdout.txt"), (2, folder / "stderr.txt")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 << 16, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)


def _fresh_randomness() -> None:
    """Global generators start anew, as in a fresh interpreter: an unseeded snippet must not look reproducible."""
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()


def _figures(folder: Path, result: dict[str, Any]) -> None:
    """Set matplotlib's style, and let plt.show() save what it would show."""
    plt: Any = sys.modules.get("matplotlib.pyplot")
    if plt is None:
        return

    def show(*arguments: Any, **keywords: Any) -> None:
        line = sys._getframe(1).f_lineno
        for number in plt.get_fignums():
            figure = plt.figure(number)
            name = figure.get_label()
            if not name:
                raise NotAllowed("shows a figure without a name", 'name it: plt.subplots(num="...")')
            if not re.fullmatch(FIGURE_NAME, name):
                raise NotAllowed(f"names a figure {name!r}", "use letters, digits, _ and -: it becomes a file's name")
            if figures.is_blank(figure):
                raise NotAllowed(f"shows the figure {name!r} with nothing drawn in it", "draw or remove it")
            svg, width, height = figures.to_svg(figure)
            if len(svg.encode()) > figures.MAX_BYTES:
                size = f"{len(svg.encode()) // 1000} kB, more than {figures.MAX_BYTES // 1000} kB"
                raise NotAllowed(f"shows the figure {name!r} of {size}", "draw fewer points, or rasterize them")
            if any(name == figure["name"] for figure in result["figures"]):
                raise NotAllowed(f"shows two figures named {name!r}", "give each its own name")
            (folder / f"{len(result['figures'])}.svg").write_text(svg, "utf-8")
            result["figures"].append({"name": name, "width": width, "height": height, "line": line})
        plt.close("all")

    plt.rcdefaults()
    plt.rcParams.update(figures.style())
    plt.show = show


def _values(module: types.ModuleType) -> dict[str, Any]:
    """Public module-level numbers, strings and booleans: what prose may name."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, int) and value.bit_length() > 64 * 64:  # Python refuses to print more digits
            continue
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= TEXT_VALUE):
            found[name] = value
    return found


def main(job: dict[str, Any]) -> NoReturn:
    """Run a snippet and end the process: with 128 and the error's number where its folder cannot be written."""
    try:
        run(job)
    except OSError as error:
        os._exit(128 + (error.errno or 0))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
