"""discover → execute → render → check → publish, in one function each; data flows one way."""

import ast
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scripts import __version__, offline, site
from scripts.check import check_site
from scripts.discover import Project, discover
from scripts.execute import Runner
from scripts.frame import made
from scripts.problems import ROOT, Problem, Stop, counted, nearest, report
from scripts.progress import Bar
from scripts.publish import digest, is_whole, publish
from scripts.render import Renderer
from scripts.results import Cache, Result
from scripts.snippets import Snippet
from scripts.tex import Tex


@dataclass
class Options:
    """How to build: `only` names a topic; `jobs` 0 means one per core."""

    root: Path = ROOT
    fresh: bool = False
    twice: bool = False
    jobs: int = 0
    only: str = ""
    fork: bool | None = None
    quiet: bool = False


@dataclass
class Stage:
    """What a build knows before the generator runs."""

    project: Project
    results: dict[str, Result]
    renderer: Renderer
    files: dict[str, str]
    problems: list[Problem] = field(default_factory=list)

    def untold(self, problems: list[Problem]) -> list[Problem]:
        """Problems of built pages without those of the source, which are told once, where the author finds them."""
        told = {problem.path for problem in self.problems}
        return [problem for problem in problems if problem.path not in told]


def folders(root: Path) -> tuple[Path, Path]:
    """The folders that a build writes: cache, build."""
    return root / ".cache", root / "build"


def execute(project: Project, runner: Runner, options: Options) -> dict[str, Result]:
    """Results of all snippets that can run: kept ones, and new ones where something changed."""
    obstacles = {s.path: s.obstacles() for s in project.snippets}
    runnable = [s for s in project.snippets if not obstacles[s.path]]
    broken = {path: Result("", {}, {}, 0.0, problem=found[0]) for path, found in obstacles.items() if found}
    for s in [s for s in runnable if s.absent]:
        problem = Problem(s.path, s.imports[s.absent], f"not run: {s.absent} is not installed", "install it")
        broken[s.path] = Result("", {}, {}, 0.0, problem=problem, skipped=True)
        runnable.remove(s)
    results: dict[str, Result] = {}
    if not options.fresh:
        kept = {s.path: runner.cache.get(s) for s in runnable}
        results = {path: result for path, result in kept.items() if result}
    todo = [s for s in runnable if s.path not in results]
    if options.only:
        todo = [s for s in todo if s in project.topics[options.only].snippets.values()]
    with Bar(todo, runner.jobs, runner.expected, options.quiet) as bar:
        results |= broken | runner.run(todo, bar)
    if options.twice:
        chosen = [s for s in runnable if not options.only or s.path.startswith(f"modules/{options.only}/")]
        results |= _again(chosen, results, runner)
    return results


def _again(snippets: list[Snippet], results: dict[str, Result], runner: Runner) -> dict[str, Result]:
    """Run a second time; a result that differs becomes a problem."""
    good = [s for s in snippets if s.path in results and not results[s.path].problem]
    with Bar(good, runner.jobs, runner.expected) as bar:
        second = runner.run(good, bar, keep=False)
    differing = {}
    for path, result in second.items():
        if result.problem:
            differing[path] = result
        elif not result.same_as(results[path]):
            message = f"two runs differ: {_difference(results[path], result)}"
            problem = Problem(path, 0, message, "seed every generator")
            differing[path] = Result("", {}, {}, result.cpu, problem=problem)
    return differing


def _difference(one: Result, two: Result) -> str:
    for before, after in zip(one.stdout.splitlines(), two.stdout.splitlines(), strict=False):
        if before != after:
            return f"printed {before!r}, then {after!r}"
    for name in sorted(set(one.values) | set(two.values)):
        if repr(one.values.get(name)) != repr(two.values.get(name)):
            return f"{name} = {one.values.get(name)!r}, then {two.values.get(name)!r}"
    return "its figures or the number of printed lines"


def facts(project: Project, results: dict[str, Result], root: Path) -> dict[str, Any]:
    """Numbers about the site itself, for its prose: {{ site.topics }}."""
    trees = [s.tree for s in project.snippets if s.tree]
    tests = [file for name in ("tests", "modules", "snippets") for file in root.glob(f"{name}/**/test_*.py")]
    return {
        "topics": len(project.topics),
        "parts": len(project.parts),
        "snippets": len(project.snippets),
        "figures": sum(len(r.figures) for r in results.values()),
        "asserts": sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree)),
        "tests": sum(len(re.findall(r"^ *def test_", file.read_text("utf-8", "replace"), re.M)) for file in tests),
        "sources": len(project.bibliography),
        "version": __version__,
    }


def render(project: Project, results: dict[str, Result], tex: Tex) -> Stage:
    """The stage's files and every problem found so far."""
    renderer = Renderer(project, results, tex, facts(project, results, project.root), made(project.root))
    files = renderer.stage()
    required = bool(os.environ.get("CI"))
    failed = [r.problem for r in results.values() if r.problem and (required or not r.skipped)]
    return Stage(project, results, renderer, files, [*project.problems, *failed, *renderer.problems])


def lock(build: Path) -> FileLock:
    """One build at a time; the lock goes with its process."""
    build.mkdir(parents=True, exist_ok=True)
    held = FileLock(build / ".lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        print("Another build is running here; waiting for it.", flush=True)
        try:
            held.acquire(timeout=1800)
        except Timeout:
            raise Stop("another build has held build/.lock for half an hour (end it, then try again)") from None
    return held


def build(options: Options) -> int:
    """Build and publish. Returns the exit code: 0 only if the site is whole and published."""
    started = time.perf_counter()
    root, (cache_folder, folder) = options.root, folders(options.root)
    with lock(folder):
        _clean(folder)
        project = discover(root)
        if options.only and options.only not in project.topics:
            raise Stop(f"no topic {options.only!r} ({nearest(options.only, project.topics)})")
        fork = {} if options.fork is None else {"fork": options.fork}
        tex = Tex(cache_folder)
        with Runner(Cache(cache_folder, root), options.jobs, **fork) as runner:
            results = execute(project, runner, options)
        stage = render(project, results, tex)
        if options.only:
            return _report_only(stage, options.only)
        finished, problems, changed = to_html(stage, folder, tex)
        problems = sorted({*stage.problems, *problems})
        if problems:
            count = report(problems)
            shutil.rmtree(finished)
            was = "the site published before is unchanged" if (folder / "site").exists() else "nothing is published"
            print(f"\n{counted(count)}; {was}.")
            return 1
        if changed:
            offline.bundle(finished, finished / offline.NAME)
            publish(finished, folder)
            (folder / "published.json").write_text(_stage_digest(folder), "utf-8")
        count = report(r.problem for r in results.values() if r.problem)
        missed = f" {count} were not run here, and their pages say so." if count else ""
        seconds = time.perf_counter() - started
        state = "published" if changed else "unchanged"
        print(
            f"{len(project.pages)} pages, {len(results)} snippets: {state} in build/site after {seconds:.1f} s.{missed}"
        )
        return 0


def to_html(stage: Stage, folder: Path, tex: Tex) -> tuple[Path, list[Problem], bool]:
    """Write the stage and build its pages; skipped where the published site was made of the same stage."""
    config = site.write_config(stage.project, folder)
    site.write_stage(stage.files, folder / "stage", stage.project.root)
    record = folder / "published.json"
    same = record.is_file() and record.read_text("utf-8") == _stage_digest(folder)
    if same and not stage.problems and is_whole(folder / "site"):
        return folder / "site", [], False
    problems = site.generate(config, date=stage.renderer.date)
    finished = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    finished.chmod(0o755)
    site.finish_site(folder / "html", finished, tex)
    problems += check_site(finished, stage.renderer.uses, stage.project.address)
    return finished, stage.untold(problems), True


def _stage_digest(folder: Path) -> str:
    """What the built site depends on: the stage, its configuration, the theme's overrides, the engine."""
    root = folder.parent
    parts = [
        digest(folder / "stage"),
        digest(root / "overrides"),
        digest(Path(__file__).parent),
        __version__,
    ]
    for file in (folder / "mkdocs.yml", root / "mkdocs.yml", root / "requirements.txt"):
        parts.append(hashlib.sha256(file.read_bytes() if file.is_file() else b"").hexdigest())
    return json.dumps(parts)


def _report_only(stage: Stage, topic: str) -> int:
    """For an author: what concerns one topic."""
    inside = f"modules/{topic}/"
    for path, result in sorted(stage.results.items()):
        if path.startswith(inside) and not result.problem:
            made = f"{len(result.values)} values, {len(result.figures)} figures"
            print(f"{os.path.basename(path)}: {result.cpu:.1f} s of CPU, {made}")
    count = report(p for p in stage.problems if p.path.startswith(inside) or p.path.startswith("docs/references"))
    print(f"{topic}: {counted(count)}.")
    return 1 if count else 0


def check(root: Path = ROOT) -> int:
    """Everything that can be checked without running a snippet."""
    project = discover(root)
    renderer = Renderer(project, None, Tex(folders(root)[0]))
    renderer.stage()
    count = report([*project.problems, *renderer.problems])
    print(f"{len(project.pages)} pages and {len(project.snippets)} snippets checked: {counted(count)}.")
    return 1 if count else 0


def _clean(folder: Path) -> None:
    """Remove what an interrupted build left behind."""
    for left in folder.glob(".new-*"):
        shutil.rmtree(left, ignore_errors=True)
