"""What a person sees while snippets run: a bar that names them and says how long is left, or lines in a log."""

import threading
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from scripts.snippets import Snippet


class Bar:
    """Follows a run of snippets. `expected` gives the seconds that each took last time."""

    def __init__(self, snippets: list[Snippet], jobs: int, expected: Callable[[Snippet], float]) -> None:
        self.jobs, self.expected = jobs, expected
        self.total, self.left = len(snippets), sum(map(expected, snippets))
        self.done, self.running = 0, list[str]()
        self.lock = threading.Lock()
        self.console = Console()
        columns = (
            TextColumn("{task.description:40.40}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task = self.bar.add_task("importing libraries", total=self.total, left="")

    def __enter__(self) -> "Bar":
        if self.console.is_terminal and self.total:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def __call__(self, event: str, snippet: Snippet) -> None:
        with self.lock:
            if event == "start":
                self.running.append(snippet.stem)
            else:
                self.running.remove(snippet.stem)
                self.done += 1
                self.left -= self.expected(snippet)
                if not self.console.is_terminal:
                    print(f"[{self.done}/{self.total}] {snippet.path}", flush=True)
            seconds = max(0, round(self.left / self.jobs))
            left = f"about {seconds} s left" if self.running else ""
            description = ", ".join(self.running) or "importing libraries"
            self.bar.update(self.task, completed=self.done, description=description, left=left)
