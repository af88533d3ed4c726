"""What stands around the text of a page: its place among the topics, its tags, what its results were made with."""

import html
import json
import os
import platform
import posixpath
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.discover import Project, Topic
from scripts.pages import Page
from scripts.results import versions
from scripts.snippets import Snippet

NAMES = {"numpy": "NumPy", "scipy": "SciPy", "scikit-learn": "scikit-learn", "matplotlib": "Matplotlib"}
NAMES |= {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}
FARTHEST = 2  # steps before a topic that its map shows


def made(root: Path) -> str:
    """The date of the sources (UTC): SOURCE_DATE_EPOCH, else the last commit's; empty where neither is known.

    The clock would make every build differ from every other (docs/decisions/0009).
    """
    stamp = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not stamp and (root / ".git").exists():
        command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
        try:
            stamp = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""
    return datetime.fromtimestamp(int(stamp), UTC).strftime("%Y-%m-%d") if stamp.isdigit() else ""


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def front_matter(**fields: Any) -> str:
    """The head of a page in the stage."""
    rows = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items())  # JSON is YAML
    return "\n".join(["---", *rows, "---", "", f"# {fields['title']}", ""])


def topic_line(project: Project, page: Page, topic: Topic) -> str:
    """Part, level, time and prerequisites, under the title."""
    level, minutes = page.meta.get("level", ""), page.meta.get("minutes", 0)
    parts = [topic.part, str(level).capitalize(), f"{minutes} minutes"]
    needed = [project.topics[name].page for name in page.meta.get("prerequisites", []) if name in project.topics]
    needs = [f"[{other.title}]({page.link(other.url)})" for other in needed if other]
    if needs:
        parts.append(f"Prerequisites: {', '.join(needs)}")
    return " · ".join(parts)


def site_map(project: Project, page: Page) -> str:
    """All parts with their topics, in reading order."""
    lines = ['<dl class="map">']
    here = page.url.removesuffix("index.md").removesuffix(".md") or "."
    for part, topics in project.parts.items():
        shown = [(topic.path, topic.page.title) for topic in topics if topic.page]
        links = [f'<a href="{posixpath.relpath(f"modules/{n}", here)}/">{html.escape(t)}</a>' for n, t in shown]
        lines.append(f"<div><dt>{html.escape(part)}</dt><dd>{' · '.join(links)}</dd></div>")
    return "\n".join([*lines, "</dl>"])


def path_map(project: Project, topic: Topic) -> str:
    """A small map: what to read first, step by step up to this topic, and what builds on it."""
    steps = _before(project, topic.path)
    shown: dict[int, list[str]] = {}
    for name in sorted(steps, key=project.position.__getitem__):
        if name in project.needs[topic.path] or steps[name] <= FARTHEST:
            shown.setdefault(min(steps[name], FARTHEST), []).append(name)
    after = project.leads_to.get(topic.path, [])
    if len(shown) == 1 and not after:
        return ""
    columns = [shown[step] for step in sorted(shown, reverse=True)] + ([after] if after else [])
    heads = [*["First", "Then"][: len(shown) - 1], "This page", "Leads to"]
    lines = ['<nav class="path" aria-label="What comes before and after this topic"><ol>']
    for head, names in zip(heads, columns, strict=False):
        items = "".join(f"<li>{_step(project, topic, name)}</li>" for name in names)
        lines.append(f"<li><b>{head}</b><ul>{items}</ul></li>")
    return "\n".join([*lines, "</ol></nav>"])


def _before(project: Project, start: str) -> dict[str, int]:
    """Every topic that this one needs, directly or not, with the longest way to it; itself with 0."""
    found = [start]
    for name in found:
        found += [each for each in project.needs[name] if each in project.topics and each not in found]
    steps = {start: 0}
    for name in sorted(found, key=project.position.__getitem__, reverse=True):  # a prerequisite comes earlier
        for needed in project.needs[name]:
            if needed in project.topics:
                steps[needed] = max(steps.get(needed, 0), steps.get(name, 0) + 1)
    return steps


def _step(project: Project, topic: Topic, name: str) -> str:
    page = project.topics[name].page
    title = html.escape(page.title if page else name)
    if name == topic.path:
        return f'<span aria-current="page">{title}</span>'
    return f'<a href="{posixpath.relpath(name, topic.path)}/">{title}</a>'


def tags(page: Page) -> str:
    """The page's tags, each a link to the other topics that carry it."""
    home = page.link("tags.md")
    links = [f"[{tag}]({home}#{slug(tag)})" for tag in page.meta.get("tags", [])]
    return f"Tags: {' '.join(links)}\n{{: .tags }}" if links else ""


def tags_page(project: Project) -> str:
    """Every tag with its topics."""
    found: dict[str, list[Page]] = {}
    for topic in project.topics.values():
        for tag in topic.page.meta.get("tags", []) if topic.page else []:
            found.setdefault(tag, []).append(topic.page)  # type: ignore[arg-type]
    lines = [front_matter(title="Topics by tag", description="Every topic under each of its tags.")]
    for tag in sorted(found, key=str.lower):
        links = " · ".join(f"[{page.title}]({page.url})" for page in found[tag])
        lines += [f'<span id="{slug(tag)}">{html.escape(tag)}</span>', f":   {links}", ""]
    return "\n".join(lines)


def colophon(project: Project, page: Page, snippets: Iterable[Snippet], date: str) -> str:
    """What the results were made with and when, and where to edit or report."""
    parts = []
    imported = {name for snippet in snippets for name in snippet.imports}
    if imported:
        python = ".".join(platform.python_version_tuple()[:2])
        known = versions(imported)
        used = [f"{NAMES[n]} {known[n].split('+')[0]}" for n in NAMES if known.get(n, "absent") != "absent"]
        when = f", from the sources of {date}" if date else ""
        parts.append(f"Run with {', '.join([f'Python {python}', *used])}, on a CPU with one thread{when}.")
    if project.repository:
        parts.append(f"[Edit this page]({address_of(project, 'edit')}{page.path})")
        title = quote(f"Error on the page: {page.title}")
        parts.append(f"[Report an error]({project.repository}/issues/new?title={title}&body={quote(page.path)})")
    return f"{' · '.join(parts)}\n{{: .colophon }}" if parts else ""


def address_of(project: Project, what: str) -> str:
    """The address before a file's path for `edit` or `blob`; empty while `repo_url` is not set."""
    edit = str(project.settings.get("edit_uri") or "edit/main/").strip("/")
    return f"{project.repository}/{edit.replace('edit', what, 1)}/" if project.repository else ""
