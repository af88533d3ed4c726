"""Faults on a miniature site: one clear message each, the rest is built and checked, the old site stays."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from scripts import build, snippets, verdict
from tests import mini
from tests.conftest import Build
from tests.mini import NUMPY_PATH, PAGE_PATH, sources

FOLDER = "modules/stats/mean"
DOC = '"""A fault."""\n'
END = "\nassert True\n"

# name: (source, line, what the message says)
BAD_SNIPPETS = {
    "raises": ('print("before")\ndef f():\n    return 1 / 0\nf()', 4, "ZeroDivisionError: division by zero"),
    "syntax": ("x = (1,\n", 2, "syntax error"),
    "exits": ("import sys\nsys.exit(0)", 3, "ended early with sys.exit(0)"),
    "raises_exit": ("raise SystemExit", 2, "ended early"),
    "leaves": ("import os\nos._exit(0)", 0, "left the interpreter with status 0"),
    "kills_itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 0, "was killed (SIGKILL)"),
    "crashes": ("import ctypes\nctypes.string_at(0)", 3, "was killed by SIGSEGV"),
    "loops": ("while True:\n    pass", 0, "s of CPU"),
    "sleeps": ("import time\ntime.sleep(1e9)", 3, "did not end within"),
    "ignores_alarm": (
        "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    time.sleep(1)",
        0,
        "was killed (SIGKILL)",
    ),
    "eats_memory": (
        "import numpy as np\nx = []\nwhile True:\n    x.append(np.zeros(1 << 27))",
        5,
        "more than 4 GiB of memory",
    ),
    "eats_numpy": ("import numpy as np\nx = np.ones((40_000, 40_000))", 3, "more than 4 GiB of memory"),
    "floods": ("while True:\n    print('flood ' * 1000)", 3, "prints or writes more than 16 MiB"),
    "one_line": ("print('x' * 70_000)", 0, "prints 70,001 bytes"),
    "asks": ("input()", 2, "EOFError"),
    "warns": ("import numpy as np\nnp.log(np.zeros(1))", 3, "RuntimeWarning: divide by zero"),
    "writes_outside": ("open('/tmp/outside-the-folder', 'w')", 2, "writes to /tmp/outside-the-folder"),
    "removes_outside": ("import os\nos.remove(__file__)", 3, "changes "),
    "connects": ("import socket\nsocket.create_connection(('192.0.2.1', 80), 1)", 3, "opens a network connection"),
    "unnamed": (
        "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()",
        4,
        "shows a figure without a name",
    ),
    "blank": ("import matplotlib.pyplot as plt\nplt.subplots(num='b')\nplt.show()", 4, "with nothing drawn"),
    "open_figure": ("import matplotlib.pyplot as plt\nplt.subplots(num='b')[1].plot([1])", 0, "leaves a figure open"),
    "huge_figure": (
        "import matplotlib.pyplot as plt\nimport numpy as np\n"
        "plt.subplots(num='h')[1].plot(np.random.default_rng(0).normal(size=20_000), 'o')\nplt.show()",
        5,
        "more than 200 kB",
    ),
    "imports_us": ("import scripts", 2, "imports this project"),
    "imports_unknown": ("import pandas", 2, "imports 'pandas'"),
}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snippets, "CPU_SECONDS", 2)
    monkeypatch.setattr(verdict, "WALL_FACTOR", 6)
    monkeypatch.setattr(verdict, "WALL_SLACK", 1)


def site_digest(root: Path) -> str:
    """The published site and the name under which it lies."""
    site = root / "build/site"
    files = sorted(f for f in site.rglob("*") if f.is_file())
    return hashlib.sha256(b"".join(f.as_posix().encode() + f.read_bytes() for f in files)).hexdigest()


@pytest.mark.usefixtures("small_limits")
def test_bad_snippets_all_at_once(root: Path, run_build: Build) -> None:
    assert run_build(root)[0] == 0
    before = site_digest(root)
    listings = "".join(f"\n[{name}](bad_{name}.py)\n" for name in BAD_SNIPPETS)
    page = (root / PAGE_PATH).read_text()
    (root / PAGE_PATH).write_text(page + listings + "\n[The last, which is good](good.py)\n")
    mini.write(root, f"{FOLDER}/good.py", '"""Good."""\n\nprint("the good one ran")\nassert True\n')
    mini.write(
        root,
        f"{FOLDER}/bad_detaches.py",
        DOC + "import subprocess\nsubprocess.Popen(['sleep', '98765'], start_new_session=True)" + END,
    )
    (root / PAGE_PATH).write_text((root / PAGE_PATH).read_text() + "\n[detaches](bad_detaches.py)\n")
    for name, (source, _, _) in BAD_SNIPPETS.items():
        mini.write(root, f"{FOLDER}/bad_{name}.py", DOC + source + END)
    files = sources(root)

    code, printed = run_build(root)

    assert code == 1
    assert "the site published before is unchanged" in printed
    assert site_digest(root) == before
    assert sources(root) == files, "the build changed the repository"
    assert "Traceback" not in printed
    lines = printed.splitlines()
    for name, (_, line, message) in BAD_SNIPPETS.items():
        path = f"{FOLDER}/bad_{name}.py"
        mine = [text for text in lines if text.startswith(path)]
        expected = f"{path}:{line}: " if line else path
        assert any(text.startswith(expected) and message in text for text in mine), (name, mine)
        about = [text for text in lines if path in text and not text.startswith("[")]
        assert len(about) == 1, about
    stage = (root / "build/stage" / PAGE_PATH).read_text()
    assert "the good one ran" in stage, "the other snippets still run"
    assert "bad_raises.py:4: ZeroDivisionError" in stage
    assert (root / "build/html/index.html").is_file(), "the other pages are still built"
    assert not subprocess.run(["pgrep", "-f", "sleep 98765"], capture_output=True).stdout, "a process survived"
    assert not Path("/tmp/outside-the-folder").exists()
    assert "its last output: 'before'" in printed


def test_failures_are_not_cached_and_mending_is_enough(root: Path, run_build: Build) -> None:
    mini.edit(root, NUMPY_PATH, "assert middle == 2.0", "assert middle == 3.0")
    for _ in range(2):
        code, printed = run_build(root)
        assert code == 1
        assert f"{NUMPY_PATH}:19: AssertionError" in printed
    mini.edit(root, NUMPY_PATH, "assert middle == 3.0", "assert middle == 2.0")
    assert run_build(root)[0] == 0


# what is replaced in the page, by what, and what is said at which line
BAD_PAGES = {
    "TeX": ("$x_1, \\dots, x_n$", "$\\frac{1}{$", 10, "TeX: "),
    "macro": ("$x_1, \\dots, x_n$", "$\\nosuchmacro$", 10, "TeX: "),
    "dollar": ("The **mean**", "For 5$ the **mean**", 10, "a $ without its partner"),
    "display": ("\\bar{x} =", "\\bar{x =", 16, "TeX: "),
    "math in a heading": ("## Definition", "## Definition of $x$", 14, "math in a heading"),
    "missing include": (
        "(mean_numpy.py)",
        "(mean_nunpy.py)",
        22,
        "no snippet 'mean_nunpy.py' (did you mean 'mean_numpy.py'?)",
    ),
    "missing symbol": (
        "mean_numpy.py#mean)",
        "mean_numpy.py#maen)",
        24,
        "no function or class 'maen' (did you mean 'mean'?)",
    ),
    "missing figure": ("#line", "#lime", 12, "draws no figure 'lime' (did you mean 'line'?)"),
    "missing value": ("mean_numpy.middle", "mean_numpy.midle", 10, "has no value 'midle' (did you mean 'middle'?)"),
    "missing snippet of a value": ("mean_numpy.middle", "mean_nump.middle", 10, "no snippet 'mean_nump.py'"),
    "bad format": (":.1f", ":.1q", 10, "cannot be shown with '.1q'"),
    "not a value": ("{{ mean_numpy.middle:.1f }}", "{{ middle }}", 10, "not a value"),
    "unknown citation": ("@gauss1809", "@gaus1809", 10, "unknown citation 'gaus1809' (did you mean 'gauss1809'?)"),
    "no alt text": ("![A rising line]", "![ ]", 12, "has no alt text"),
    "no caption": (' "How far does it rise?"', "", 12, "has no caption"),
    "inline include": ("\n[The mean, in full]", "\nSee [The mean, in full]", 22, "is not alone in its paragraph"),
    "climbs out": ("(mean_numpy.py)", "(../../../../../etc/passwd.py)", 22, "no snippet"),
    "absolute": ("(mean_numpy.py)", "(/etc/passwd.py)", 22, "refused"),
    "backslash": ("(mean_numpy.py)", "(..\\mean_numpy.py)", 22, "refused"),
    "broken link": ("docs/index.md", "docs/indx.md", 32, "broken link"),
    "broken anchor": ("](#definition)", "](#definitoin)", 32, "no anchor '#definitoin' (did you mean 'definition'?)"),
    "script": ("The **mean**", "<script>alert(1)</script> The **mean**", 10, "active content"),
    "handler": ("The **mean**", '<b onclick="x()">The</b> **mean**', 10, "active content"),
    "javascript link": ("(#definition)", "(javascript:alert)", 32, "refused link"),
    "python fence": ("## Definition", "```python\nx = 1\n```\n\n## Definition", 14, "Python code that does not run"),
    "heading of level 1": ("## Definition", "# Definition", 14, "a heading of level 1"),
    "unknown key": ("minutes: 5", "minutes: 5\nmiuntes: 5", 7, "Additional properties are not allowed"),
    "wrong type": ("minutes: 5", "minutes: five", 6, "minutes: 'five' is not of type 'integer'"),
    "bad YAML": ("tags: [basics]", "tags: [basics", 8, "not valid YAML"),
    "alias": ("tags: [basics]", "tags: &a [basics]\nprerequisites: *a", 8, "YAML alias"),
    "no title": ("title: Mean\n", "", 2, "'title' is a required property"),
    "unknown prerequisite": ("prerequisites: []", "prerequisites: [stats/median]", 1, "is not a topic"),
    "itself": ("prerequisites: []", "prerequisites: [stats/mean]", 1, "form a cycle: stats/mean → stats/mean"),
    "control": ("The **mean**", "The **mean\u202e**", 10, "control character U+202E"),
}


@pytest.mark.parametrize("name", BAD_PAGES)
def test_bad_page(root: Path, run_build: Build, name: str) -> None:
    old, new, line, message = BAD_PAGES[name]
    mini.edit(root, PAGE_PATH, old, new)
    code, printed = run_build(root)
    assert code == 1
    assert any(text.startswith(f"{PAGE_PATH}:{line}: ") and message in text for text in printed.splitlines()), printed
    assert "nothing is published" in printed
    assert not (root / "build/site").exists()
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        (PAGE_PATH, b"---\ntitle: \xff\n---\n", "not UTF-8: byte 11"),
        (PAGE_PATH, b"\xef\xbb\xbf---\n", "byte order mark"),
        (PAGE_PATH, b"No front matter.\n", "no front matter"),
        ("modules/stats/mean/extra.py", b'"""Extra."""\nassert True\n', "no page shows this file"),
        ("modules/stats/median/index.md", mini.PAGE.encode(), "no line in modules/curriculum.yml names this folder"),
        (
            "modules/curriculum.yml",
            (mini.CURRICULUM + "      - {path: stats/median}\n").encode(),
            "no page modules/stats/median",
        ),
        ("modules/curriculum.yml", (mini.CURRICULUM + "      - {path: stats/mean}\n").encode(), "is listed twice"),
        (
            "modules/curriculum.yml",
            mini.CURRICULUM.replace("mean}", "mean, frameworks: [tensorflow]}").encode(),
            "asks for tensorflow",
        ),
        ("docs/references.bib", (mini.BIB + mini.BIB.replace("1809,", "1810,")).encode(), "no page cites gauss1810"),
        ("docs/references.bib", mini.BIB.replace("  year = {1809},\n", "").encode(), "has no year"),
        ("docs/references.bib", b"@book{gauss1809, title = ", "not valid BibTeX"),
        ("modules/stats/mean/mean_other.py", b"two = 2\n", "no docstring"),
        ("modules/stats/mean/mean_other.py", b'"""Two."""\ntwo = 2\n', "no assert"),
    ],
)
def test_bad_file(root: Path, run_build: Build, path: str, data: bytes, message: str) -> None:
    mini.write(root, path, data)
    code, printed = run_build(root)
    assert code == 1
    assert message in printed
    assert "Traceback" not in printed


def test_check_finds_faults_of_sources_without_running(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.check(root) == 0
    mini.edit(root, PAGE_PATH, "mean_numpy.middle", "mean_numpy.midle")
    mini.edit(root, PAGE_PATH, "$x_1", "$\\x_1")
    mini.edit(root, PAGE_PATH, "#line", "#lime")
    assert build.check(root) == 1
    printed = capsys.readouterr().out
    assert "has no value 'midle'" in printed
    assert "TeX: " in printed
    assert "draws no figure 'lime'" in printed
    assert not (root / "build").exists(), "check runs and writes nothing"


def test_unseeded_snippet_is_found_by_running_twice(root: Path, run_build: Build) -> None:
    for draw in ("np.random.default_rng().normal()", "np.random.rand()"):
        source = f'"""Random."""\n\nimport numpy as np\n\ntwo = {draw}\nprint(two)\nassert two < 100\n'
        mini.write(root, "modules/stats/mean/mean_other.py", source)
        assert run_build(root)[0] == 0
        code, printed = run_build(root, twice=True)
        assert code == 1
        assert "mean_other.py: two runs differ: printed" in printed
    assert "seed every generator" in printed


def test_output_is_shown_literally(root: Path, run_build: Build) -> None:
    nasty = "<script>alert(1)</script> ``` </pre> {{ x.y }} $x$ [@a] \\x1b[31m <b>"
    mini.write(root, "modules/stats/mean/mean_other.py", f'"""Nasty."""\n\nprint("{nasty}")\nassert True\n')
    code, printed = run_build(root)
    assert code == 0, printed
    html = (root / "build/site/modules/stats/mean/index.html").read_text()
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; ``` &lt;/pre&gt; {{ x.y }} $x$ [@a] ␛[31m &lt;b&gt;" in html


def test_windows_line_ends_are_accepted(root: Path, run_build: Build) -> None:
    file = root / PAGE_PATH
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert run_build(root)[0] == 0
