"""Run one snippet, or all of a topic, as a reader would: alone, in an empty folder."""

from pathlib import Path

from scripts import lab
from scripts.build import folders
from scripts.discover import discover
from scripts.execute import Runner
from scripts.problems import ROOT, Problem, Stop, nearest, report
from scripts.results import Cache, Result
from scripts.snippets import Snippet, read_text


def chosen(target: str, root: Path) -> list[Snippet]:
    """The snippets that the target names: a file's path, or a topic's."""
    project = discover(root)
    for name in (target, target.removeprefix("modules/").rstrip("/")):
        if name in project.topics:
            return list(project.topics[name].snippets.values())
    file = Path(target).resolve()
    if file.is_file():
        path = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        source, problems = read_text(file, path)
        if problems:
            raise Stop("\n".join(map(str, problems)))
        return [Snippet(path, source, root if file.is_relative_to(root) else file.parent)]
    short = [s.path for s in project.snippets if Path(s.path).name == target or s.stem == target]
    if len(short) == 1:
        return [s for s in project.snippets if s.path == short[0]]
    names = [*project.topics, *(s.path for s in project.snippets)]
    raise Stop(f"no topic or file {target!r} ({nearest(target, names)})")


def run(target: str, root: Path = ROOT) -> int:
    """Run and show; the exit code is 0 if all that ran gave a result."""
    snippets = chosen(target, root)
    cache, build = folders(root)
    faults: list[Problem] = [problem for snippet in snippets for problem in snippet.check()]
    runnable = [snippet for snippet in snippets if not snippet.obstacles()]
    with Runner(Cache(cache, root), jobs=1) as runner:
        for snippet in runnable:
            result = runner.run([snippet])[snippet.path]
            print(f"── {snippet.path} " + "─" * max(3, 76 - len(snippet.path)))
            if result.problem:
                faults.append(result.problem)
            else:
                _show(snippet, result, build / "run")
    return 1 if report(faults) else 0


def _show(snippet: Snippet, result: Result, folder: Path) -> None:
    print(result.stdout.replace(lab.END_OF_CELL, "").rstrip("\n"))
    if result.values:
        print("\nvalues:")
        width = max(map(len, result.values))
        for name, value in result.values.items():
            print(f"  {name:<{width}} = {value!r}")
    for figure in result.figures.values():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{snippet.stem}.{figure.name}.svg"
        file.write_text(figure.svg, "utf-8")
        print(f"figure {figure.name}: {file}")
    print(f"{result.cpu:.2f} s of CPU\n")
