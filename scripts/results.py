"""What a snippet gave, and the content-addressed store that keeps it."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scripts import child, figures, watch
from scripts.problems import ROOT, Problem
from scripts.snippets import LIBRARIES, Snippet

SCHEMA = 1
# what the engine itself contributes to a result: how a snippet runs, and how its figures look
ENGINE = b"".join(Path(str(module.__file__)).read_bytes() for module in (child, watch, figures))
# control characters are shown, and those that would change the direction of the text after them
VISIBLE: dict[int, int | str] = {code: 0x2400 + code for code in range(32) if code not in (9, 10)}
VISIBLE[0x7F] = 0x2421
VISIBLE |= {code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


@dataclass(frozen=True)
class Figure:
    """A named figure: SVG text, size in CSS pixels."""

    name: str
    svg: str
    width: int
    height: int


@dataclass(frozen=True)
class Result:
    """Printed text, figures, values and CPU seconds of one run; `problem` where it failed."""

    stdout: str
    figures: dict[str, Figure]
    values: dict[str, Any]
    cpu: float
    files: tuple[str, ...] = ()
    problem: Problem | None = None
    skipped: bool = False  # not run, because a library is not installed here

    def same_as(self, other: "Result") -> bool:
        """Whether a reader would see the same."""
        mine, its = (
            (self.stdout, self.figures, self.values),
            (other.stdout, other.figures, other.values),
        )
        return repr(mine) == repr(its)  # repr: nan equals nan


def read_result(folder: Path, path: str) -> Result:
    """The result in a run's or an entry's folder. Raises OSError, KeyError or ValueError where it is not whole."""
    raw = json.loads((folder / "result.json").read_text("utf-8"))
    stdout = (folder / "stdout.txt").read_bytes()[: child.OUTPUT_BYTES]
    found = {}
    for number, each in enumerate(raw["figures"]):
        if not re.fullmatch(child.FIGURE_NAME, each["name"]):  # it becomes a file's name
            raise ValueError(f"figure {each['name']!r}")
        svg = (folder / f"{number}.svg").read_text("utf-8")
        found[each["name"]] = Figure(each["name"], svg, each["width"], each["height"])
    error = raw["error"]
    problem = Problem(path, error["line"], visible(error["message"]), error["advice"]) if error else None
    values = {name: visible(value) if isinstance(value, str) else value for name, value in raw["values"].items()}
    text = visible(stdout.decode("utf-8", "replace").replace("\r\n", "\n"))
    return Result(text, found, values, raw["cpu"], tuple(raw["files"]), problem)


def visible(text: str) -> str:
    """Text of a snippet as a page can show it: no control characters, nothing that UTF-8 does not have."""
    return text.encode("utf-8", "replace").decode().translate(VISIBLE)


@cache
def _version(distribution: str) -> str:
    for name in (distribution, f"{distribution}-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "absent"


def versions(imports: Iterable[str]) -> dict[str, str]:
    """Versions of the libraries behind these imports and of what their numbers depend on."""
    names = {distribution for name in imports for distribution in LIBRARIES.get(name, ())}
    return {name: _version(name) for name in sorted(names)}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "absent"


class Cache:
    """Entries are folders named by what the result depends on; each carries a checksum that reading verifies."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder, self.root = folder / "results", root

    def key(self, snippet: Snippet) -> str:
        """Script, libraries with versions, Python, engine. Files that it read are compared on lookup."""
        python = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
        parts = [
            SCHEMA,
            python,
            Path(snippet.path).name,
            versions(snippet.imports),
            snippet.cpu_seconds,
        ]
        text = json.dumps(parts).encode() + b"\0" + snippet.source.encode() + b"\0" + ENGINE
        return hashlib.sha256(text).hexdigest()[:32]

    def get(self, snippet: Snippet) -> Result | None:
        """The kept result, if it is whole and nothing that it depends on has changed."""
        folder = self.folder / self.key(snippet)
        try:
            seal = json.loads((folder / "seal.json").read_text("utf-8"))
            if seal["sum"] != _sum(folder):
                raise ValueError("checksum")
            if any(_digest(self.root / name) != digest for name, digest in seal["files"].items()):
                return None
            return read_result(folder, snippet.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)  # damaged: computed again
            return None

    def put(self, snippet: Snippet, run: Path, result: Result) -> None:
        """Keep a successful run: written beside, then renamed. A cache that cannot be written is no error."""
        target, part = self.folder / self.key(snippet), None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=self.folder))
            for name in [
                "result.json",
                "stdout.txt",
                *(f"{i}.svg" for i in range(len(result.figures))),
            ]:
                shutil.copyfile(run / name, part / name)
            files = {name: _digest(self.root / name) for name in result.files}
            seal = json.dumps({"sum": _sum(part), "files": files})
            (part / "seal.json").write_text(seal, "utf-8")
            shutil.rmtree(target, ignore_errors=True)
            os.rename(part, target)
        except OSError:
            if part:
                shutil.rmtree(part, ignore_errors=True)


def _sum(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name != "seal.json":
            data = file.read_bytes()
            digest.update(f"{file.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()
