"""The builder's end of a fork server."""

import json
import socket
import subprocess
import sys
import tempfile
from typing import Any

from scripts.problems import ROOT, Stop


class Server:
    """One preloaded process and the socket to it."""

    def __init__(self, modules: list[str], environment: dict[str, str]) -> None:
        self.modules, self.ready, self.received = modules, False, b""
        self.socket, theirs = socket.socketpair()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server)
        command = [sys.executable, "-m", "scripts.forkserver", str(theirs.fileno()), *modules]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,  # who kills the builder's group must not kill the one that cleans up
        )
        theirs.close()

    def send(self, job: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(job).encode() + b"\n")

    def messages(self) -> list[dict[str, Any]]:
        """What has arrived. Raises Stop if the server has died."""
        data = self.socket.recv(1 << 16)
        if not data:
            self.log.seek(0)
            last = self.log.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Stop(f"cannot import {', '.join(self.modules)}: {''.join(last)}")
        *lines, self.received = (self.received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self.socket.close()
        try:
            self.process.wait(10 if self.ready else 0)  # it ends what it has started
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
