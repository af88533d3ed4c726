"""The workflows: pinned, without more rights than they need, and running what the README names."""

import contextlib
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from scripts.environment import NEWEST, OLDEST
from scripts.problems import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {file.name: file.read_text("utf-8") for file in sorted((GITHUB / "workflows").glob("*.yml"))}
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
COMMAND = re.compile(r"python3 -m scripts \w+|\.ci/run")
WRITES = {"deploy": {"pages": "write", "id-token": "write"}}
ON_MAIN = "github.event_name == 'push' && github.ref == 'refs/heads/main'"


def faults(text: str) -> list[str]:
    """What is wrong with a workflow."""
    workflow = yaml.safe_load(text)
    triggers, jobs = workflow[True], workflow["jobs"]  # YAML 1.1 reads `on` as true
    found = [f"not pinned: {used}" for used in re.findall(r"uses: *(.*)", text) if not PINNED.fullmatch(used)]
    if workflow.get("permissions") != {}:
        found.append("rights for every job")
    if "concurrency" not in workflow:
        found.append("no concurrency")
    if not set(triggers) <= {"push", "pull_request", "schedule", "workflow_dispatch"}:
        found.append("a trigger that strangers can abuse")
    for name, job in jobs.items():
        if job.get("permissions") != WRITES.get(name, {"contents": "read"}):
            found.append(f"{name}: rights that it does not need")
        if not job.get("timeout-minutes"):
            found.append(f"{name}: no timeout")
        for step in job["steps"]:
            found += [f"{name}: {fault}" for fault in step_faults(step)]
    if deploy := jobs.get("deploy"):
        if set(deploy["needs"]) != set(jobs) - {"deploy"}:
            found.append("deploy does not wait for every other job")
        if deploy.get("if") != ON_MAIN or deploy["environment"]["name"] != "github-pages":
            found.append("deploy is not for main alone")
    return found


def step_faults(step: dict[str, Any]) -> Iterator[str]:
    command, options = step.get("run", ""), step.get("with", {})
    if "actions/checkout" in step.get("uses", "") and options.get("persist-credentials") is not False:
        yield "keeps the credentials"
    if "${{" in command:
        yield "an expression in a command"
    readme = (ROOT / "README.md").read_text("utf-8")
    for known in COMMAND.findall(command):
        shown = COMMAND.findall((ROOT / ".ci/run").read_text("utf-8"))[-1] if known == ".ci/run" else known
        if shown not in readme:
            yield f"{known} is not in the README"
    if re.search(r"\b(pip|apt-get|apt|npm|curl [^\n]*https:)", command):
        yield "installs what the README does not"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_is_without_fault(name: str) -> None:
    assert faults(WORKFLOWS[name]) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (r"(deploy-pages)@\w+", r"\1@v5", "not pinned"),
        (r"(actions/cache@\w+) # v\S+", r"\1", "not pinned"),
        (r"(setup-python@\w{39})\w", r"\1", "not pinned"),
        (r"permissions: {}", "permissions: write-all", "rights for every job"),
        (r"permissions: {}\n", "", "rights for every job"),
        (r"contents: read", "contents: write", "test: rights that it does not need"),
        (r"(      id-token: write)", r"\1\n      contents: read", "deploy: rights that it does not need"),
        (r"concurrency:\n(  .*\n)+", "", "no concurrency"),
        (r"pull_request:", "pull_request_target:", "a trigger that strangers can abuse"),
        (r"    timeout-minutes: 30\n", "", "build: no timeout"),
        (r"persist-credentials: false", "persist-credentials: true", "keeps the credentials"),
        (r"run: .ci/run", "run: .ci/run ${{ github.head_ref }}", "an expression in a command"),
        (r"scripts build", "scripts biuld", "python3 -m scripts biuld is not in the README"),
        (r"run: .ci/run", "run: pip install x && .ci/run", "installs what the README does not"),
        (r"needs: \[test, build\]", "needs: [build]", "deploy does not wait"),
        (r"    if: .*refs/heads/main.*\n", "", "deploy is not for main alone"),
    ],
)
def test_a_planted_fault_is_found(old: str, new: str, fault: str) -> None:
    broken, count = re.subn(old, new, WORKFLOWS["site.yml"], count=1)
    assert count == 1
    assert [found for found in faults(broken) if fault in found], faults(broken)


def test_the_test_job_runs_the_oldest_and_the_newest_python() -> None:
    jobs = yaml.safe_load(WORKFLOWS["site.yml"])["jobs"]
    ends = [".".join(map(str, version)) for version in (OLDEST, NEWEST)]
    assert jobs["test"]["strategy"]["matrix"]["python"] == ends
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_dead_links_never_block_a_change() -> None:
    assert set(yaml.safe_load(WORKFLOWS["links.yml"])[True]) == {"schedule", "workflow_dispatch"}


def test_dependabot_can_make_the_lock() -> None:
    """It reads uv's options from the lock itself."""
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["github-actions", "uv"]
    assert all(update["schedule"]["interval"] == "weekly" and update["groups"] for update in updates)
    header = "".join((ROOT / "requirements.txt").read_text("utf-8").splitlines(keepends=True)[:3])
    assert "--universal" in header and "--python-version 3.11" in header
    code = (ROOT / "scripts/test.py").read_text("utf-8")
    assert "--custom-compile-command" not in code, "it would hide the options from Dependabot"


def test_an_issue_says_what_is_wrong_and_what_is_right() -> None:
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE/error-on-a-page.yml").read_text("utf-8"))
    assert {"name", "description", "body"} <= set(form)
    assert [field["id"] for field in form["body"]] == ["page", "wrong", "right", "source"]
    assert all(field["validations"]["required"] for field in form["body"])


class Site(http.server.BaseHTTPRequestHandler):
    """/404 is not there, /403 refuses programs; every page holds the same links."""

    page: str
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response({"/": 200, "/robots.txt": 404}.get(self.path) or int(self.path[1:]))
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(page: str) -> Iterator[tuple[int, list[str]]]:
    """The port of a site, and what it was asked for."""
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Site,), {"asked": asked, "page": page}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], asked
    server.shutdown()
    server.server_close()


def linkchecker(*arguments: str) -> tuple[int, list[str]]:
    """As the workflow calls it: the exit code, and the addresses that it calls dead."""
    command = [sys.executable, "-m", "linkcheck", "--config", str(GITHUB / "linkchecker.ini"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, sorted(re.findall(r"^Real URL +http://[\w:.]+/(\d+)$", done.stdout, re.M))


def test_dead_links_are_found() -> None:
    """The site is read page by page; of another site each address is asked for once, and nothing behind it."""
    with serving('<a href="/299">behind</a>') as (port, asked):
        addresses = [f"http://localhost:{port}/{status}" for status in (200, 403, 404, 500)]
        with serving(" ".join(f'<a href="{address}">x</a>' for address in addresses)) as (home, _):
            assert linkchecker(f"http://127.0.0.1:{home}/") == (1, ["404", "500"])
        assert sorted(set(asked) - {"/robots.txt"}) == ["/200", "/403", "/404", "/500"]
        asked.clear()
        assert linkchecker("--recursion-level=0", *addresses) == (1, ["404", "500"])
        assert "/299" not in asked


def test_every_address_of_the_bibliography_is_asked_for() -> None:
    script = yaml.safe_load(WORKFLOWS["links.yml"])["jobs"]["links"]["steps"][-1]["run"]
    search = script.split("|\n")[0]
    found = subprocess.run(["bash", "-c", search], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    text = (ROOT / "docs/references.bib").read_text("utf-8")
    assert found and found == re.findall(r'^ *url *= *[{"](.*)[}"],?$', text, re.M)
