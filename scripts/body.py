"""The text of a page: formulas, values, citations, links, listings and figures put in, each misuse reported."""

import html
import posixpath
import re

from scripts import frame, lab, show
from scripts.check import REFUSED, SCHEME
from scripts.context import Context
from scripts.discover import Topic
from scripts.markdown import Token, literal, rewrite
from scripts.pages import Page
from scripts.problems import Problem, nearest
from scripts.snippets import Snippet
from scripts.tex import TexError

VALUE = re.compile(r"\s*(?:(?P<folder>[\w./-]+)/)?(?P<stem>\w+)\.(?P<name>\w+)(?::(?P<spec>[^{}]*?))?\s*")
CITED = re.compile(r"\s*@(?P<key>[\w:.-]+?)(?:,\s*(?P<place>.+?))?\s*")
GENERATED = {"docs/bibliography.md", "docs/tags.md", "docs/offline.zip"}
HEADING = re.compile(r" {0,3}#{1,6} ")


class Body:
    """Renders the text of one page."""

    def __init__(self, context: Context, page: Page, topic: Topic | None, path: str = "") -> None:
        self.context, self.page, self.topic = context, page, topic
        self.path = path or page.path  # the file that the text stands in: the page's own, or a lab
        self.project, self.uses = context.project, context.uses
        self.folder = posixpath.dirname(page.path)

    def problem(self, line: int, message: str, advice: str = "") -> str:
        """Report, and return what stands on the page in place of the faulty form."""
        self.context.problems.append(Problem(self.path, line, message, advice))
        return show.mark(message)

    def text(self, text: str, line: int, plain: bool = False) -> str:
        """Markdown of the site from Markdown of an author. `plain`: for attributes, where no markup may stand."""
        return rewrite(text, line, lambda token: self.token(token, plain))

    def token(self, token: Token, plain: bool) -> str | None:
        match token.kind:
            case "fence" if token["info"].strip().split(" ")[0] in ("python", "py"):
                advice = "show a snippet: [caption](name.py#function)"
                self.problem(token.line, "Python code that does not run", advice)
            case "heading":
                advice = "the title in the front matter is the heading"
                self.problem(token.line, "a heading of level 1", advice)
            case "display" | "inline":
                return self.formula(token)
            case "escape" if token.match[0] in (r"\$", r"\<", r"\>"):
                return html.escape(token.match[0][1])  # Markdown has no such escape
            case "dollar":
                return self.problem(token.line, "a $ without its partner", r"write \$ for the sign")
            case "value":
                shown = self.value(token["value"], token.line, plain)
                return literal(shown) if plain else shown
            case "cite":
                return self.citation(token["cite"], token.line)
            case "comment":
                return ""  # where it ends, Markdown and browsers do not agree
            case "definition" | "reference":
                self.problem(token.line, "a reference link", "write the link out: [text](target)")
            case "tag":
                self.tag(token)
            case "image" | "link":
                return self.link(token)
        return None

    def tag(self, token: Token) -> None:
        name, attributes = token["tag"].lstrip("/").lower(), token["attributes"]
        # browsers skip white space and resolve entities before they look for a scheme
        address = re.sub(r"[\x00-\x20]", "", html.unescape(attributes))
        if name in REFUSED or re.search(r"\bon\w+\s*=", attributes, re.I) or SCHEME.search(address):
            self.problem(token.line, f"<{name}> with active content", "write Markdown")

    def formula(self, token: Token) -> str:
        display = token.kind == "display"
        line_start = token.match.string.rfind("\n", 0, token.match.start()) + 1
        if HEADING.match(token.match.string[line_start : token.match.end()]):
            return self.problem(token.line, "math in a heading", "say it in words")
        source = re.sub(
            r"\{\{([^{}\n]*\.[^{}\n]*)\}\}",
            lambda value: self.value(value[1], token.line, plain=True),
            token[token.kind],
        )
        try:
            mark = self.context.tex.mark(" ".join(source.split()), display)
        except TexError as error:
            return self.problem(token.line, f"TeX: {error}", "see katex.org/docs/supported")
        return token["display_indent"] + mark if display else mark

    def citation(self, text: str, line: int) -> str:
        shown = []
        for part in text.split(";"):
            match = CITED.fullmatch(part)
            entry = self.project.bibliography.get(match["key"]) if match else None
            if not match or not entry:
                key = match["key"] if match else part.strip().lstrip("@")
                return self.problem(line, f"unknown citation {key!r}", nearest(key, self.project.bibliography))
            self.uses.citations.setdefault(entry.key, set()).add(self.page.path)
            root = self.page.link("bibliography.md")
            place = f", {match['place']}" if match["place"] else ""
            shown.append(f"[{entry.citation}]({root}#{entry.key}){place}")
        return f"({'; '.join(shown)})"

    def value(self, text: str, line: int, plain: bool) -> str:
        match = VALUE.fullmatch(text)
        if not match:
            return self.problem(line, f"not a value: {{{{{text}}}}}", "write {{ snippet.name:.3f }}")
        stem, name, spec = match["stem"], match["name"], match["spec"] or ""
        if text.strip() == "site.map":
            return frame.site_map(self.project, self.page)
        if stem == "site" and not match["folder"]:
            if self.context.results is not None and name not in self.context.facts:
                return self.problem(line, f"no fact {name!r} about the site", nearest(name, self.context.facts))
            value, source = self.context.facts.get(name, 0), "this site"
        else:
            snippet = self.snippet(posixpath.join(match["folder"] or "", f"{stem}.py"), line)
            if isinstance(snippet, str):
                return snippet
            if snippet.path in self.project.tests:
                return self.problem(line, f"{snippet.path} is a test: it gives no values", "name a snippet")
            result = (self.context.results or {}).get(snippet.path)
            if self.context.results is None or result is None:
                if name not in snippet.module_names:
                    return self.problem(
                        line,
                        f"{snippet.path} has no value {name!r}",
                        nearest(name, snippet.module_names),
                    )
                return "1"  # as good as any: nothing has run
            if result.problem:
                return show.mark(f"no value {name!r}: {snippet.path} gave no result")
            if name not in result.values:
                return self.problem(line, f"{snippet.path} has no value {name!r}", nearest(name, result.values))
            value, source = result.values[name], f"{name} in {posixpath.basename(snippet.path)}"
        try:
            shown = format(value, spec)
        except (ValueError, TypeError) as error:
            return self.problem(line, f"{name!r} cannot be shown with {spec!r}: {error}", "use an f-string's format")
        if shown.startswith("-") and not plain:
            shown = "\u2212" + shown[1:]  # a minus sign, as in the formulas
        if plain:
            return shown
        return f'<data value="{literal(repr(value))}" title="{html.escape(source)}">{literal(shown)}</data>'

    def snippet(self, target: str, line: int) -> Snippet | str:
        """The snippet that a page names, or the text that reports why there is none."""
        if "\\" in target or "\0" in target or target.startswith("/"):
            return self.problem(line, f"refused: {target!r}", "name a file of a topic by its relative path")
        known = self.project.snippet_of
        # a value on a page in docs/ is named from modules/, or as snippets/name
        folders = [self.folder] if self.topic else [self.folder, "modules", ""]
        for folder in folders:
            path = posixpath.normpath(posixpath.join(folder, target))
            if path in known:
                return known[path]
        names = [posixpath.relpath(each, folder or ".") for each in known for folder in folders]
        names = [name for name in names if ("/" in name) == ("/" in target)]
        return self.problem(line, f"no snippet {target!r}", nearest(target, names))

    def link(self, token: Token) -> str | None:
        target, _, fragment = token["target"].partition("#")
        title = token["title"]
        if target.endswith(".py") and not re.match(r"[a-z]+:", target):
            if not token.alone:
                return self.problem(token.line, f"{target!r} is not alone in its paragraph", "blank lines around it")
            snippet = self.snippet(target, token.line)
            if isinstance(snippet, str):
                return snippet
            self.uses.shown.setdefault(self.page.path, set()).add(snippet.path)
            if token.kind == "image":
                return show.figure(self, token, snippet, fragment)
            if lab.is_lab(snippet) and not fragment:
                return show.lab_cells(self, token, snippet)
            caption = self.text(token["text"], token.line)
            return show.listing(self, token, snippet, fragment, caption)
        if re.match(r"(?!https?:|mailto:)[a-z]+:", target, re.I):
            return self.problem(token.line, f"refused link {target!r}", "use https")
        if token.kind == "image" and not token["text"].strip():
            return self.problem(token.line, "image without alt text", "say what one sees")
        text = self.text(token["text"], token.line)
        new = self.destination(token["target"], token.line)
        bang = "!" if token.kind == "image" else ""
        return f"{bang}[{text}]({new}" + (f' "{title}")' if title else ")")

    def destination(self, target: str, line: int) -> str:
        """A link that is right in the repository becomes one that is right on the site."""
        path, hash_, fragment = target.partition("#")
        if not target:
            self.problem(line, "a link without a target", "say where it leads")
        if re.match(r"https?:|mailto:", target) or not path:
            if hash_ and not path:
                self.uses.links.append((self.path, line, target))
            return target
        full = posixpath.normpath(posixpath.join(self.folder, path))
        pages = self.project.page_of
        if full in GENERATED:
            return self.page.link(full.removeprefix("docs/")) + hash_ + fragment
        if full not in pages:
            asset = full.startswith("docs/assets/") and (self.project.root / full).is_file()
            if not asset:
                names = [posixpath.relpath(each, self.folder) for each in pages]
                self.problem(line, f"broken link to {path!r}", nearest(path, names))
                return target
            return self.page.link(full.removeprefix("docs/"))
        self.uses.links.append((self.path, line, target))
        return self.page.link(pages[full].url) + hash_ + fragment
