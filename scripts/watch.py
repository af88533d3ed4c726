"""What a snippet may do, watched through Python's audit hooks: what it reads is recorded, the rest refused.

This protects from mistakes, not from malice: it sees what goes through Python (docs/decisions/0008).
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

# audit events that change the disk: where each names a path, and where the descriptor of the folder that it starts in
CHANGES: dict[str, list[tuple[int, int | None]]] = {
    "os.remove": [(0, 1)],
    "os.rename": [(0, 2), (1, 3)],
    "os.rmdir": [(0, 1)],
    "os.mkdir": [(0, 2)],
    "os.truncate": [(0, None)],
    "os.link": [(0, 2), (1, 3)],
    "os.symlink": [(0, 2), (1, 2)],
    "os.chmod": [(0, 2)],
    "os.chown": [(0, 3)],
    "os.utime": [(0, 3)],
    "shutil.rmtree": [(0, None)],
    "sqlite3.connect": [(0, None)],
}
# where an event names the address that it talks to
TALKS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}
LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1|0\.0\.0\.0|::|")
# what may be read beside the repository and Python: the system, never a person's own files
SYSTEM = ("/usr/", "/lib", "/etc/", "/dev/", "/sys/", "/opt/", "/nix/", "/System/", "/Library/", "/private/etc/")

LINUX = sys.platform == "linux"


class NotAllowed(Exception):
    """The snippet did what a page's code must not do."""


def watch(root: Path, folder: Path, script: Path) -> set[str]:
    """From now on record the repository's files that this process reads, and refuse what a page's code must not do."""
    files: set[str] = set()
    inside, writable = f"{root}/", (f"{folder}/", "/dev/")
    skipped = (f"{root}/.venv/", f"{root}/.cache/matplotlib/", f"{root}/scripts/", f"{script}", *writable)
    python = {str(Path(__file__).parent), sys.prefix, sys.base_prefix, *filter(None, sys.path)}
    python -= {str(root), str(Path(__file__).parent.parent)}  # where `python -m` was started
    python |= {os.path.realpath(path) for path in python}
    readable = (*skipped, *(f"{path}/" for path in python), *SYSTEM, "/proc/self/", f"/proc/{os.getpid()}/")

    def changes(path: Any, start: Any) -> None:
        if isinstance(path, int) or path == ":memory:":
            return
        base = os.readlink(f"/proc/self/fd/{start}") if isinstance(start, int) and start >= 0 and LINUX else ""
        full = os.path.abspath(os.path.join(base, os.fsdecode(path)))
        if not f"{full}/".startswith(writable):
            raise NotAllowed(f"changes {full}", "write below the working folder")

    def opens(path: Any, flags: int) -> None:
        full = os.path.abspath(os.fsdecode(path))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            if not full.startswith(writable):
                raise NotAllowed(f"writes to {full}", "write below the working folder")
        elif full.startswith(skipped):
            pass
        elif full.startswith(inside) and not full[len(inside)].startswith("."):
            if not full.endswith(".pyc"):
                files.add(full[len(inside) :])
        elif not f"{full}/".startswith(readable) and not re.match(r"/proc/[a-z]", full) and sys.platform != "win32":
            raise NotAllowed(f"reads {full}", "read what lies beside it, or ships with a library")

    def talks(address: Any, name_only: bool) -> None:
        if isinstance(address, tuple) or name_only:
            host = address[0] if isinstance(address, tuple) else address
            host = host.decode() if isinstance(host, bytes) else str(host or "")
            if not LOOPBACK.fullmatch(host):
                raise NotAllowed(f"opens a network connection to {host}", "use data that ships with a library")
        elif address and not os.path.abspath(os.fsdecode(address)).startswith(writable):
            raise NotAllowed(f"connects to {os.fsdecode(address)}", "talk to nobody")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(arguments[0], str | bytes | os.PathLike):
                opens(arguments[0], arguments[2])
        elif event in CHANGES:
            for path, start in CHANGES[event]:
                changes(arguments[path], arguments[start] if start else None)
        elif event in TALKS:
            talks(arguments[TALKS[event]], name_only="host" in event or "addr" in event)

    sys.addaudithook(hook)
    return files
