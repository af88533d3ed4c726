"""What rendering reads, and what it finds out on the way."""

from dataclasses import dataclass, field
from typing import Any

from scripts.discover import Project
from scripts.problems import Problem
from scripts.results import Result
from scripts.tex import Tex


@dataclass
class Uses:
    """What the pages use: what nobody uses is an error as well."""

    shown: dict[str, set[str]] = field(default_factory=dict)  # the files of code on each page
    figures: set[tuple[str, str]] = field(default_factory=set)
    citations: dict[str, set[str]] = field(default_factory=dict)
    links: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass
class Context:
    """What rendering reads and writes. Without results (None) it checks what can be checked without running."""

    project: Project
    results: dict[str, Result] | None
    tex: Tex
    facts: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    uses: Uses = field(default_factory=Uses)
    problems: list[Problem] = field(default_factory=list)
