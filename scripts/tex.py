"""TeX to HTML and MathML while the site is built: KaTeX inside QuickJS, one cache row per formula."""

import contextlib
import hashlib
import json
import re
import sqlite3
from functools import cached_property
from pathlib import Path
from typing import Any

KATEX = Path(__file__).resolve().parent.parent / "docs/assets/katex/katex.min.js"
# a formula in the stage: filled in after the generator, so that neither Markdown nor search sees the markup
MARK = re.compile(r'<span class="tex[^"]*" data-tex="([0-9a-f]{24})"[^>]*></span>')
UNTRUSTED = "#c0ffee"  # what KaTeX does not trust is shown in this color, which no formula of ours has


class TexError(Exception):
    """The formula is wrong; the message says where and why."""


class Tex:
    """Renders formulas; what was rendered once is kept in the folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tex.sqlite"
        self.rendered: dict[str, str] = {}

    @cached_property
    def _rows(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
        create = "create table if not exists formula (key text primary key, html text, sum text)"
        for place in (self.file, self.file, ":memory:"):
            try:
                rows = sqlite3.connect(place, timeout=60, check_same_thread=False)
                rows.execute(create)
                return rows
            except sqlite3.DatabaseError:  # damaged: computed again; cannot be written: not kept
                with contextlib.suppress(OSError):
                    self.file.unlink(missing_ok=True)
        raise AssertionError("a database in memory can be made")

    @cached_property
    def _version(self) -> bytes:
        return hashlib.sha256(KATEX.read_bytes() + UNTRUSTED.encode()).digest()

    @cached_property
    def _engine(self) -> Any:
        import quickjs

        context = quickjs.Context()
        context.eval(KATEX.read_text("utf-8"))
        # JSON.stringify flattens the result: quickjs-ng cannot hand a string rope to Python
        context.eval(
            "function render(tex, options) { return JSON.stringify(katex.renderToString(tex, JSON.parse(options))) }"
        )
        return context.get("render")

    def mark(self, formula: str, display: bool) -> str:
        """Render a formula and return the mark that stands for it. Raises TexError."""
        text = json.dumps([formula, display]).encode()
        key = hashlib.sha256(self._version + text).hexdigest()[:24]
        if key not in self.rendered:
            self.rendered[key] = self._kept(key) or self._render(key, formula, display)
        kind = 'class="tex display"' if display else 'class="tex"'
        # a wide formula scrolls in its own box, so the keyboard must reach it
        focus = ' role="group" tabindex="0" aria-label="formula"' if display else ""
        return f'<span {kind} data-tex="{key}"{focus}></span>'

    def fill(self, page: str) -> str:
        """Replace the marks in a built page by the rendered formulas."""

        def insert(match: re.Match[str]) -> str:
            shown = self.rendered.get(match[1]) or self._kept(match[1])
            if shown is None:
                raise TexError(f"the formula {match[1]} was not rendered")
            return match[0].replace(f' data-tex="{match[1]}"', "").removesuffix("</span>") + shown + "</span>"

        return MARK.sub(insert, page)

    def _kept(self, key: str) -> str | None:
        try:
            row = self._rows.execute("select html, sum from formula where key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError:
            return None
        return row[0] if row and row[1] == _sum(row[0]) else None

    def _render(self, key: str, formula: str, display: bool) -> str:
        import quickjs

        options = {
            "displayMode": display,
            "throwOnError": True,
            "strict": "error",
            "output": "htmlAndMathml",
            "maxSize": 100,
            "errorColor": UNTRUSTED,
        }
        try:
            shown = str(json.loads(self._engine(formula, json.dumps(options))))
        except quickjs.JSException as error:
            message = str(error).split("\n")[0].removeprefix("ParseError: ").removeprefix("KaTeX parse error: ")
            raise TexError(message) from None
        if UNTRUSTED in shown:  # KaTeX shows a command that could load or run something as red text
            raise TexError("a link, an image or HTML in a formula")
        try:
            with self._rows:
                self._rows.execute("insert or replace into formula values (?, ?, ?)", (key, shown, _sum(shown)))
        except sqlite3.DatabaseError:
            pass  # a cache that cannot be written is no error
        return shown


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
