"""Problems are values: where, what is wrong, what to do. They are collected, sorted and printed together."""

import difflib
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
