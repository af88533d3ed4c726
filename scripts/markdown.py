"""Scan Markdown: one pass that knows code, math, links, values, citations and raw HTML, each with its line."""

import html
import re
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

# The first alternative that matches at the leftmost place wins, so what stands inside code is never a link.
TOKEN = re.compile(
    r"""
    ^(?P<fence_indent>[ ]*)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<fenced>.*?)
        (?:^[ ]*(?P=fence)[`~]*[ ]*$|\Z)
  | (?P<comment><!--.*?-->)
  | ^[ ]{0,3}(?P<heading>\#)(?=[ ])
  | (?P<ticks>`+)(?!`)(?P<code>(?:(?!\n[ ]*\n).)+?)(?<!`)(?P=ticks)(?!`)
  | (?P<escape>\\[\\`*_{}\[\]()#+\-.!|$<>])
  | ^(?P<display_indent>[ ]*)\$\$(?P<display>(?:(?!\$\$)(?!\n[ ]*\n).)+?)\$\$[ ]*$
  | \$(?!\s)(?P<inline>(?:\\.|\{\{[^{}\n]*\}\}|[^$\\])(?:(?!\n[ ]*\n)(?:\\.|[^$\\]))*?)(?<!\s)\$(?!\d)
  | (?P<dollar>\$)
  | (?P<image>!)?\[(?P<text>(?:`[^`\n]*`|\\.|[^\[\]\\]|\[(?:\\.|[^\[\]\\])*+\])*+)\]
        \((?P<target>[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+"(?P<title>(?:\\.|[^"\\])*)")?\)
  | \[(?P<cite>@[^\[\]]+)\]
  | \{\{(?P<value>[^{}\n]*)\}\}
  | ^[ ]{0,3}\[(?P<definition>(?!\^)[^\[\]\n]+)\]:(?=[ \t]*\S)
  | \](?P<reference>\[(?!\^)[^\[\]\n]*\])
  | <(?P<tag>/?[a-zA-Z][\w-]*)(?P<attributes>(?:\s+[^<>]*)?)>
    """,
    re.M | re.S | re.X,
)


KINDS: tuple[str, ...] = (
    "fence",
    "comment",
    "heading",
    "code",
    "escape",
    "display",
    "inline",
    "dollar",
    "cite",
    "value",
)
KINDS += ("definition", "reference", "tag")
# what Markdown would read in a text that is no Markdown; a line break would end the paragraph
MARKUP = {ord(sign): f"&#{ord(sign)};" for sign in "\\`*_{}[]!|~^\n"}


@dataclass(frozen=True)
class Token:
    """One match, the line on which it starts, and whether it stands alone in its paragraph."""

    match: re.Match[str]
    line: int
    alone: bool
    indent: str

    def __getitem__(self, name: str) -> str:
        return self.match[name] or ""

    @property
    def kind(self) -> str:
        for name in KINDS:
            if self.match[name] is not None:
                return name
        return "image" if self.match["image"] else "link"

    @classmethod
    def of(cls, match: re.Match[str], line: int) -> Self:
        text = match.string
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end
        before, after = text[start : match.start()], text[match.end() : end]
        blank_before = start == 0 or not text[text.rfind("\n", 0, start - 1) + 1 : start - 1].strip()
        following = text[end + 1 : text.find("\n", end + 1) if text.find("\n", end + 1) >= 0 else len(text)]
        alone = not before.strip() and not after.strip() and blank_before and not following.strip()
        return cls(match, line, alone, before if not before.strip() else "")


def rewrite(text: str, first_line: int, replace: Callable[[Token], str | None]) -> str:
    """Replace tokens: `replace` gives the new text, or None to leave the token as it is."""
    ends = [match.start() for match in re.finditer("\n", text)]
    parts, position = [], 0
    for match in TOKEN.finditer(text):
        new = replace(Token.of(match, first_line + bisect(ends, match.start())))
        if new is not None:
            parts += [text[position : match.start()], new]
            position = match.end()
    return "".join([*parts, text[position:]])


def fenced(text: str, info: str, indent: str = "") -> str:
    """A fenced block that shows the text literally, whatever it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = [f"{fence}{info}", *text.rstrip("\n").split("\n"), fence]
    return "\n".join(indent + line if line else line for line in lines)


def literal(text: str) -> str:
    """Text that stands on the page as it is: neither Markdown nor HTML is read in it."""
    return html.escape(text).translate(MARKUP)


def indented(text: str, indent: str) -> str:
    return "\n".join(indent + line if line else line for line in text.split("\n"))
