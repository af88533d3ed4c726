"""Serve the site and rebuild what an edit touches; the browser reloads by itself.

MkDocs renders only the pages whose stage file changed (docs/decisions/0004). The preview has folders of its own, so a
build can go on beside it, and a page with a fault is shown with its fault; nothing is published from here.
"""

import contextlib
import functools
import http.server
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import watchfiles

from scripts import build, site
from scripts.check import check_site
from scripts.discover import Project, discover
from scripts.execute import Runner
from scripts.problems import ROOT, Problem, Stop, counted, report
from scripts.results import Cache
from scripts.tex import Tex

RELOAD = b"""(() => { let seen; setInterval(async () => { if (document.hidden) return; try {
  const version = await (await fetch("/.version")).text(); seen ??= version;
  if (version !== seen) location.reload() } catch {} }, 300) })()
"""
WITH_RELOAD = b'<script src="/.reload.js"></script></body>'
WATCHED = ("modules", "snippets", "docs", "overrides", "mkdocs.yml")


class Preview:
    """A site that follows the sources. `version` counts its changes."""

    def __init__(self, root: Path, jobs: int = 0, quiet: bool = False) -> None:
        self.root, self.version = root, 0
        cache, folder = build.folders(root)
        self.folder = folder / "serve"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.site = self.folder / "site"
        self.site.mkdir(exist_ok=True)
        self.tex, self.options = Tex(cache), build.Options(root=root, quiet=quiet)
        self.runner = Runner(Cache(cache, root), jobs)
        self.structure: object = None

    def refresh(self) -> list[Problem]:
        """Bring the preview up to date; return every problem of the whole site."""
        project = discover(self.root)
        results = build.execute(project, self.runner, self.options)
        stage = build.render(project, results, self.tex)
        before = time.time_ns()
        changed = site.write_stage(stage.files, self.folder / "stage", self.root)
        config = site.write_config(project, self.folder)
        structure = _structure(project, stage.files, config)
        if changed or structure != self.structure:
            whole = structure != self.structure
            problems = site.generate(config, dirty=not whole)
            self.structure = structure
            html = self.folder / "html"
            files = [f for f in html.rglob("*") if f.is_file()]
            # times of files are coarser than the clock
            touched = [f for f in files if whole or f.stat().st_mtime_ns >= before - 20_000_000]
            names = [f.relative_to(html).as_posix() for f in touched]
            present = {f.relative_to(html).as_posix() for f in files}
            for old in [f for f in self.site.rglob("*") if f.is_file()]:
                if old.relative_to(self.site).as_posix() not in present:
                    old.unlink()
            site.finish_site(html, self.site, self.tex, names)
            self.version += 1
        else:
            problems = []
        problems += check_site(self.site, stage.renderer.uses, project.address)
        return sorted({*stage.problems, *stage.untold(problems)})

    def close(self) -> None:
        self.runner.__exit__()


def _structure(project: Project, files: dict[str, str], config: Path) -> object:
    """What every page shows of the others: while it is the same, only touched pages are rendered."""
    titles = tuple((page.path, page.title) for page in project.pages)
    overrides = sorted((project.root / "overrides").rglob("*"))
    sources = [project.root / "mkdocs.yml", *(f for f in overrides if f.is_file())]
    return titles, sorted(files), config.read_text("utf-8"), [f.read_bytes() for f in sources]


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the preview, and its version for the reload script that it adds to every page."""

    def __init__(self, *arguments: object, preview: Preview, **keywords: object) -> None:
        self.preview = preview
        super().__init__(*arguments, directory=str(preview.site), **keywords)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path == "/.version":
            return self._answer(str(self.preview.version).encode(), "text/plain")
        if self.path == "/.reload.js":  # a file, because the pages allow no other inline script
            return self._answer(RELOAD, "text/javascript")
        file = Path(self.translate_path(self.path))
        if file.is_dir() and self.path.split("?")[0].endswith("/"):
            file = file / "index.html"
        if file.suffix == ".html" and file.is_file():
            return self._answer(file.read_bytes().replace(b"</body>", WITH_RELOAD), "text/html; charset=utf-8")
        return super().do_GET()

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A request is no news."""


def listen(preview: Preview, port: int) -> http.server.ThreadingHTTPServer:
    """A server on this machine only, on this port or the next free one."""
    handler = functools.partial(_Handler, preview=preview)
    for candidate in range(port, port + 50):
        with contextlib.suppress(OSError):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", candidate), handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return server
    raise Stop(f"ports {port} to {port + 49} are all in use (choose one with --port)")


def changes(root: Path) -> Iterator[set[str]]:
    """Sets of paths that were edited together, until Ctrl-C."""
    paths = [root / name for name in WATCHED if (root / name).exists()]
    for found in watchfiles.watch(*paths, debounce=150, step=50, raise_interrupt=False):
        yield {path for _, path in found}


def _shown(paths: Iterable[str], root: Path) -> str:
    names = sorted({Path(path).relative_to(root).as_posix() for path in paths})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def serve(port: int, jobs: int = 0, root: Path = ROOT) -> int:
    """Build, serve, and rebuild until Ctrl-C."""
    with build.lock(build.folders(root)[1] / "serve"):
        preview = Preview(root, jobs)
        try:
            count = report(preview.refresh())
            server = listen(preview, port)
            url = f"http://127.0.0.1:{server.server_address[1]}/"
            print(f"\n{counted(count)}; the site is at {url}  (an edit shows by itself; Ctrl-C ends)", flush=True)
            for paths in changes(root):
                started = time.perf_counter()
                count = report(preview.refresh())
                seconds = time.perf_counter() - started
                what = _shown(paths, root)
                print(f"{what}: {counted(count)}, shown after {seconds:.1f} s", flush=True)
        finally:
            preview.close()
    print("\nStopped.")
    return 0
