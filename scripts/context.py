"""What rendering reads, and what it finds out on the way."""

import posixpath
from dataclasses import dataclass, field
from typing import Any

from scripts.discover import Project
from scripts.problems import Problem
from scripts.results import Result
from scripts.tex import Tex


@dataclass
class Uses:
    """What the pages use: what nobody uses is an error as well."""

    snippets: set[str] = field(default_factory=set)
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
    uses: Uses = field(default_factory=Uses)
    problems: list[Problem] = field(default_factory=list)

    def map(self, start: str) -> str:
        """All parts with their topics, as a table; links start at the folder `start`."""
        rows = ["| Part | Topics |", "|---|---|"]
        for part, topics in self.project.parts.items():
            pages = [topic.page for topic in topics if topic.page]
            links = [f"[{page.title}]({posixpath.relpath(page.url, start)})" for page in pages]
            rows.append(f"| {part} | {' · '.join(links)} |")
        return "\n".join(rows)
