"""Faults of snippets (F04 to F15, F31), one by one: what is refused, what is said, and what survives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import confine, snippets, verdict
from scripts.discover import discover
from scripts.execute import Runner
from scripts.problems import ROOT
from scripts.results import Cache, Result
from tests import mini
from tests.conftest import Build
from tests.faults import BUILD
from tests.mini import PAGE_PATH

OTHER = "modules/stats/mean/mean_other.py"


def run(root: Path, source: str, fork: bool = True) -> Result:
    """The result of one snippet whose code starts in line 2."""
    mini.write(root, OTHER, f'"""A snippet."""\n{source}\n\nassert True\n')
    snippet = discover(root).topics["stats/mean"].snippets["mean_other"]
    with Runner(Cache(root / ".cache", root), jobs=1, fork=fork) as runner:
        return runner.run([snippet], keep=False)[OTHER]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snippets, "CPU_SECONDS", 2)
    monkeypatch.setattr(verdict, "WALL_FACTOR", 5)
    monkeypatch.setattr(verdict, "WALL_SLACK", 1)


# name: (source, line, what the message says)
REFUSED = {
    "aborts": ("import os\nos.abort()", 3, "was killed by SIGABRT"),
    "recurses": ("def f():\n    return f()\nf()", 3, "RecursionError"),
    "asks": ("name = input('name?')", 2, "EOFError"),
    "draws_nothing_twice": (
        "import matplotlib.pyplot as plt\nfor _ in 'ab':\n    plt.subplots(num='a')[1].plot([1])\n    plt.show()",
        5,
        "shows two figures named 'a'",
    ),
    "climbs": (
        "import matplotlib.pyplot as plt\nplt.subplots(num='../../x')[1].plot([1])\nplt.show()",
        4,
        "names a figure '../../x'",
    ),
    "renames_out": (
        "import os\nopen('x', 'w').close()\nos.rename('x', '/tmp/faults-out')",
        4,
        "changes /tmp/faults-out",
    ),
    "links_out": ("import os\nos.symlink('x', '/tmp/faults-out')", 3, "changes /tmp/faults-out"),
    "links_in": ("import os\nos.symlink('/etc', 'etc')", 3, "changes /etc"),
    "makes_folder": ("import os\nos.makedirs('/tmp/faults-out/x')", 3, "changes /tmp/faults-out"),
    "removes_by_descriptor": (
        "import os\nos.remove('passwd', dir_fd=os.open('/etc', os.O_RDONLY))",
        3,
        "changes /etc/passwd",
    ),
    "removes_tree": (
        "import shutil\nshutil.rmtree('/tmp/faults-out', ignore_errors=True)",
        3,
        "changes /tmp/faults-out",
    ),
    "owns": ("import os\nos.utime('/etc/passwd')", 3, "changes /etc/passwd"),
    "database": ("import sqlite3\nsqlite3.connect('/tmp/faults-out')", 3, "changes /tmp/faults-out"),
    "array": ("import numpy as np\nnp.ones(3).tofile('/tmp/faults-out')", 3, "writes to /tmp/faults-out"),
    "changes_folder": ("import os\nos.chdir('/')\nopen('faults-out', 'w')", 4, "writes to /faults-out"),
    "reads_home": (f"open({str(Path.home() / '.netrc')!r})", 2, "reads "),
    "reads_hidden": ("from pathlib import Path\n(Path(__file__).parents[3] / '.env').read_text()", 3, "reads "),
    "reads_git": ("from pathlib import Path\n(Path(__file__).parents[3] / '.git/config').read_text()", 3, "reads "),
    "reads_environment": ("import os\nopen(f'/proc/{os.getppid()}/environ').read()", 3, "reads /proc/"),
    "datagram": (
        "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        3,
        "opens a network connection to 192.0.2.1",
    ),
    "message": (
        "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
        3,
        "opens a network connection to 192.0.2.1",
    ),
    "name": ("import socket\nsocket.getaddrinfo('example.org', 80)", 3, "opens a network connection to example.org"),
    "like_loopback": (
        "import socket\nsocket.getaddrinfo('localhost.example.org', 80)",
        3,
        "opens a network connection to localhost.example.org",
    ),
    "download": (
        "import urllib.request\nurllib.request.urlopen('http://example.org/')",
        3,
        "opens a network connection to example.org",
    ),
    "unix": ("import socket\nsocket.socket(socket.AF_UNIX).connect('/run/docker.sock')", 3, "connects to /run/docker"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(root: Path, name: str) -> None:
    source, line, message = REFUSED[name]
    problem = run(root, source).problem
    assert problem and problem.line == line and message in problem.message, problem
    assert not Path("/tmp/faults-out").exists() and not Path("/faults-out").exists()


@pytest.mark.usefixtures("small_limits")
def test_where_it_was_when_its_time_was_over(root: Path) -> None:
    sleep = run(root, "import time\ndef wait():\n    time.sleep(1e9)\nwait()").problem
    assert sleep and sleep.line == 4 and "did not end within 11 s" in sleep.message
    loop = run(root, "x = 0\nwhile True:\n    x += 1").problem
    assert loop and loop.line in (3, 4) and "used more than 2 s of CPU" in loop.message


@pytest.mark.parametrize("fork", [True, False])
def test_a_gigabyte_of_output(root: Path, run_build: Build, fork: bool) -> None:
    source = '"""Much."""\nprint("the head")\nline = "x" * 999\nfor number in range(10**6):\n    print(number, line)\n'
    mini.write(root, OTHER, f"{source}assert True\n")
    code, printed = run_build(root, fork=fork)
    assert code == 1
    assert (
        f"{OTHER}:5: prints or writes more than 16 MiB (print a summary; its output starts with 'the head'" in printed
    )
    stage = sum(f.stat().st_size for f in (root / "build/stage/modules").rglob("*"))
    assert stage < 100_000, "the page stays small"
    assert not list((root / ".cache/scratch").iterdir())


def test_one_endless_line(root: Path) -> None:
    problem = run(root, "print('the head', 'x' * 100_000, 'the tail')").problem
    assert problem and "prints 100,019 bytes, more than 64 KiB" in problem.message
    assert problem.advice.startswith("print a summary; it starts with 'the head xxx")
    assert problem.advice.endswith("xxx the tail'") and len(problem.advice) < 250


DAEMON = """
import os, time
if os.fork() == 0:
    for _ in range(4):  # each the parent of the next, none in the session of the one before
        os.setsid()
        if os.fork():
            os.closerange(0, 256)
            os.execvp("sleep", ["sleep", "{unique}"])
    os.closerange(0, 256)
    os.execvp("sleep", ["sleep", "{unique}"])
time.sleep(0.2)
"""


def alive(*arguments: str) -> list[str]:
    """Processes with one of these among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        found += [f"{folder.name}: {' '.join(words)}" for argument in arguments if argument in words]
    return found


def test_nothing_survives_that_detaches_itself(root: Path) -> None:
    unique = f"98761.{time.time_ns() % 10**6}"
    assert run(root, DAEMON.format(unique=unique)).problem is None
    assert not alive(unique)


@pytest.mark.parametrize(("number", "group"), [(signal.SIGKILL, False), (signal.SIGKILL, True), (signal.SIGINT, True)])
def test_nothing_survives_an_interrupted_build(root: Path, number: signal.Signals, group: bool) -> None:
    """The build is ended while a snippet runs that has started processes."""
    unique = f"98763.{time.time_ns() % 10**6}"
    run_it = f'import subprocess\nsubprocess.Popen(["sleep", "{unique}"], start_new_session=True)\n'
    mini.write(root, OTHER, f'"""A."""\n{run_it}subprocess.run(["sleep", "{unique}"])\nassert True\n')
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(root)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    limit = time.monotonic() + 60
    while len(alive(unique)) < 2 and time.monotonic() < limit:
        time.sleep(0.05)
    assert len(alive(unique)) == 2
    os.killpg(process.pid, number) if group else os.kill(process.pid, number)
    printed = process.communicate(timeout=20)[0]
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert printed.splitlines()[-1] == "Stopped; the site published before is unchanged."
        assert "Traceback" not in printed
    while alive(unique, str(root)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not alive(unique, str(root))


def test_many_processes_each_keep_the_limit_of_memory(root: Path) -> None:
    """What holds: no process takes more than its share, and none outlives the snippet. Their sum is not limited."""
    source = "import subprocess, sys\ncode = 'b = bytearray(5 * 1024**3)'\n"
    source += "ends = [subprocess.run([sys.executable, '-c', code], capture_output=True, text=True) for _ in 'ab']\n"
    source += "refused = [end.stderr.count('MemoryError') for end in ends]"
    result = run(root, f"{source}\nfirst, second = refused")
    assert result.problem is None and result.values["first"] == result.values["second"] == 1


def test_secrets_are_out_of_reach(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    mini.write(root, ".env", "SECRET=1")
    look = "import os\nfrom pathlib import Path\n"
    look += (
        "assert 'SECRET_TOKEN' not in os.environ\nassert Path.home() == Path.cwd() == Path(os.path.expanduser('~'))\n"
    )
    assert run(root, look).problem is None


def test_compiled_code_and_other_programs_write_below_their_folder_only(root: Path) -> None:
    target = root / "modules/out"
    source = f"""import ctypes, os, subprocess
libc, out = ctypes.CDLL(None), {str(target)!r}
by_c = libc.open(os.fsencode(out), os.O_WRONLY | os.O_CREAT, 0o644)
by_program = subprocess.run(["touch", out], capture_output=True).returncode
moved = libc.rename(os.fsencode({str(root / PAGE_PATH)!r}), b"page")
signal = libc.kill(os.getppid(), 0)
inside = libc.open(b"inside", os.O_WRONLY | os.O_CREAT, 0o644)
os.makedirs("a/b")
os.rename("inside", "a/b/c")"""
    result = run(root, source)
    assert result.problem is None, result.problem
    if confined():
        names = ("by_c", "by_program", "moved", "signal")
        assert [result.values[name] for name in names] == [-1, 1, -1, -1]
        assert not target.exists() and (root / PAGE_PATH).exists()
    assert result.values["inside"] > 0


def test_other_programs_reach_no_network(root: Path) -> None:
    code = 'import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(("192.0.2.1", 53))'
    source = f"import subprocess, sys\ncode = {code!r}\n"
    source += (
        "said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stderr[-200:].strip()"
    )
    result = run(root, source)
    assert result.problem is None
    pid = os.fork()
    if pid == 0:
        os._exit(0 if confine.leave_network() else 1)
    if os.waitpid(pid, 0)[1] == 0:
        assert str(result.values["said"]).endswith("Network is unreachable")


def confined() -> bool:
    """Whether this machine has Landlock, tried in a process of its own."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if confine.write_only_below("/dev") else 1)
    return os.waitpid(pid, 0)[1] == 0


def test_confinement_costs_next_to_nothing(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        started = time.process_time()
        confine.write_only_below(str(tmp_path), "/dev")
        os._exit(0 if time.process_time() - started < 0.005 else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_loopback_is_allowed(root: Path) -> None:
    source = "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
    source += (
        "client = socket.create_connection(('localhost', server.getsockname()[1]))\nclient.close()\nserver.close()"
    )
    assert run(root, source).problem is None


def test_what_libraries_read_is_allowed(root: Path) -> None:
    source = "import multiprocessing, shutil, sqlite3, tempfile\nfrom pathlib import Path\nimport numpy as np\n"
    source += "from sklearn.datasets import load_digits\nsize = len(load_digits().data)\n"
    source += "sqlite3.connect(':memory:').execute('select 1')\nPath('a/b').mkdir(parents=True)\n"
    source += "np.save('a/b/c', np.ones(3))\n"
    source += (
        "with tempfile.TemporaryDirectory() as folder:\n    shutil.copytree('a', f'{folder}/a')\nshutil.rmtree('a')\n"
    )
    source += "cores = multiprocessing.cpu_count()\nassert Path('/proc/cpuinfo').read_text()"
    result = run(root, source)
    assert result.problem is None and result.values["size"] == 1797 and result.files == ()


def test_two_runs_differ_in_a_value(root: Path, run_build: Build) -> None:
    mini.write(root, OTHER, '"""A."""\nimport time\n\nnow = time.time_ns()\nassert now\n')
    code, printed = run_build(root, twice=True)
    assert code == 1
    assert f"{OTHER}: two runs differ: now = " in printed and ", then " in printed


NASTY = (
    "<script>alert(1)</script> </pre></code> ``` ~~~ {{ x.y }} {% raw %} $x$ [a](javascript:b) **c** `d` | \\x1b[31m e"
)


def test_values_are_shown_literally(root: Path, run_build: Build) -> None:
    source = f'"""A."""\nnasty = """{NASTY}\n\n# h\u202e"""\nlone = "\\ud800"\nhuge = 10**5000\nassert nasty\n'
    mini.write(root, OTHER, source.replace("\u202e", "\\u202e"))
    values = "Is {{ mean_other.nasty }} here, {{ mean_other.lone }}?\n\n| a |\n|---|\n| {{ mean_other.nasty }} |\n\n"
    mini.edit(root, PAGE_PATH, "See the [home", f"{values}See the [home")
    code, printed = run_build(root)
    assert code == 0, printed
    from lxml import html

    page = html.fromstring((root / "build/site" / PAGE_PATH.replace(".md", ".html")).read_text())
    shown = page.xpath("//data[starts-with(@title, 'nasty')]")
    expected = NASTY.replace("\\x1b", "␛") + "\n\n# h\\u202e"
    assert [each.text_content() for each in shown] == [expected] * 2
    assert not [child for each in shown for child in each], "nothing in it is markup"
    assert page.xpath("//data[starts-with(@title, 'lone')]")[0].text == "?"


def test_a_value_that_is_too_large_is_none(root: Path, run_build: Build) -> None:
    mini.write(root, OTHER, '"""A."""\nhuge = 10**5000\nassert huge\n')
    mini.edit(root, PAGE_PATH, "See the [home", "Is {{ mean_other.huge }} here?\n\nSee the [home")
    code, printed = run_build(root)
    assert code == 1 and f"{PAGE_PATH}:32: {OTHER} has no value 'huge'" in printed


def test_labels_and_messages_are_shown_literally(root: Path, run_build: Build) -> None:
    draw = "import matplotlib.pyplot as plt\n\nfig, ax = plt.subplots(num='nasty')\nax.plot([1, 2])\n"
    draw += 'ax.set_title("<script>alert(1)</script> </svg> & {{ x }} ]]>")\nplt.show()\nassert ax\n'
    mini.write(root, OTHER, f'"""A."""\n{draw}')
    mini.edit(root, PAGE_PATH, "See the [home", '![Alt <b> "q" ](mean_other.py#nasty "Say {{ x }}?")\n\nSee the [home')
    assert run_build(root)[0] == 1, "{{ x }} is no value"
    mini.edit(root, PAGE_PATH, " {{ x }}?", "?")
    code, printed = run_build(root)
    assert code == 0, printed
    svg = (root / "build/site/modules/stats/mean/mean_other.nasty.svg").read_text()
    assert "<script" not in svg and svg.count("</svg>") == 1
    message = 'raise ValueError("<script>x</script> ``` \\x1b[31m {{ y }} \\udc80")'
    mini.write(root, OTHER, f'"""A."""\n{message}\nassert True\n')
    code, printed = run_build(root)
    assert code == 1
    assert f"{OTHER}:2: ValueError: <script>x</script> ``` ␛[31m {{{{ y }}}} ?" in printed
    page = (root / "build/html/modules/stats/mean/index.html").read_text()
    assert "ValueError: &lt;script&gt;x&lt;/script&gt; ``` ␛[31m {{ y }} ?" in page


def test_output_that_is_no_text(root: Path) -> None:
    result = run(root, 'import sys\nsys.stdout.buffer.write(b"\\xff a\\r\\nb\\rc\\x00\\x7f\\n")\nprint("d\\u202e")')
    assert result.problem is None
    assert result.stdout == "\ufffd a\nb␍c␀␡\nd\\u202e\n"
