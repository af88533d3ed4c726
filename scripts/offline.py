"""A copy of the site to read without a server: one zip, in which every link names a file and search works."""

import json
import posixpath
import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from scripts.check import resolve

NAME, FOLDER = "offline.zip", "deep-learning-foundations"
EMPTY = "PK\x05\x06" + "\0" * 18  # stands in the stage, so that pages can link to what is made last
LINK = re.compile(r'(<(?:a|link)\b[^>]*? href=")([^"]*)(")')
HOSTED = re.compile(r'<(?:meta http-equiv="Content-Security-Policy"|link rel="preload")[^>]*>\n?')
BUNDLE = re.compile(r'<script defer src="([^"]*)assets/javascripts/bundle')
WEB_ONLY = {"404.html", "sitemap.xml", "sitemap.xml.gz", NAME}
STORED = {".woff2", ".png", ".gz"}  # compressed already


def page(text: str, name: str) -> str:
    """The page for a browser that opens a file: no folder stands for its index.html.

    The policy and the preloads go: a file has no origin that they could name. The worker that searches becomes a frame.
    """

    def full(match: re.Match[str]) -> str:
        parts = urlsplit(match[2])
        if parts.scheme or parts.netloc or not parts.path:
            return match[0]
        target = posixpath.relpath(resolve(name, parts.path), posixpath.dirname(name))
        return f"{match[1]}{target}{'#' + parts.fragment if parts.fragment else ''}{match[3]}"

    text = HOSTED.sub("", LINK.sub(full, text))
    worker = r'<script defer src="\1assets/javascripts/iframe-worker.js"></script>'
    return BUNDLE.sub(rf"{worker}\n\g<0>", text)


def search_index(text: str) -> str:
    """The search index as a script: a page opened as a file may not read another."""
    index = json.loads(text)
    for entry in index["docs"]:
        path, hash_, fragment = entry["location"].partition("#")
        entry["location"] = resolve("index.html", path or ".") + hash_ + fragment
    return f"var __index = {json.dumps(index, ensure_ascii=False, separators=(',', ':'))}"


def bundle(site: Path, target: Path) -> None:
    """Write the zip of a finished site; the same site gives the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as bundled:
        for file in sorted(site.rglob("*")):
            name = file.relative_to(site).as_posix()
            if not file.is_file() or name in WEB_ONLY:
                continue
            data = file.read_bytes()
            if file.suffix == ".html":
                data = page(data.decode(), name).encode()
            elif name == "search/search_index.json":
                name, data = "search/search_index.js", search_index(data.decode()).encode()
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}")  # its date is a constant
            entry.compress_type = zipfile.ZIP_STORED if file.suffix in STORED else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            bundled.writestr(entry, data)
