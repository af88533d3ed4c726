"""What can be known of a snippet without running it: its imports, functions, names, figures and faults."""

import ast
import importlib.util
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scripts.problems import ROOT, Problem

# import name -> distributions whose version the result depends on
LIBRARIES = {
    "numpy": ("numpy",),
    "matplotlib": ("matplotlib", "numpy"),
    "scipy": ("scipy", "numpy"),
    "sklearn": ("scikit-learn", "scipy", "numpy"),
    "torch": ("torch", "numpy"),
    "tensorflow": ("tensorflow", "keras", "numpy"),
    "keras": ("tensorflow", "keras", "numpy"),
}
OURS = {"scripts", "snippets", "modules", "tests", "docs"}
CPU_SECONDS, EXPERIMENT_CPU_SECONDS = 10, 30
# control characters, and those that change the direction of text so that code reads as what it is not
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Snippet:
    """One runnable file. `path` is relative to the repository's root, with slashes."""

    path: str
    source: str
    root: Path = field(default=ROOT, repr=False)

    @property
    def file(self) -> Path:
        return self.root / self.path

    @property
    def url(self) -> str:
        """Where the file lies on the site: docs/ is the site's root."""
        return self.path.removeprefix("docs/")

    @property
    def stem(self) -> str:
        return Path(self.path).stem

    @property
    def cpu_seconds(self) -> int:
        """The limit: a file named experiment_* or lab_* has declared itself long."""
        return EXPERIMENT_CPU_SECONDS if self.stem.startswith(("experiment_", "lab_")) else CPU_SECONDS

    @cached_property
    def _parsed(self) -> ast.Module | Problem:
        try:
            return ast.parse(self.source, self.path)
        except SyntaxError as error:
            text = (error.text or "").strip()
            return Problem(self.path, error.lineno or 0, f"syntax error: {error.msg}", text)
        except ValueError as error:
            return Problem(self.path, 0, f"cannot be parsed: {error}")

    @property
    def tree(self) -> ast.Module | None:
        """The syntax tree; None where the source is not Python."""
        return self._parsed if isinstance(self._parsed, ast.Module) else None

    @cached_property
    def imports(self) -> dict[str, int]:
        """Top-level names of imported modules, with the line of the first import."""
        found: dict[str, int] = {}
        for node in ast.walk(self.tree) if self.tree else ():
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""] if node.level == 0 else ["."]
            else:
                continue
            for name in names:
                found.setdefault(name.split(".")[0], node.lineno)
        return found

    @cached_property
    def symbols(self) -> dict[str, ast.stmt]:
        """Functions and classes (and methods as Class.method) that a page can show."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body if self.tree else ():
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef):
                        found[f"{node.name}.{inner.name}"] = inner
        return found

    def symbol_source(self, name: str) -> str:
        """The text of a function or class, with its decorators, without indentation."""
        node = self.symbols[name]
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        lines = self.source.splitlines()[first - 1 : node.end_lineno]
        return "\n".join(line[node.col_offset :] for line in lines) + "\n"

    @cached_property
    def module_names(self) -> set[str]:
        """Names bound at module level, the `if __name__ == "__main__"` block included."""
        found: set[str] = set()
        pending: list[ast.AST] = list(self.tree.body) if self.tree else []
        while pending:
            node = pending.pop()
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.ListComp):
                continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            pending.extend(ast.iter_child_nodes(node))
        return {name for name in found if not name.startswith("_")}

    @cached_property
    def figure_names(self) -> set[str]:
        """Constant values of matplotlib's `num=` in the source."""
        found = set()
        for node in ast.walk(self.tree) if self.tree else ():
            if isinstance(node, ast.keyword) and node.arg == "num":
                if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                    found.add(node.value.value)
        return found

    def obstacles(self) -> list[Problem]:
        """Why the snippet cannot run, seen without running it: syntax, and imports that no reader has."""
        if isinstance(self._parsed, Problem):
            return [self._parsed]
        found = []
        for name, line in self.imports.items():
            if name in OURS or name == ".":
                found.append(Problem(self.path, line, "imports this project", "a reader's copy must run alone"))
            elif name not in LIBRARIES and name not in sys.stdlib_module_names:
                if not (self.file.parent / f"{name}.py").is_file():
                    advice = f"use the standard library or {', '.join(LIBRARIES)}"
                    found.append(Problem(self.path, line, f"imports {name!r}", advice))
        return found

    @cached_property
    def absent(self) -> str:
        """A library that the snippet imports and that is not installed here; empty where all are."""
        return next((n for n in self.imports if n in LIBRARIES and not importlib.util.find_spec(n)), "")

    def check(self) -> list[Problem]:
        """Every fault that shows without running."""
        found = self.obstacles()
        if self.tree and not ast.get_docstring(self.tree):
            advice = "its first line says, as a claim, what the snippet shows"
            found.append(Problem(self.path, 1, "no docstring", advice))
        if self.tree and not any(isinstance(node, ast.Assert) for node in ast.walk(self.tree)):
            found.append(Problem(self.path, 1, "no assert", "end with the claims that must hold"))
        return found


def read_text(file: Path, path: str) -> tuple[str, list[Problem]]:
    """The text of a source file with Unix line ends, and what is wrong with its bytes.

    `path` is the file's below the root: no part of it may lead elsewhere by a symbolic link.
    """
    if any(part.is_symlink() for part in [file, *file.parents][: path.count("/") + 1]):
        return "", [Problem(path, 0, "is a symbolic link", "put the file itself here")]
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            return "", [Problem(path, 0, "is no regular file", "put a file here")]
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return "", [Problem(path, 0, f"not UTF-8: byte {error.start}", "save it as UTF-8")]
    except OSError as error:
        return "", [Problem(path, 0, f"cannot be read: {error.strerror}")]
    if text.startswith("\ufeff"):
        return "", [Problem(path, 1, "starts with a byte order mark", "save as UTF-8 without BOM")]
    text = text.replace("\r\n", "\n")
    found = []
    for match in INVISIBLE.finditer(text):
        message = f"control character U+{ord(match[0]):04X}"
        line = text.count("\n", 0, match.start()) + 1
        found.append(Problem(path, line, message, "remove it"))
    return text, found
