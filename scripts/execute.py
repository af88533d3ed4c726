"""Run every changed snippet in a process of its own, longest first, several at a time."""

import contextlib
import importlib.util
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts import verdict
from scripts.problems import ROOT
from scripts.results import Cache, Result
from scripts.server import Server
from scripts.snippets import Snippet

FORK = sys.platform == "linux"  # where forking after the imports is safe
SINGLE_THREAD = ["OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"]
ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in SINGLE_THREAD},
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "1",
    "MPLBACKEND": "svg",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
Notify = Callable[[str, Snippet], None]  # "start" or "done"
Finish = Callable[[Snippet, dict[str, Any]], None]  # a snippet's process has ended


def preloads(snippet: Snippet) -> list[str]:
    """The heavy modules that this snippet needs, in order of import."""
    heavy = ["numpy", "matplotlib.pyplot"]
    if "sklearn" in snippet.imports:
        heavy.append("sklearn.datasets")
    if "torch" in snippet.imports:
        heavy += ["torch", "torch._dynamo"]  # the first optimizer step would import the latter
    if {"tensorflow", "keras"} & set(snippet.imports):
        heavy += ["tensorflow", "keras"]
    return [name for name in heavy if importlib.util.find_spec(name.split(".")[0])]


def _frameworks(modules: list[str]) -> tuple[str, ...]:
    """Which of these modules decide on the server."""
    return tuple(name for name in modules if name in ("torch", "tensorflow"))


class Runner:
    """Runs snippets; keeps its servers until closed, so that a second run pays for no import."""

    def __init__(self, cache: Cache, jobs: int = 0, fork: bool = FORK) -> None:
        self.cache, self.fork = cache, fork
        cores = len(os.sched_getaffinity(0)) if FORK else os.cpu_count() or 1
        self.jobs = jobs or cores
        self.servers: dict[tuple[str, ...], Server] = {}
        self.times_file = cache.folder.parent / "times.json"
        self.times: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            self.times = json.loads(self.times_file.read_text("utf-8"))
        config = cache.folder.parent / "matplotlib"
        config.mkdir(parents=True, exist_ok=True)
        kept = ("PATH", "SYSTEMROOT", "TEMP", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment |= {**ENVIRONMENT, "MPLCONFIGDIR": str(config), "HOME": str(config)}

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.close()
        self.servers.clear()

    def expected(self, snippet: Snippet) -> float:
        """CPU seconds that the snippet took last time, or a guess."""
        return self.times.get(snippet.path, snippet.cpu_seconds / 4)

    def run(
        self, snippets: Iterable[Snippet], notify: Notify = lambda *_: None, keep: bool = True
    ) -> dict[str, Result]:
        """Run these snippets, whatever the cache holds; results by path, failures among them."""
        pending = sorted(snippets, key=lambda s: (-self.expected(s), s.path))
        if not pending:
            return {}
        scratch = _scratch(self.cache.folder.parent / "scratch")
        results: dict[str, Result] = {}
        lock = threading.Lock()

        def finish(snippet: Snippet, end: dict[str, Any]) -> None:
            folder = scratch / str(end["done"])
            result = verdict.read_end(snippet, folder, end)
            if result.problem is None:
                if keep:
                    self.cache.put(snippet, folder, result)
                with lock:
                    self.times[snippet.path] = round(result.cpu, 3)
            shutil.rmtree(folder, ignore_errors=True)
            results[snippet.path] = result
            notify("done", snippet)

        try:
            start = self._run_forked if self.fork else self._run_fresh
            start(pending, scratch, notify, finish)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.times_file.write_text(json.dumps(self.times, indent=0, sort_keys=True), "utf-8")
        return results

    def _job(self, snippet: Snippet, number: int, scratch: Path) -> dict[str, Any]:
        return {
            "id": number,
            "script": str(snippet.file),
            "folder": str(scratch / str(number)),
            "root": str(snippet.root),
            "preload": [] if self.fork else preloads(snippet),
            "cpu_seconds": snippet.cpu_seconds,
            "wall_seconds": verdict.wall_seconds(snippet),
            "memory_bytes": verdict.MEMORY_BYTES,
        }

    def _run_forked(
        self,
        pending: list[Snippet],
        scratch: Path,
        notify: Notify,
        finish: Finish,
    ) -> None:
        numbered = dict(enumerate(pending))
        waiting, running = list(numbered), set[int]()
        with selectors.DefaultSelector() as selector:
            for server in self.servers.values():
                selector.register(server.socket, selectors.EVENT_READ, server)
            while waiting or running:
                importing = sum(not server.ready for server in self.servers.values())
                for number in list(waiting):
                    if len(running) + importing >= self.jobs:
                        break
                    server, started = self._server(numbered[number], pending)
                    if started:
                        selector.register(server.socket, selectors.EVENT_READ, server)
                        importing += 1
                    if server.ready:
                        waiting.remove(number)
                        running.add(number)
                        notify("start", numbered[number])
                        server.send(self._job(numbered[number], number, scratch))
                for key, _ in selector.select():
                    for message in key.data.messages():
                        if "ready" in message:
                            key.data.ready = True
                        else:
                            running.discard(message["done"])
                            finish(numbered[message["done"]], message)

    def _server(self, snippet: Snippet, pending: list[Snippet]) -> tuple[Server, bool]:
        """The server for this snippet's frameworks, started if need be."""
        frameworks = _frameworks(preloads(snippet))
        if frameworks in self.servers:
            return self.servers[frameworks], False
        alike = [modules for s in pending if _frameworks(modules := preloads(s)) == frameworks]
        modules = sorted(
            {name for each in alike for name in each},
            key=lambda n: max(m.index(n) for m in alike if n in m),
        )
        self.servers[frameworks] = Server(modules, self.environment)
        return self.servers[frameworks], True

    def _run_fresh(
        self,
        pending: list[Snippet],
        scratch: Path,
        notify: Notify,
        finish: Finish,
    ) -> None:
        def one(number: int, snippet: Snippet) -> None:
            job = self._job(snippet, number, scratch)
            notify("start", snippet)
            command = [sys.executable, "-m", "scripts.child", json.dumps(job)]
            process = subprocess.Popen(command, cwd=ROOT, env=self.environment, start_new_session=True)
            try:
                status = process.wait(job["wall_seconds"] + 60)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            # the same encoding as wait4()
            finish(snippet, {"done": number, "status": -status if status < 0 else status << 8})

        with ThreadPoolExecutor(self.jobs) as pool:
            for future in [pool.submit(one, *item) for item in enumerate(pending)]:
                future.result()


def _scratch(folder: Path) -> Path:
    """A folder for this run; those of killed processes go."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        try:
            os.kill(int(left.name.split("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (ValueError, PermissionError):
            continue
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=folder))
