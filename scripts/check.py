"""What must hold of the built site: links, anchors, images, and nothing from another host."""

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import html as lxml_html

from scripts.context import Uses
from scripts.problems import Problem, nearest

REFUSED = {"script", "iframe", "object", "embed", "form", "link", "meta", "base", "style"}
REFUSED |= {"frame", "frameset", "portal", "applet"}
SCHEME = re.compile(r"(?:javascript|vbscript|data:text)\b", re.I)
# in the text of a page; the theme has its own outside it. Not parsed: parsers differ in what they take for a comment
ACTIVE = re.compile(rf"<({'|'.join(sorted(REFUSED))})(?![\w-])", re.I)
LOADS = {"src", "poster", "data", "background", "ping", "action", "formaction", "xlink:href"}
STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)")
LOADING_LINKS = {"stylesheet", "preload", "icon", "modulepreload"}


@dataclass
class Built:
    """What one HTML file offers and asks for."""

    ids: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)


def read(file: Path) -> Built:
    """Parse a built page."""
    built, text = Built(), file.read_text("utf-8")
    own = text[text.find("<article") : text.rfind("</article>")]
    built.faults |= {f"<{match[1].lower()}> with active content" for match in ACTIVE.finditer(own)}
    for element in lxml_html.document_fromstring(text).iter():
        if not isinstance(element.tag, str):
            continue
        if identifier := element.get("id"):
            if identifier in built.ids and not identifier.startswith("__"):
                built.faults.add(f"two elements have the id {identifier!r}")
            built.ids.add(identifier)
        for name, value in element.items():
            if name.startswith("on") or SCHEME.match(re.sub(r"[\x00-\x20]", "", value)):
                built.faults.add(f"<{element.tag}> with active content: {name}={value[:40]!r}")
        if element.tag == "a" and element.get("href"):
            built.links.add(element.get("href"))
        elif element.tag == "link" and LOADING_LINKS & set((element.get("rel") or "").split()):
            built.loads.add(element.get("href") or "")
        elif element.tag in ("use", "image") and element.get("href"):
            built.loads.add(element.get("href"))
        built.loads |= {element.get(name) for name in LOADS & set(element.keys()) if element.get(name)}
        built.loads |= {each.split()[0] for each in element.get("srcset", "").split(",") if each.strip()}
        built.loads |= set(STYLE_URL.findall(element.get("style", "")))
        if element.tag == "img" and not (element.get("alt") or "").strip():
            built.faults.add(f"image {element.get('src')!r} without alt text")
    return built


def check_site(site: Path, uses: Uses, address: str = "") -> list[Problem]:
    """Problems of a built site. `address`: where it will be served, when that is known."""
    base = urlsplit(address).path
    files = {file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file()}
    built = {name: read(site / name) for name in sorted(files) if name.endswith(".html")}
    found = []
    for name, page in built.items():
        source = source_of(name)
        found += [Problem(source, 0, fault) for fault in page.faults]
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(Problem(source, 0, f"loads {link} from another host", "keep a copy here"))
                continue
            target = resolve(name, parts.path, base)
            if target not in files:
                found.append(Problem(source, 0, f"broken link to {link!r} on the built page", "mend the link"))
            elif parts.fragment and link in page.links and target in built:
                if unquote(parts.fragment) not in built[target].ids:
                    place = _place(uses, source, parts.fragment)
                    advice = nearest(parts.fragment, (i for i in built[target].ids if not i.startswith("__")))
                    found.append(Problem(*place, f"no anchor {link!r}", advice))
    return found


def _place(uses: Uses, source: str, fragment: str) -> tuple[str, int]:
    """The line on which the author wrote the link."""
    for path, line, target in uses.links:
        if path in {source, *uses.shown.get(source, ())} and target.endswith(f"#{fragment}"):
            return path, line
    return source, 0


def resolve(page: str, link: str, base: str = "/") -> str:
    """The file of the site that a link on this page opens; `base` is the path at which the site is served."""
    if not link:
        return page
    path = (
        link.removeprefix(base).lstrip("/") if link.startswith("/") else posixpath.join(posixpath.dirname(page), link)
    )
    path = posixpath.normpath(unquote(path))
    if link.endswith("/") or path == ".":
        path = posixpath.normpath(posixpath.join(path, "index.html"))
    return path if posixpath.splitext(path)[1] else posixpath.join(path, "index.html")


def source_of(name: str) -> str:
    """The Markdown file behind a built page."""
    if name.startswith("modules/"):
        return name.removesuffix(".html") + ".md"
    folder = posixpath.dirname(name)
    return f"docs/{folder}.md" if folder else f"docs/{name.removesuffix('.html')}.md"
