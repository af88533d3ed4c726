"""A page and its front matter: YAML read with the line of each fault, validated with a schema."""

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from scripts.problems import Problem, Stop
from scripts.snippets import read_text

LEVELS = ["beginner", "advanced", "research"]
FRAMEWORKS = ["numpy", "torch", "tensorflow"]
# titles, summaries and tags go into attributes and navigation: plain words, no markup
PLAIN = r"^[^<>\"`$\[\]{}\\\x00-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+$"
TEXT = {"type": "string", "minLength": 1, "pattern": PLAIN}
SUMMARY = {**TEXT, "maxLength": 160}
TOPIC_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title", "summary", "prerequisites", "level", "minutes", "tags"],
    "properties": {
        "title": TEXT,
        "summary": SUMMARY,
        "prerequisites": {"type": "array", "items": TEXT, "uniqueItems": True},
        "level": {"enum": LEVELS},
        "minutes": {"type": "integer", "minimum": 1, "maximum": 600},
        "tags": {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
    },
}
DOCS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title", "summary"],
    "properties": {"title": TEXT, "summary": SUMMARY, "hide": {"type": "array"}, "template": TEXT},
}
TOPIC_PATH = r"^[a-z0-9]+(-[a-z0-9]+)*(/[a-z0-9]+(-[a-z0-9]+)*)*$"
MODULE_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {
        "path": {
            "type": "string",
            "pattern": TOPIC_PATH,
        },
        "frameworks": {"type": "array", "items": {"enum": FRAMEWORKS}, "uniqueItems": True},
    },
}
CURRICULUM_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["parts"],
    "properties": {
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["part", "modules"],
                "properties": {"part": TEXT, "modules": {"type": "array", "items": MODULE_SCHEMA}},
            },
        }
    },
}
DEEPEST = 20  # libyaml follows nesting by recursion, until the stack ends
FRONT = re.compile(r"\A---\n(.*?)^---[ \t]*(?:\n|\Z)", re.S | re.M)


@dataclass
class Page:
    """A Markdown page. `path` is relative to the root; `line` is the line at which `body` starts."""

    path: str
    meta: dict[str, Any]
    body: str
    line: int

    @property
    def title(self) -> str:
        return str(self.meta.get("title") or Path(self.path).parent.name)

    @property
    def url(self) -> str:
        """The page's source path on the site: docs/ is the site's root, modules/ a folder beside it."""
        return self.path.removeprefix("docs/")

    def link(self, url: str) -> str:
        """The relative link from this page to a source path of the site."""
        return posixpath.relpath(url, posixpath.dirname(self.url))


def read_yaml(text: str, path: str, line: int, schema: dict[str, Any]) -> tuple[Any, list[Problem]]:
    """Parse and validate YAML that starts at this line of a file; problems carry the line of the faulty node."""
    try:
        if fault := _bomb(text, path, line):
            return {}, [fault]
        tree = yaml.compose(text, yaml.CSafeLoader)
        if twice := _repeated_key(tree):
            at = line + twice.start_mark.line
            return {}, [Problem(path, at, f"the key {twice.value!r} stands here a second time", "remove one")]
        value = yaml.load(text, yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = line + mark.line if mark else line
        column = f" in column {mark.column + 1}" if mark else ""
        return {}, [Problem(path, place, f"not valid YAML{column}: {error.problem}", "see yaml.org")]
    except (yaml.YAMLError, ValueError) as error:
        return {}, [Problem(path, line, f"not valid YAML: {error}")]
    found = []
    for fault in jsonschema.Draft202012Validator(schema).iter_errors(value):
        known = fault.validator == "additionalProperties"
        unknown = [key for key in fault.instance if key not in fault.schema["properties"]] if known else []
        place = line + _line_of(tree, [*fault.absolute_path, *unknown[:1]])
        where = ".".join(str(part) for part in fault.absolute_path)
        message = f"{where}: {fault.message}" if where else fault.message
        advice = f"allowed: {', '.join(sorted(fault.schema.get('properties', {})))}" if known else ""
        if fault.validator_value == PLAIN:
            message, advice = f"{where}: {fault.instance!r} is not plain text", "no markup, quotes, braces or controls"
        found.append(Problem(path, place, message, advice))
    return (value if not found else {}), found


def _bomb(text: str, path: str, line: int) -> Problem | None:
    """What would make a small file large or deep: aliases, and nesting."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        at = line + event.start_mark.line if event.start_mark else line
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            return Problem(path, at, "YAML alias", "write the value out")
        if depth > DEEPEST:
            return Problem(path, at, f"YAML nested more than {DEEPEST} deep", "see the other files")
    return None


def _repeated_key(tree: Any) -> Any:
    """The node of a key that its mapping has twice: YAML would silently take the last."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    return key
                seen.add(str(key.value))
                pending.append(value)
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return None


class _Loader(yaml.CSafeLoader):
    """Reads mkdocs.yml without importing what its tags name."""


# MkDocs itself would call what other Python tags name
_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)


def read_settings(root: Path) -> dict[str, Any]:
    """mkdocs.yml. Raises Stop where there is none, or no YAML in it: without it there is no site."""
    text, found = read_text(root / "mkdocs.yml", "mkdocs.yml")
    if found:
        raise Stop(str(found[0]))
    try:
        if fault := _bomb(text, "mkdocs.yml", 1):
            raise Stop(str(fault))
        settings = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise Stop(f"mkdocs.yml{place}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Stop(f"mkdocs.yml: not valid YAML: {error}") from None
    theme = settings.get("theme") if isinstance(settings, dict) else None
    if not isinstance(theme, dict) or not isinstance(theme.get("custom_dir"), str):
        raise Stop("mkdocs.yml: no theme with a custom_dir (see the project's own file)")
    if not isinstance(settings.get("nav", []), list):
        raise Stop("mkdocs.yml: nav is no list (see the project's own file)")
    return settings  # type: ignore[no-any-return]


def _line_of(node: Any, path: list[str | int]) -> int:
    """The line, from 0, of the YAML node at this path."""
    for part in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == str(part)), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
    return int(node.start_mark.line) if node is not None else 0


def read_page(root: Path, path: str, schema: dict[str, Any]) -> tuple[Page, list[Problem]]:
    """A page and its problems; a page with faulty front matter is still a page."""
    text, found = read_text(root / path, path)
    match = FRONT.match(text)
    if found or not match:
        if not found:
            found = [Problem(path, 1, "no front matter", "start with a block between two lines '---'")]
        return Page(path, {}, "", 1), found
    meta, problems = read_yaml(match[1], path, 2, schema)
    body = text[match.end() :]
    return Page(path, meta if isinstance(meta, dict) else {}, body, text.count("\n", 0, match.end()) + 1), problems
