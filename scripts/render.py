"""Pages and results become plain Markdown in a stage folder, with every misuse of the authoring forms reported."""

from scripts import frame, lab, offline
from scripts.body import Body
from scripts.context import Context
from scripts.discover import Topic
from scripts.markdown import fenced, indented
from scripts.notebook import notebook
from scripts.pages import Page
from scripts.problems import Problem
from scripts.snippets import Snippet


class Renderer(Context):
    """Renders pages. Without results (None) it checks what can be checked without running."""

    def page(self, page: Page, topic: Topic | None = None) -> str:
        """The page's Markdown in the stage."""
        start = len(self.problems)
        body = Body(self, page, topic).text(page.body, page.line)
        front = {"title": page.title, "description": page.meta.get("summary", "")}
        front |= {key: page.meta[key] for key in ("hide", "template") if key in page.meta}
        lines = [frame.front_matter(**front)]
        if topic:
            lines += [frame.topic_line(self.project, page, topic), "{: .topic-line }", ""]
        for problem in sorted(set(self.problems[start:])):
            lines += [
                '!!! failure "This page has a fault"',
                "",
                indented(fenced(str(problem), "text"), "    "),
                "",
            ]
        end = []
        if topic:
            end += [frame.path_map(self.project, topic), frame.tags(page)]
        snippets = [self.project.snippet_of[path] for path in sorted(self.uses.shown.get(page.path, ()))]
        end.append(frame.colophon(self.project, page, snippets, self.date))
        return "\n\n".join(["\n".join(lines) + body.rstrip("\n"), *filter(None, end)]) + "\n"

    def stage(self) -> dict[str, str]:
        """Every file of the stage: pages, snippets for download as .py and .ipynb, figures."""
        files = {}
        for page in self.project.docs:
            files[page.url] = self.page(page)
        for topic in self.project.topics.values():
            if topic.page:
                files[topic.page.url] = self.page(topic.page, topic)
            for snippet in topic.snippets.values():
                files |= self.attachments(snippet)
        for snippet in [*self.project.loose.values(), *self.project.tests.values()]:
            files |= self.attachments(snippet)
        files["bibliography.md"] = self._bibliography()
        files[offline.NAME] = offline.EMPTY
        files["tags.md"] = frame.tags_page(self.project)
        self._unused()
        return files

    def attachments(self, snippet: Snippet) -> dict[str, str]:
        """The files beside a page that belong to one snippet."""
        result = (self.results or {}).get(snippet.path)
        files = {snippet.url: snippet.source}
        if result and not result.problem:
            base = snippet.url.removesuffix(".py")
            if lab.is_lab(snippet):
                empty, solved = lab.notebooks(snippet, result, self.project.address)
                files |= {f"{base}.ipynb": empty, f"{base}_solutions.ipynb": solved}
            else:
                files[f"{base}.ipynb"] = notebook(snippet, result)
            files |= {f"{base}.{figure.name}.svg": figure.svg for figure in result.figures.values()}
        return files

    def _bibliography(self) -> str:
        lines = [frame.front_matter(title="Bibliography", description="Every source that a page cites.")]
        lines += ["Every entry is cited by a page; the pages are named behind it.", ""]
        for key in sorted(self.project.bibliography, key=str.lower):
            entry = self.project.bibliography[key]
            pages = sorted(self.uses.citations.get(key, set()))
            titles = [(self.project.page_of[path].title, path.removeprefix("docs/")) for path in pages]
            cited = ", ".join(f"[{title}]({path})" for title, path in titles)
            lines += [f'- <span id="{key}"></span>{entry.markup()} Cited by: {cited or "no page"}.']
        return "\n".join(lines) + "\n"

    def _unused(self) -> None:
        """What no page shows or cites."""
        shown = {path for paths in self.uses.shown.values() for path in paths}
        for snippet in self.project.snippet_of.values():
            if snippet.path not in shown:
                self.problems.append(Problem(snippet.path, 0, "no page shows this file", "show or delete it"))
            result = (self.results or {}).get(snippet.path)
            for name in result.figures if result else ():
                if (snippet.path, name) not in self.uses.figures:
                    message = f"no page shows the figure {name!r}"
                    self.problems.append(Problem(snippet.path, 0, message, "show it or do not draw it"))
        for key, entry in self.project.bibliography.items():
            if key not in self.uses.citations:
                message = f"no page cites {key}"
                self.problems.append(Problem("docs/references.bib", entry.line, message, "cite or delete it"))
