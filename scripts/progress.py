"""What a person sees while snippets run: a bar that names them and says how long is left, or lines in a log."""

import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from scripts.snippets import Snippet


class Bar:
    """Follows a run of snippets. `expected` gives the seconds that each took last time."""

    def __init__(
        self,
        snippets: list[Snippet],
        jobs: int,
        expected: Callable[[Snippet], float],
        quiet: bool = False,
    ) -> None:
        self.jobs, self.quiet = jobs, quiet
        self.waiting = {snippet.path: expected(snippet) for snippet in snippets}
        self.running: dict[str, float] = {}  # when each started
        self.total, self.lock, self.console = len(snippets), threading.Lock(), Console()
        columns = (TextColumn("{task.description:40.40}"), BarColumn(), MofNCompleteColumn(), _Left(self))
        self.bar = Progress(*columns, console=self.console, transient=True, disable=quiet)
        self.task = self.bar.add_task("importing libraries", total=self.total)

    def seconds_left(self) -> float:
        """The expected rest: what waits, and what is left of those that run."""
        with self.lock:
            now = time.monotonic()
            rest = [max(0.0, seconds - (now - self.running.get(path, now))) for path, seconds in self.waiting.items()]
        return max(sum(rest) / self.jobs, max(rest, default=0.0))

    def __enter__(self) -> Self:
        if self.console.is_terminal and self.total:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def __call__(self, event: str, snippet: Snippet) -> None:
        with self.lock:
            if event == "start":
                self.running[snippet.path] = time.monotonic()
            else:
                self.running.pop(snippet.path, None)
                self.waiting.pop(snippet.path, None)
                if not self.console.is_terminal and not self.quiet:
                    print(f"[{self.total - len(self.waiting)}/{self.total}] {snippet.path}", flush=True)
            names = ", ".join(path.rsplit("/", 1)[1] for path in self.running)
        done = self.total - len(self.waiting)
        self.bar.update(self.task, completed=done, description=names or "importing libraries")


class _Left(ProgressColumn):
    """How long is left."""

    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self.of = bar

    def render(self, task: Task) -> Text:
        return Text(f"about {self.of.seconds_left():.0f} s left")
