"""Measure the build, and print ratios. On a busy machine the seconds are rough; the ratios hold better."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from scripts import serve, site
from scripts.discover import discover
from scripts.execute import ENVIRONMENT
from scripts.problems import ROOT, Stop
from scripts.render import Renderer
from scripts.results import Cache, Result, read_result
from scripts.snippets import Snippet
from scripts.test import browser
from scripts.tex import Tex

SOURCES = ("modules", "docs", "overrides")
FRONT = """---
title: Page {n}
summary: A generated page.
prerequisites: []
level: beginner
minutes: 5
tags: [generated]
---

"""
TRIVIAL = '"""{n} is {n}."""\n\nvalue = {n}\nprint(value)\nassert value == {n}\n'
FORMULA = (
    "Let $a_{n} \\in \\mathbb{{R}}^{{{n}}}$.\n\n$$\n\\sum_{{k=1}}^{{{n}}} \\frac{{x_k^{{{n}}}}}{{1 + e^{{-x_k}}}}\n$$"
)
FORMULAS = "\n\n".join(FORMULA.format(n=n) for n in range(1, 21))


def copy_project(target: Path) -> Path:
    """The project's sources without results, in a folder of their own."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "mkdocs.yml", target / "mkdocs.yml")
    return target


def generated(target: Path, pages: int, math: bool = False) -> Path:
    """A project of trivial pages with one trivial snippet each."""
    lines = ["parts:", "  - part: Generated", "    modules:"]
    for n in range(pages):
        folder = target / f"modules/g/page-{n}"
        folder.mkdir(parents=True)
        (folder / f"value_{n}.py").write_text(TRIVIAL.format(n=n))
        body = f"Here is {{{{ value_{n}.value }}}}.\n\n[The value](value_{n}.py)\n\n" + (FORMULAS if math else "")
        (folder / "index.md").write_text(FRONT.format(n=n) + body)
        lines.append(f"      - {{path: g/page-{n}, frameworks: []}}")
    (target / "modules/curriculum.yml").write_text("\n".join(lines) + "\n")
    shutil.copytree(ROOT / "docs/assets", target / "docs/assets")
    shutil.copytree(ROOT / "overrides", target / "overrides")
    (target / "docs/index.md").write_text("---\ntitle: Home\nsummary: Generated.\n---\n\nText.\n")
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    start, end = config.index("nav:"), config.index("theme:")
    (target / "mkdocs.yml").write_text(
        f"{config[:start]}nav: [index.md, modules, bibliography.md, tags.md]\n{config[end:]}"
    )
    return target


def timed_build(root: Path, fresh: bool = False) -> tuple[float, float]:
    """Wall seconds of a build in a process of its own, and the peak memory of all its processes in MiB."""
    code = "import sys; from pathlib import Path; from scripts import build;"
    code += f"sys.exit(build.build(build.Options(root=Path(sys.argv[1]), fresh={fresh})))"
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.5)  # reading the page tables of large processes costs them time
    if process.returncode:
        raise Stop("the build failed (run python -m scripts build, and mend what it says)")
    return time.perf_counter() - started, peak


def memory(pid: int) -> float:
    """MiB of a process and its descendants; pages that they share count once (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, StopIteration):  # it has just ended
        return 0.0
    return kib / 1024 + sum(memory(int(child)) for child in children)


def import_seconds(module: str) -> float:
    """CPU seconds of importing a framework in a fresh interpreter."""
    code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}
    )
    return float(done.stdout.split()[-1])


def whole_site(scratch: Path) -> None:
    """Fresh, unchanged and one changed, beside the floor."""
    root = copy_project(scratch / "project")
    cores = len(os.sched_getaffinity(0))
    fresh, peak = timed_build(root, fresh=True)
    cache = Cache(root / ".cache", root)
    project = discover(root)
    kept = [(snippet, cache.get(snippet)) for snippet in project.snippets]
    cpu = {snippet.path: result.cpu for snippet, result in kept if result}
    floor = sum(cpu.values()) / cores
    unchanged, _ = timed_build(root)
    cheapest = min((s for s in project.snippets if "torch" in s.imports), key=lambda s: cpu[s.path])
    cheapest.file.write_text(cheapest.source + "\n", "utf-8")
    changed, _ = timed_build(root)
    stage = root / "build/stage"
    (stage / "index.md").touch()
    started = time.perf_counter()
    site.generate(root / "build/mkdocs.yml")
    site.finish_site(root / "build/html", scratch / "finished", Tex(root / ".cache"))
    generator = time.perf_counter() - started
    frameworks = {name: import_seconds(name) for name in ("torch", "tensorflow")}
    bound = 1.15 * floor + sum(frameworks.values()) + generator
    imports = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in frameworks.items())
    print(f"snippets: {len(cpu)}; cores: {cores}; importing once: {imports}; generator: {generator:.1f} s")
    print(f"floor (CPU of the snippets with imports done, over the cores): {floor:.1f} s")
    for name, seconds in (("fresh", fresh), ("unchanged", unchanged), ("one changed", changed)):
        print(f"{name:<12} {seconds:6.1f} s   {seconds / floor:5.2f} x floor")
    verdict = "kept" if fresh <= bound else "MISSED"
    print(f"budget of a fresh build, 1.15 x floor + imports + generator: {bound:.1f} s ({verdict})")
    verdict = "kept" if unchanged <= generator + 0.5 else "MISSED"
    print(f"budget of an unchanged build, generator + 0.5 s: {generator + 0.5:.1f} s ({verdict})")
    print(f"peak memory of all processes of the fresh build: {peak:.0f} MiB")


def growth(scratch: Path, sizes: list[int]) -> None:
    """Cost per snippet and page of each step that touches all of them: it stays level if the cost is linear."""
    print("\ncost per generated page with its snippet, in ms (level = linear)")
    print(f"{'pages':>8} {'discover':>10} {'lookup':>10} {'render':>10}")
    for size in sizes:
        root = generated(scratch / f"pages-{size}", size)
        started = time.perf_counter()
        project = discover(root)
        discovered = time.perf_counter()
        cache = Cache(root / ".cache", root)
        results = {snippet.path: _fabricate(cache, snippet, scratch / "run") for snippet in project.snippets}
        filled = time.perf_counter()
        for snippet in project.snippets:
            assert cache.get(snippet), snippet.path
        found = time.perf_counter()
        Renderer(project, results, Tex(root / ".cache")).stage()
        rendered = time.perf_counter()
        steps = (discovered - started, found - filled, rendered - found)
        print(f"{size:>8} " + " ".join(f"{1000 * seconds / size:>10.2f}" for seconds in steps), flush=True)
        shutil.rmtree(root)


def _fabricate(cache: Cache, snippet: Snippet, run: Path) -> Result:
    """A kept result as a run would have left it: the lookup is measured, not the run."""
    run.mkdir(exist_ok=True)
    number = int(snippet.stem.split("_")[1])
    raw: dict[str, object] = {"error": None, "figures": [], "values": {"value": number}, "files": [], "cpu": 0.0}
    (run / "result.json").write_text(json.dumps(raw))
    (run / "stdout.txt").write_text(f"{number}\n")
    result = read_result(run, snippet.path)
    cache.put(snippet, run, result)
    return result


def preview(scratch: Path) -> None:
    """Seconds from saving an edit until a browser shows it, at 100 pages with math."""
    root = generated(scratch / "preview", 100, math=True)
    shown = serve.Preview(root, quiet=True)
    shown.refresh()
    server = serve.listen(shown, 8100)
    thread = threading.Thread(target=_follow, args=(shown, root), daemon=True)
    thread.start()
    time.sleep(1)
    url = f"http://127.0.0.1:{server.server_address[1]}/modules/g/page-50/"
    page = root / "modules/g/page-50/index.md"
    snippet = root / "modules/g/page-50/value_50.py"
    path = browser()
    if not path:
        print("\npreview: not measured, there is no Chromium here")
        return
    from playwright.sync_api import sync_playwright

    print("\npreview of 100 pages with math: seconds from the edit until the browser shows it")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        tab = chromium.new_page()
        tab.goto(url)
        for kind, file, old, new in (
            ("text", page, "Here is", "Now here is"),
            ("text", page, "Now here is", "Again here is"),
            ("snippet", snippet, "print(value)", 'print("edited", value)'),
            ("snippet", snippet, '"edited"', '"edited twice"'),
        ):
            started = time.perf_counter()
            file.write_text(file.read_text().replace(old, new))
            wanted = new.split('"')[1] if '"' in new else new
            tab.wait_for_function("text => document.body.innerText.includes(text)", arg=wanted, timeout=30_000)
            print(f"  {kind:<8} {time.perf_counter() - started:.2f} s", flush=True)
        chromium.close()
    server.shutdown()
    shown.close()


def _follow(shown: serve.Preview, root: Path) -> None:
    for _ in serve.changes(root):
        shown.refresh()


def bench(quick: bool) -> int:
    """Everything, in one run."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        whole_site(scratch)
        growth(scratch, [100, 1000] if quick else [100, 1000, 10000])
        preview(scratch)
    return 0
