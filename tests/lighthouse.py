"""Lighthouse on topic pages of the built site, beside the same pages in Material's default look.

    python -m tests.lighthouse [--runs 3] [PAGE ...]

Needs npx (Node 20 or newer) and Chromium. Prints scores (performance, accessibility, best practices, SEO), median over
the runs, on a phone and on a desktop. It is no gate: performance moves with the load of the machine.
"""

import argparse
import functools
import gzip
import http.server
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml

from scripts.problems import ROOT
from scripts.test import browser

VERSION = "13.5.0"
CATEGORIES = ["performance", "accessibility", "best-practices", "seo"]
PAGE = "modules/ml/deep-learning/dropout"
FLAGS = "--headless=new --no-sandbox --disable-gpu"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Compresses text, as hosts of static sites do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        file = file / "index.html" if file.is_dir() else file
        if not file.is_file():
            return self.send_error(404)
        data = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(file)))
        if file.suffix in {".html", ".css", ".js", ".svg", ".json"}:
            data = gzip.compress(data)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(data)
        return None

    def log_message(self, *_: object) -> None:
        """A request is no news."""


def serve(folder: Path) -> str:
    """The address at which the folder is served until the process ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def default_site(folder: Path) -> Path:
    """The stage in Material's default look: our Markdown extensions, the theme's name, no fonts from another host.

    It has no formulas: ours are put in after the generator has run.
    """
    config = {
        "markdown_extensions": yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["markdown_extensions"],
        "site_name": "Default",
        "docs_dir": str(ROOT / "build/stage"),
        "site_dir": str(folder / "site"),
        "theme": {"name": "material", "font": False},
    }
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config), "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(folder / "mkdocs.yml")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    return folder / "site"


def audit(address: str, desktop: bool, report: Path) -> list[float]:
    """The four scores of one page, in percent."""
    command = ["npx", "--yes", f"lighthouse@{VERSION}", address, "--quiet", "--output=json", f"--output-path={report}"]
    command += [f"--chrome-flags={FLAGS}", f"--only-categories={','.join(CATEGORIES)}"]
    command += ["--preset=desktop"] if desktop else []
    subprocess.run(command, check=True, env={**os.environ, "CHROME_PATH": browser() or ""}, stderr=subprocess.DEVNULL)
    found = json.loads(report.read_text("utf-8"))
    for audit in found["audits"].values():  # what costs points, beside the metrics of performance
        if audit["score"] is not None and audit["score"] < 1 and audit["scoreDisplayMode"] == "binary":
            print(f"    {audit['id']}: {audit['title']}", file=sys.stderr)
    return [100 * (found["categories"][name]["score"] or 0) for name in CATEGORIES]


def main(arguments: list[str]) -> int:
    """Print the table. Returns 1 where the tools are missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.lighthouse")
    parser.add_argument("pages", nargs="*", default=[PAGE], metavar="PAGE")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    if not browser() or not shutil.which("npx") or not (ROOT / "build/site/index.html").is_file():
        print("Needed: Chromium, npx, and a built site (python3 -m scripts build).", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        ours, default = serve(ROOT / "build/site"), serve(default_site(Path(scratch)))
        print(f"{'page':44} {'setting':8} {'site':8} performance accessibility best-practices SEO")
        for page in options.pages:
            for desktop in (False, True):
                for name, host in (("ours", ours), ("default", default)):
                    report = Path(scratch) / "report.json"
                    runs = [audit(f"{host}/{page}/", desktop, report) for _ in range(options.runs)]
                    scores = "  ".join(f"{statistics.median(column):.0f}" for column in zip(*runs, strict=True))
                    print(f"{page[-44:]:44} {'desktop' if desktop else 'phone':8} {name:8} {scores}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
