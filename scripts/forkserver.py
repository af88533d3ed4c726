"""A process that imports the heavy libraries once and forks a fresh child for every snippet (Linux).

`python -m scripts.forkserver FD MODULE ...` talks JSON lines over the socket FD. Safe only while the server itself has
run nothing: one multi-threaded operation before the fork would hang the children, so it imports and forks, no more.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

from scripts import child, confine

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(descriptor: int, modules: list[str]) -> None:
    connection = socket.socket(fileno=descriptor)
    libc = ctypes.CDLL(None)
    confine.leave_network()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no server outlives its builder
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # a process that a snippet left behind comes to us
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the builder decides what Ctrl-C means
    sys.dont_write_bytecode = True
    for name in modules:
        importlib.import_module(name)
    _warm_up(modules)
    gc.collect()
    gc.freeze()
    threads = len(os.listdir("/proc/self/task"))
    # from here on the end of the connection says that the builder has gone, and there is time to end what runs
    libc.prctl(PR_SET_PDEATHSIG, 0)
    _send(connection, {"ready": True, "threads": threads})
    serve(connection, libc)


def _warm_up(modules: list[str]) -> None:
    """Pay matplotlib's one-time costs (font list, SVG backend) before the first fork."""
    if "matplotlib.pyplot" in modules:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots()
        axes.set_title("$x$")
        figure.savefig(io.BytesIO(), format="svg")
        plt.close("all")


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def serve(connection: socket.socket, libc: ctypes.CDLL) -> None:
    """Fork a child per job line; report each child's end; stop at end of file."""
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    received = b""
    running: dict[int, dict[str, Any]] = {}
    while True:
        now = time.monotonic()
        timeout = min((job["deadline"] - now for job in running.values()), default=None)
        for key, _ in selector.select(None if timeout is None else max(0.0, timeout)):
            if key.data is None:
                data = connection.recv(1 << 16)
                if not data:
                    for job in running.values():
                        _kill(job["pid"])
                    _kill_orphans(set())
                    return
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    started = _fork(json.loads(line), libc, connection)
                    running[started["descriptor"]] = started
                    selector.register(started["descriptor"], selectors.EVENT_READ, started["id"])
            elif job := running.pop(key.fd, None):  # type: ignore[arg-type]
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status, usage = os.wait4(job["pid"], 0)
                _kill(job["pid"])
                _kill_orphans({other["pid"] for other in running.values()})
                end = {"done": job["id"], "status": status, "memory": usage.ru_maxrss * 1024}
                end["cpu"] = usage.ru_utime + usage.ru_stime
                _send(connection, end)
        for job in running.values():
            if time.monotonic() >= job["deadline"]:  # it has ignored its own alarm
                _kill(job["pid"])
                job["deadline"] = float("inf")


def _fork(job: dict[str, Any], libc: ctypes.CDLL, connection: socket.socket) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            connection.close()
            child.main(job)
        finally:
            os._exit(0)
    deadline = time.monotonic() + job["wall_seconds"] + 3
    return {"id": job["id"], "pid": pid, "descriptor": os.pidfd_open(pid), "deadline": deadline}


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _kill_orphans(jobs: set[int]) -> None:
    """Kill processes that detached themselves from a snippet: they are now our children, and not jobs."""
    while orphans := _children() - jobs:  # the children of one that ends become ours in turn
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> set[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return {int(pid) for pid in file.read().split()}
    except OSError:
        return set()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
