"""The bibliography: read with pybtex, cited as [@key], printed on a page of its own."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

from scripts.markdown import literal
from scripts.problems import Problem
from scripts.snippets import read_text

KEY_LINE = r"^\s*@\w+\s*\{{\s*{key}\s*,"


@dataclass(frozen=True)
class Entry:
    """One reference: the text of its citation, and the lines of its full form in HTML."""

    key: str
    label: str
    year: str
    names: str
    title: str
    venue: str
    url: str
    line: int

    @property
    def citation(self) -> str:
        return f"{self.label}, {self.year}"

    def markup(self) -> str:
        """The full reference as HTML."""
        title = literal(self.title)
        if self.url:
            title = f'<a href="{html.escape(self.url)}">{title}</a>'
        parts = [f"{literal(self.names)} ({literal(self.year)}). {title}", literal(self.venue)]
        return ". ".join(part for part in parts if part) + "."


def read_bibliography(file: Path, path: str) -> tuple[dict[str, Entry], list[Problem]]:
    """All entries by key, and what is wrong with them."""
    from pybtex.database import parse_string
    from pybtex.scanner import PybtexSyntaxError

    if not file.exists() and not file.is_symlink():
        return {}, []
    text, faults = read_text(file, path)
    if faults:
        return {}, faults
    try:
        data = parse_string(text, "bibtex")
    except PybtexSyntaxError as error:
        return {}, [Problem(path, error.lineno or 0, f"not valid BibTeX: {error}", "see the other entries")]
    except Exception as error:  # pybtex reports a repeated key or a bad name as plain errors
        return {}, [Problem(path, 0, f"not valid BibTeX: {error}", "see the other entries")]
    entries, found = {}, []
    for key, raw in data.entries.items():
        match = re.search(KEY_LINE.format(key=re.escape(key)), text, re.M)
        line = text.count("\n", 0, match.start()) + 1 if match else 0
        fields = {name.lower(): _plain(value) for name, value in raw.fields.items()}
        people = raw.persons.get("author") or raw.persons.get("editor") or []
        missing = [name for name in ("title", "year") if not fields.get(name)] + ([] if people else ["author"])
        if missing:
            found.append(Problem(path, line, f"{key} has no {', '.join(missing)}", "add it"))
            continue
        last = [_plain(" ".join(person.prelast_names + person.last_names)) for person in people]
        full = [_plain(str(" ".join(p.first_names + p.middle_names + p.prelast_names + p.last_names))) for p in people]
        label = last[0] if len(last) == 1 else " and ".join(last) if len(last) == 2 else f"{last[0]} et al."
        names = full[0] if len(full) == 1 else ", ".join(full[:-1]) + f" and {full[-1]}"
        url = fields.get("url", "").replace(" ", "~")  # which TeX reads as a space
        if "doi" in fields:
            url = f"https://doi.org/{fields['doi']}"
        elif "eprint" in fields:
            url = f"https://arxiv.org/abs/{fields['eprint']}"
        entries[key] = Entry(key, label, fields["year"], names, fields["title"], _venue(fields), url, line)
    return entries, found


def _venue(fields: dict[str, str]) -> str:
    """Where it appeared, in one line."""
    where = (
        fields.get("journal") or fields.get("booktitle") or fields.get("publisher") or fields.get("howpublished", "")
    )
    if "volume" in fields and where:
        where += f" {fields['volume']}"
    if "number" in fields and "volume" in fields:
        where += f"({fields['number']})"
    if "pages" in fields:
        where += f", {fields['pages'].replace('--', '–')}"
    if "eprint" in fields and "arxiv" not in where.lower():
        where += f"{', ' if where else ''}arXiv:{fields['eprint']}"
    return where


def _plain(text: str) -> str:
    """Text without TeX: accents become letters, braces go."""
    from pybtex.richtext import Text

    return str(Text.from_latex(text)).replace("\xa0", " ").strip()
