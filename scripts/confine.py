"""Limits that compiled code and other programs keep as well, where Linux offers them (docs/decisions/0008).

A fork server has a network of its own that leads nowhere; a snippet writes below its own folder only (Landlock).
Where the kernel or a container does not allow it, nothing happens: then the audit hook alone stands guard.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
GET_VERSION, PATH_BENEATH, NO_NEW_PRIVS = 1, 1, 38
# Landlock's rights that change the disk: to write a file, to remove, and to make each kind of it
WRITES = 1 << 1 | 1 << 4 | 1 << 5 | sum(1 << bit for bit in range(6, 13))
REFER, TRUNCATE = 1 << 13, 1 << 14  # since the versions 2 and 3
SCOPED = 0b11  # since version 6: no abstract sockets and no signals to processes outside


def leave_network() -> bool:
    """Give this process, which has one thread, a network with nothing but loopback in it. Whether that was possible."""
    pid = os.fork()  # tried out first: there is no way back from a half-made namespace
    if pid == 0:
        with contextlib.suppress(OSError):
            _leave()
            os._exit(0)
        os._exit(1)
    if os.waitpid(pid, 0)[1]:
        return False
    _leave()
    return True


def _leave() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET):  # for root; others need users of their own, and stay who they are
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def write_only_below(*folders: str) -> bool:
    """From now on this process and its children change nothing outside these folders. Whether that was possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION)
    if version < 2:  # the first version does not allow a move from folder to folder
        return False
    rights = WRITES | REFER | (TRUNCATE if version >= 3 else 0)
    rules = struct.pack("QQQ", rights, 0, SCOPED if version >= 6 else 0)
    size = 24 if version >= 6 else 8
    ruleset = libc.syscall(CREATE_RULESET, rules, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            below = os.open(folder, os.O_PATH)
            libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, below), 0)
            os.close(below)
        return not libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) and not libc.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
