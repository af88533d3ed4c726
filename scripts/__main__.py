"""The command line: `python3 -m scripts COMMAND`. Standard library only until it runs inside .venv, and
nothing that an old Python cannot read: it has to say that it is too old."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from scripts import __version__, environment

DESCRIPTION = """\
The executable encyclopedia of deep learning foundations.

  python3 -m scripts serve     run every snippet, build the site, serve it, rebuild on every edit
  python3 -m scripts test      run all checks and tests

The first command makes the environment (.venv) itself; nothing else has to be installed."""
EPILOG = """\
Results are kept in .cache/, pages in build/. Both can be deleted at any time.
Exit codes: 0 all is well; 1 problems, each printed as path:line: what is wrong (what to do); 2 wrong usage."""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="python -m scripts", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        description = f"{text[0].upper()}{text[1:]}.\n\n{more}".strip()
        return commands.add_parser(name, help=text, description=description, formatter_class=raw)

    build = add(
        "build",
        "run what changed, build the site, publish it to build/site",
        "A snippet runs again only if it, a file that it read, or a library that it imports has changed. With any\n"
        "problem nothing is published: the site in build/site stays as it was, and the exit code is 1.",
    )
    build.add_argument("--fresh", action="store_true", help="ignore kept results: run every snippet")
    build.add_argument(
        "--twice",
        action="store_true",
        help="run each snippet a second time; a difference is a problem",
    )
    build.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="snippets at a time (default: one per core)",
    )
    build.add_argument("--only", default="", metavar="TOPIC", help="run and check one topic; nothing is published")

    serve = add(
        "serve",
        "build, serve at a printed address, rebuild on every edit",
        "The browser reloads by itself: after an edit of text within two seconds, after an edit of a snippet within\n"
        "its own time plus two seconds. Problems are shown here and on the page concerned.",
    )
    serve.add_argument("--port", type=int, default=8000, help="default 8000, or the next free one")
    serve.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="snippets at a time (default: one per core)",
    )

    run = add(
        "run",
        "run a snippet as a reader would, and show what it gives",
        "TARGET is a snippet file, or a topic to run all its snippets. Each runs alone in an empty folder; what it\n"
        "prints, the values that prose may name, its figures (in build/run) and its CPU time are shown.",
    )
    run.add_argument("target", metavar="TOPIC|FILE")

    new = add(
        "new",
        "make a topic folder that already passes every check",
        'Example: python -m scripts new ml/deep-learning/adam "Adam" --part Regularization',
    )
    new.add_argument(
        "path",
        metavar="PATH",
        help="the topic's path below modules/, such as ml/deep-learning/adam",
    )
    new.add_argument("title", metavar="TITLE")
    new.add_argument("--part", default="", help="the part of the curriculum (default: the last one)")

    add("check", "check everything that can be checked without running a snippet")

    test = add(
        "test",
        "run every check and test",
        "Arguments after `--` go to pytest: python -m scripts test -- -k dropout",
    )
    test.add_argument("pytest", nargs="*", metavar="-- ARGUMENTS")

    bench = add(
        "bench",
        "measure the build and print ratios to its floor",
        "The floor is the snippets' own CPU time with imports done, over the cores. Measures a fresh build, an\n"
        "unchanged one, one changed snippet, memory, how the cost grows to 10,000 snippets, and the preview.",
    )
    bench.add_argument("--quick", action="store_true", help="generated snippets and pages only up to 1,000")

    add("lock", "make requirements.txt anew from requirements.in")
    return top


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if Path(sys.prefix).resolve() != environment.VENV.resolve() or not environment.is_complete():
        return environment.enter(arguments)
    lacking = environment.lacking()
    if lacking:
        again = "delete .venv, then run the same command again"
        print(f"Set-up is damaged: .venv lacks {', '.join(lacking[:5])} ({again}).", file=sys.stderr)
        return 1
    return guarded(lambda: dispatch(options))


def guarded(action: Callable[[], int]) -> int:
    """Run a command; what a person can mend is one line, without a traceback."""
    from scripts.problems import Stop, refusal

    try:
        return action()
    except Stop as stop:
        print(stop, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the site published before is unchanged.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone, as with `| head`
        return 1
    except OSError as error:
        line = refusal(error)
        if not line:
            raise
        print(line, file=sys.stderr)
        return 1


def dispatch(options: argparse.Namespace) -> int:
    """Run the command; its module is imported only when it is asked for."""
    if options.command in ("build", "check"):
        from scripts import build

        if options.command == "check":
            return build.check()
        return build.build(
            build.Options(fresh=options.fresh, twice=options.twice, jobs=options.jobs, only=options.only)
        )
    if options.command in ("test", "lock"):
        from scripts import test

        return test.lock() if options.command == "lock" else test.test(options.pytest)
    if options.command == "serve":
        from scripts import serve

        return serve.serve(options.port, options.jobs)
    if options.command == "run":
        from scripts import run

        return run.run(options.target)
    if options.command == "new":
        from scripts import new

        return new.new(options.path, options.title, options.part)
    from scripts import bench

    return bench.bench(options.quick)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
