"""From the stage to HTML: the generator (MkDocs), then what is inserted into the pages that it built."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from scripts.discover import Project
from scripts.pages import read_settings
from scripts.problems import ROOT, Problem, Stop
from scripts.tex import Tex, TexError

SKIPPED_ASSETS = {"katex.min.js"}
FIGURE = re.compile(r'<p class="figure">\s*(<img [^>]*>)\s*<span class="caption">(.*?)</span>\s*</p>', re.S)
GLANCE = re.compile(r"<table>(\s*<thead>\s*<tr>\s*)<th[^>]*>At a glance</th>\s*<th[^>]*></th>")
EMPTY_HEADER = re.compile(r"<th([^>]*)></th>")  # nothing to announce: no header
SEARCH_BOX = '<div class="md-search" data-md-component="search" role="dialog">'


def write_stage(files: dict[str, str], stage: Path, root: Path = ROOT) -> list[str]:
    """Make the stage folder hold exactly these files and the assets; return what changed. Unchanged files stay."""
    wanted: dict[str, bytes] = {name: text.encode() for name, text in files.items()}
    linked = (root / "docs/assets").is_symlink()
    for file in sorted((root / "docs/assets").rglob("*")):
        if file.is_file() and not file.is_symlink() and not linked and file.name not in SKIPPED_ASSETS:
            wanted[file.relative_to(root / "docs").as_posix()] = file.read_bytes()
    changed = []
    for name, data in wanted.items():
        target = stage / name
        if not target.is_file() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            changed.append(name)
    for file in sorted(stage.rglob("*"), reverse=True):
        name = file.relative_to(stage).as_posix()
        if file.is_file() and name not in wanted:
            file.unlink()
            changed.append(name)
        elif file.is_dir() and not any(file.iterdir()):
            file.rmdir()
    return changed


def write_config(project: Project, build: Path) -> Path:
    """The generator's configuration: mkdocs.yml with the curriculum in its navigation."""
    source, base = project.root / "mkdocs.yml", read_settings(project.root)
    parts = {part: [topic.page.url for topic in topics if topic.page] for part, topics in project.parts.items()}
    nav: list[Any] = []
    for item in base.get("nav", ["modules"]):
        nav += [{part: pages} for part, pages in parts.items()] if item == "modules" else [item]
    config = {
        "INHERIT": os.path.relpath(source, build),
        "docs_dir": "stage",
        "site_dir": "html",
        "nav": nav,
        "theme": {"custom_dir": os.path.relpath(project.root / base["theme"]["custom_dir"], build)},
    }
    file, text = build / "mkdocs.yml", yaml.safe_dump(config, sort_keys=False)
    if not file.is_file() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")
    return file


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def generate(config_file: Path, dirty: bool = False) -> list[Problem]:
    """Run MkDocs on the stage. With `dirty`, only pages newer than their HTML, and the search index as it was."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    from jinja2 import TemplateError
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import MkDocsException

    collector, logger = _Collector(), logging.getLogger("mkdocs")
    logger.addHandler(collector)
    logger.propagate = False
    index = config_file.parent / "html/search/search_index.json"
    kept = index.read_bytes() if dirty and index.is_file() else None
    try:
        config = load_config(str(config_file))
        config.plugins.on_startup(command="build", dirty=dirty)
        build(config, dirty=dirty)
        config.plugins.on_shutdown()
    except (MkDocsException, TemplateError) as error:
        collector.messages.append(f"{type(error).__name__}: {error}")
    finally:
        logger.removeHandler(collector)
    if kept is not None:
        index.write_bytes(kept)
    # that a dirty build is one, MkDocs says as a warning
    return [_mkdocs_problem(message) for message in collector.messages if "'dirty' build" not in message]


def _mkdocs_problem(message: str) -> Problem:
    match = re.search(r"'((?:modules/)?[\w./-]+\.md)'", message)
    path = match[1] if match else "mkdocs.yml"
    if match and not path.startswith("modules/"):
        path = f"docs/{path}"
    return Problem(path, 0, f"MkDocs: {' '.join(message.split())}", "see the page")


def finish(page: str, tex: Tex) -> str:
    """The built page as it is published. Plain functions over HTML: any generator may have made it."""
    page = FIGURE.sub(r"<figure>\1<figcaption>\2</figcaption></figure>", page)
    page = GLANCE.sub(r'<table class="glance">\1<th colspan="2">At a glance</th>', page)
    page = EMPTY_HEADER.sub(r"<td\1></td>", page)
    page = page.replace(SEARCH_BOX, f'{SEARCH_BOX[:-1]} aria-label="Search">')
    return tex.fill(page)


def finish_site(html: Path, target: Path, tex: Tex, only: Iterable[str] | None = None) -> list[str]:
    """Copy the generator's output, its pages finished; return the names of the files written."""
    names = only if only is not None else [f.relative_to(html).as_posix() for f in html.rglob("*") if f.is_file()]
    written = []
    for name in sorted(names):
        source, file = html / name, target / name
        if not source.is_file():
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        if file.suffix == ".html":
            try:
                part.write_text(finish(source.read_text("utf-8"), tex), "utf-8")
            except TexError as error:
                raise Stop(f"{name}: {error}") from None
        else:
            shutil.copyfile(source, part)
        part.replace(file)
        written.append(name)
    return written
