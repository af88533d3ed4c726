"""Problems are values: where, what is wrong, what to do. They are collected, sorted and printed together."""

import difflib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, order=True)
class Problem:
    """One thing for a person to mend. `path` is relative to the root; `line` counts from 1, 0 = whole file."""

    path: str
    line: int
    message: str
    advice: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}" + (f" ({self.advice})" if self.advice else "")


class Stop(Exception):
    """A user's mistake that ends the command: shown as one line, without a traceback."""


# what a person can mend when the operating system refuses, and what to do; any other error is a fault of the engine
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room, then run the same command again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable for you"),
    errno.EIO: "look after the disk, then run the same command again",
    errno.ENOMEM: "end other programs, then run the same command again",
    errno.EMFILE: "raise the limit with ulimit -n",
}


def refusal(error: OSError) -> str:
    """What to tell of an error of the operating system; empty where nobody but the engine is to blame."""
    if error.errno not in ADVICE:
        return ""
    file = Path(str(error.filename or "build"))
    place = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)
    return f"{place}: {os.strerror(error.errno)} ({ADVICE[error.errno]}); the site published before is unchanged."


def report(problems: Iterable[Problem]) -> int:
    """Print each problem once, in a total order; return how many there are."""
    found = sorted(set(problems))
    for problem in found:
        print(problem, flush=True)
    return len(found)


def counted(count: int) -> str:
    """The number of problems in words."""
    return f"{count or 'no'} problem{'' if count == 1 else 's'}"


def nearest(name: str, names: Iterable[str]) -> str:
    """Advice that names the nearest right name, or all of them where none is near."""
    known = sorted(set(names))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"there is: {shown}" if known else "there is none"
