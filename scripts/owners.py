"""Every file has one place on the site and every place one file: the generator would silently take the last."""

from collections.abc import Collection, Iterable
from pathlib import Path

from scripts.problems import Problem

FOLDERS = ("modules", "snippets", "docs", "overrides")


def check_files(root: Path, listed: Collection[str] | None) -> Iterable[Problem]:
    """Two files for one place, files that no page can show, and links out of the tree.

    `listed`: the folders that the curriculum names; None where it cannot be read.
    """
    owners = {"bibliography": "docs/references.bib", "tags": "the page of tags", "404": "the page of the theme"}
    for folder in FOLDERS:
        for file in sorted([root / folder, *(root / folder).rglob("*")]):
            path = file.relative_to(root).as_posix()
            if file.is_symlink():
                yield Problem(path, 0, "is a symbolic link", "put the file itself here")
            elif file.is_file() and folder != "overrides":
                owner = owners.setdefault(_place(path), path)
                if owner != path:
                    yield Problem(path, 0, f"has the same place on the site as {owner}", "rename one of them")
                if folder == "modules" and listed is not None:
                    yield from _strays(path, listed)


def _place(path: str) -> str:
    """Where the file is found on the site, by a server that does not tell capitals from small letters."""
    place = path.removeprefix("docs/").casefold()
    if place.endswith(".md"):
        place = place.removesuffix(".md").removesuffix("index").rstrip("/")
    return place


def _strays(path: str, listed: Collection[str]) -> Iterable[Problem]:
    folder, _, name = path.removeprefix("modules/").rpartition("/")
    if name == "index.md" and folder not in listed:
        yield Problem(path, 0, "no line in modules/curriculum.yml names this folder", "add its line")
    if name.endswith(".py") and name != "conftest.py" and folder not in listed:
        yield Problem(
            path, 0, "no line in modules/curriculum.yml names the folder of this file", "add it or delete this"
        )
    if name.endswith(".md") and name.casefold() != "index.md":
        yield Problem(path, 0, "is no page", "a topic has one page, index.md")
