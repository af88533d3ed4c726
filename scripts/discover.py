"""Find what there is: curriculum, topics, pages with validated front matter, snippets, bibliography."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts import lab
from scripts.owners import check_files
from scripts.pages import CURRICULUM_SCHEMA, DOCS_SCHEMA, TOPIC_SCHEMA, Page, read_page, read_settings, read_yaml
from scripts.problems import ROOT, Problem, nearest
from scripts.references import Entry, read_bibliography
from scripts.snippets import Snippet, read_text


@dataclass
class Topic:
    """One folder under modules/: its page, its snippets by stem, and its place in the curriculum."""

    path: str
    part: str
    frameworks: list[str]
    page: Page | None = None
    snippets: dict[str, Snippet] = field(default_factory=dict)


@dataclass
class Project:
    """Everything that was found, and what is wrong with it."""

    root: Path
    topics: dict[str, Topic] = field(default_factory=dict)
    docs: list[Page] = field(default_factory=list)
    loose: dict[str, Snippet] = field(default_factory=dict)  # recipes, and snippets of the pages in docs/
    tests: dict[str, Snippet] = field(default_factory=dict)  # tests of the recipes: shown, run by pytest
    settings: dict[str, Any] = field(default_factory=dict)  # mkdocs.yml
    bibliography: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def snippets(self) -> list[Snippet]:
        of_topics = [snippet for topic in self.topics.values() for snippet in topic.snippets.values()]
        return [*of_topics, *self.loose.values()]

    @property
    def pages(self) -> list[Page]:
        return [*self.docs, *(topic.page for topic in self.topics.values() if topic.page)]

    @property
    def parts(self) -> dict[str, list[Topic]]:
        found: dict[str, list[Topic]] = {}
        for topic in self.topics.values():
            found.setdefault(topic.part, []).append(topic)
        return found

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        """The prerequisites of each topic, in reading order of the topics."""
        return {n: t.page.meta.get("prerequisites", []) if t.page else [] for n, t in self.topics.items()}

    @cached_property
    def position(self) -> dict[str, int]:
        """The place of each topic in reading order."""
        return {name: number for number, name in enumerate(self.topics)}

    @cached_property
    def leads_to(self) -> dict[str, list[str]]:
        """The topics that name a topic as their prerequisite, in reading order."""
        found: dict[str, list[str]] = {}
        for name, needed in self.needs.items():
            for each in needed:
                found.setdefault(each, []).append(name)
        return found

    @property
    def repository(self) -> str:
        """The address of the repository, without a slash at its end; empty while it is not known."""
        return str(self.settings.get("repo_url") or "").rstrip("/")

    @property
    def address(self) -> str:
        """Where the site will be served; empty while that is not known."""
        return str(self.settings.get("site_url") or "")

    @cached_property
    def snippet_of(self) -> dict[str, Snippet]:
        """Every file of code that a page may show."""
        return {snippet.path: snippet for snippet in self.snippets} | self.tests

    @cached_property
    def page_of(self) -> dict[str, Page]:
        return {page.path: page for page in self.pages}


def discover(root: Path = ROOT) -> Project:
    """Read the whole project."""
    project = Project(root, settings=read_settings(root))
    add = project.problems.extend
    text, found = read_text(root / "modules/curriculum.yml", "modules/curriculum.yml")
    add(found)
    curriculum, found = read_yaml(text, "modules/curriculum.yml", 1, CURRICULUM_SCHEMA) if not found else ({}, [])
    add(found)
    for part in curriculum.get("parts", []):
        for module in part["modules"]:
            _add_topic(project, part["part"], module, text)
    for file in [file for name in ("docs", "snippets") for file in sorted((root / name).rglob("*.py"))]:
        if file.name != "conftest.py" and not file.is_symlink():
            _add_loose(project, file)
    for file in sorted((root / "docs").rglob("*.md")):
        if "decisions" in file.relative_to(root).parts:  # for those who change the engine, not for readers
            continue
        page, found = read_page(root, file.relative_to(root).as_posix(), DOCS_SCHEMA)
        project.docs.append(page)
        add(found)
    project.bibliography, found = read_bibliography(root / "docs/references.bib", "docs/references.bib")
    add(found)
    add(_check_prerequisites(project))
    listed = {module["path"] for part in curriculum["parts"] for module in part["modules"]} if curriculum else None
    add(check_files(root, listed))
    for snippet in project.snippets:
        add(snippet.check())
        if lab.is_lab(snippet):
            add(lab.check(snippet))
    return project


def _add_topic(project: Project, part: str, module: dict[str, Any], curriculum: str) -> None:
    name = module["path"]
    folder = project.root / "modules" / name

    def lines() -> list[int]:
        rows = enumerate(curriculum.split("\n"), 1)
        return [n for n, row in rows if re.search(rf"path: *{name}(?![-/\w])", row)] or [0]

    def report(message: str, advice: str) -> None:
        project.problems.append(Problem("modules/curriculum.yml", lines()[-1], message, advice))

    if name in project.topics:  # paths are lower-case, so there is no other spelling
        report(f"the topic {name!r} is listed twice, first in line {lines()[0]}", "remove one line")
        return
    if not (folder / "index.md").is_file():
        modules = project.root / "modules"
        present = [page.parent.relative_to(modules).as_posix() for page in modules.rglob("index.md")]
        report(f"no page modules/{name}/index.md", nearest(name, present))
        return
    topic = Topic(name, part, module.get("frameworks", ["numpy", "torch"]))
    topic.page, found = read_page(project.root, f"modules/{name}/index.md", TOPIC_SCHEMA)
    project.problems.extend(found)
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith("test_") and (snippet := _read_snippet(project, file)):
            topic.snippets[file.stem] = snippet
    for framework in topic.frameworks:
        if not any(framework in snippet.imports for snippet in topic.snippets.values()):
            message = f"the curriculum asks for {framework}, and no snippet imports it"
            project.problems.append(Problem(topic.page.path, 0, message, f"add a {framework} snippet"))
    project.topics[name] = topic


def _add_loose(project: Project, file: Path) -> None:
    """A recipe, its tests, or a snippet of a page in docs/."""
    if snippet := _read_snippet(project, file):
        kind = project.tests if file.name.startswith("test_") else project.loose
        kind[snippet.path] = snippet


def _read_snippet(project: Project, file: Path) -> Snippet | None:
    path = file.relative_to(project.root).as_posix()
    if not file.stem.isidentifier():
        message = f"the name {file.name!r} cannot be imported"
        project.problems.append(Problem(path, 0, message, "use letters, digits and _"))
    source, found = read_text(file, path)
    project.problems.extend(found)
    return None if found else Snippet(path, source, project.root)


def _check_prerequisites(project: Project) -> Iterable[Problem]:
    """A prerequisite exists and comes earlier in reading order, so there can be no cycle."""
    for name, wanted in project.needs.items():
        for needed in wanted:
            if needed not in project.topics:
                message, advice = f"prerequisite {needed!r} is not a topic", nearest(needed, project.topics)
            elif project.position[needed] >= project.position[name]:
                message = f"prerequisite {needed!r} comes later than {name!r} in modules/curriculum.yml"
                advice = "change the order or the prerequisite"
                if chain := _chain(project, needed, name):
                    message = f"prerequisites form a cycle: {' → '.join([name, *chain])}"
                    advice = "remove one of them"
            else:
                continue
            yield Problem(f"modules/{name}/index.md", 1, message, advice)


def _chain(project: Project, start: str, end: str) -> list[str]:
    """The topics on the shortest way from `start` to `end` along prerequisites; none where there is no way."""
    ways, seen = [[start]], {start}
    for way in ways:
        if way[-1] == end:
            return way
        for needed in project.needs.get(way[-1], []):
            if needed not in seen:
                seen.add(needed)
                ways.append([*way, needed])
    return []
