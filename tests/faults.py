"""Faults at random moments and at every moment: kill, Ctrl-C, a full disk, a disk with errors.

    python -m tests.faults --rounds 50

After each: the published site is the old one or the new one, nothing in the repository has changed, no process is
left, and the next build gives the same bytes as one that nobody disturbed. Exit code 0 only if all of that held.
"""

import argparse
import ctypes
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import build
from scripts.__main__ import guarded
from scripts.problems import ROOT
from scripts.publish import is_whole
from tests import mini
from tests.mini import Contents, contents, sources

BUILD = "import sys; from pathlib import Path; from scripts import build; from scripts.__main__ import guarded;"
BUILD += "sys.exit(guarded(lambda: build.build(build.Options(root=Path(sys.argv[1])))))"
SHIM = Path(__file__).with_name("shim.c")


def processes(root: Path) -> list[str]:
    """Processes that have to do with this site: by their arguments, their environment or their folder."""
    found, name = [], str(root).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            text = (folder / "cmdline").read_bytes()
            if name in text or name in (folder / "environ").read_bytes():
                found.append(f"{folder.name} {text.decode('utf-8', 'replace')}")
        except OSError:
            continue
    return found


class Site:
    """A miniature site that is published in one of two forms; a build under fault goes from one to the other."""

    def __init__(self, root: Path, snippet: bool = True) -> None:
        self.root, self.snippet, self.form = mini.make(root), snippet, 0
        self.forms: list[Contents] = []
        for form in (1, 0):
            self.edit(form)
            assert self.build()[0] == 0
            self.forms.insert(0, contents(root / "build/site"))
        assert self.forms[0] != self.forms[1]

    def edit(self, form: int) -> None:
        """Give the sources this form: another page, and another output of a snippet (which has to run for it)."""
        self.form = form
        page = mini.PAGE.replace("(mean_torch.py)", "(mean_other.py)")
        mini.write(self.root, mini.PAGE_PATH, page.replace("The **mean**", f"The **mean** in form {form}"))
        source = mini.SNIPPET.replace("mean: ", f"mean in form {form}: ") if self.snippet else mini.SNIPPET
        mini.write(self.root, mini.NUMPY_PATH, source)

    def turn(self) -> None:
        """Edit to the other form; its results are not kept, so that the snippet runs."""
        self.edit(1 - self.form)
        if self.snippet:
            shutil.rmtree(self.root / ".cache/results", ignore_errors=True)

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", BUILD, str(self.root)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def build(self, arm: Callable[[], object] = lambda: None) -> tuple[int, str]:
        """Build in a fork of this process, which has imported everything already."""
        with tempfile.TemporaryFile("w+") as log:
            pid = os.fork()
            if pid == 0:
                code = 70
                try:
                    os.dup2(log.fileno(), 1)
                    os.dup2(log.fileno(), 2)
                    arm()
                    code = guarded(lambda: build.build(build.Options(root=self.root)))
                    sys.stdout.flush()
                except BaseException:
                    import traceback

                    traceback.print_exc()
                    sys.stderr.flush()
                finally:
                    os._exit(code)
            status = os.waitpid(pid, 0)[1]
            log.seek(0)
            return os.waitstatus_to_exitcode(status), log.read()

    def faults(self, code: int | None, printed: str, before: Contents) -> list[str]:
        """What does not hold after a build that was disturbed; then mend it by an undisturbed one."""
        found, site = [], contents(self.root / "build/site")
        old, new = self.forms[1 - self.form], self.forms[self.form]
        if site not in (old, new):
            found.append("the published site is neither the old one nor the new one")
        if not is_whole(self.root / "build/site"):
            found.append("the published site is not whole")
        if code == 0 and site != new:
            found.append("exit code 0, and the new site is not published")
        if sources(self.root) != before:
            found.append("the repository has changed")
        if "Traceback" in printed:
            found.append(f"a traceback: {printed[printed.index('Traceback') :]}")
        limit = time.monotonic() + 20
        while (left := processes(self.root)) and time.monotonic() < limit:
            time.sleep(0.02)
        found += [f"a process survives: {each}" for each in left]
        started = time.monotonic()
        code, printed = self.build()
        if code or "Another build" in printed or time.monotonic() - started > 60:
            found.append(f"the next build: exit code {code}: {printed}")
        elif contents(self.root / "build/site") != new:
            found.append("the next build differs from an undisturbed one")
        left_over = [*(self.root / "build").glob(".new-*"), *(self.root / ".cache/scratch").glob("*")]
        found += [f"left over: {each}" for each in left_over if self.snippet]
        return found


def duration(site: Site) -> float:
    """Seconds of an undisturbed build in a process of its own."""
    site.turn()
    started = time.monotonic()
    assert site.start().wait() == 0
    return time.monotonic() - started


def struck(site: Site, moment: float, how: str) -> tuple[bool, list[str]]:
    """Disturb a build after this many seconds: whether it was still running, and what does not hold."""
    site.turn()
    before, process = sources(site.root), site.start()
    try:
        printed = process.communicate(timeout=moment)[0]
    except subprocess.TimeoutExpired:
        if how == "builder":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGINT if how == "Ctrl-C" else signal.SIGKILL)
        printed = process.communicate(timeout=60)[0]
        found = site.faults(process.returncode, printed, before)
        if how == "Ctrl-C" and process.returncode != 0 and " in build/site after " not in printed:
            # before the command line is read, the interpreter itself answers
            early = (
                "in <module>" in printed and "scripts/build.py" not in printed and process.returncode == -signal.SIGINT
            )
            if early:
                found = [each for each in found if not each.startswith("a traceback")]
            elif process.returncode != 130 or not printed.endswith(
                "Stopped; the site published before is unchanged.\n"
            ):
                found.append(f"exit code {process.returncode}: {printed}")
        return True, found
    return False, site.faults(process.returncode, printed, before)


class Shim:
    """Makes the operating system's n-th change below a folder fail (tests/shim.c); needs a C compiler."""

    def __init__(self) -> None:
        library = ctypes.CDLL(os.environ["FAULT_SHIM"])
        self.arm, self.count, self.last = library.fault_arm, library.fault_count, library.fault_last
        self.last.restype = ctypes.c_char_p

    def changes(self, site: Site) -> int:
        """How many changes an undisturbed build makes."""
        with tempfile.TemporaryFile("w+") as log:
            site.turn()
            pid = os.fork()
            if pid == 0:
                os.dup2(log.fileno(), 1)
                self.arm(str(site.root).encode(), 0, 0, 0)
                guarded(lambda: build.build(build.Options(root=site.root)))
                count = self.count()
                self.arm(b"", 0, 0, 0)
                Path(site.root.parent / "count").write_text(str(count))
                os._exit(0)
            os.waitpid(pid, 0)
        return int((site.root.parent / "count").read_text())


def injected(site: Site, shim: Shim, at: int, number: int, lasting: bool) -> tuple[int, list[str]]:
    """Fail the change with this number; the exit code, and what does not hold."""
    site.turn()
    before = sources(site.root)
    code, printed = site.build(lambda: shim.arm(str(site.root).encode(), at, number, lasting))
    found = site.faults(code, printed, before)
    lines = [line for line in printed.splitlines() if not line.startswith("[")]
    if code not in (0, 1):
        found.append(f"exit code {code}: {printed}")
    if code == 1 and (len(lines) != 1 or os.strerror(number) not in lines[0]):
        found.append(f"not one line that names the error: {printed}")
    return code, found


@contextmanager
def workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        yield Path(name)


def with_shim() -> None:
    """Start this program again with the shim loaded, where there is a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler and sys.platform == "linux" and "FAULT_SHIM" not in os.environ:
        file = Path(tempfile.mkdtemp(prefix="shim-")) / "shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", "-o", file, SHIM, "-ldl"], check=True)
        environment = {**os.environ, "FAULT_SHIM": str(file), "LD_PRELOAD": str(file)}
        os.execve(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]], environment)


def full_disk(room: int) -> list[str]:
    """Inside a namespace of mounts: build where `build/` has this much room, then again with enough."""
    with workplace() as folder:
        site = Site(folder / "site", snippet=False)
        saved = folder / "saved"
        shutil.copytree(site.root / "build", saved, symlinks=True)
        used = sum(-(-f.stat().st_size // 4096) * 4096 for f in saved.rglob("*") if f.is_file() and not f.is_symlink())
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + room}", "x", site.root / "build"], check=True)
        shutil.copytree(saved, site.root / "build", symlinks=True, dirs_exist_ok=True)
        site.turn()
        before = sources(site.root)
        code, printed = site.build()
        stopped = [] if code == 0 else [f"unclear: {printed}"]
        if code == 1 and "No space left on device (make room" in printed and len(printed.splitlines()) == 1:
            stopped = []
        subprocess.run(["mount", "-o", "remount,size=1G", site.root / "build"], check=True)
        found = stopped + site.faults(code, printed, before)
        subprocess.run(["umount", site.root / "build"], check=True)
        print(f"room for {room:,} bytes: exit code {code}", flush=True)
        return found


def full_scratch(room: int) -> list[str]:
    """Inside a namespace of mounts: the folder in which a snippet runs has this much room."""
    with workplace() as folder:
        site = Site(folder / "site")
        scratch = site.root / ".cache/scratch"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "x", scratch], check=True)
        site.turn()
        before = sources(site.root)
        code, printed = site.build()
        clear = code == 1 and f"{mini.NUMPY_PATH}" in printed and "No space left on device" in printed
        clear = clear or (code == 1 and ".cache/scratch" in printed and "No space left on device" in printed)
        stopped = [] if clear or code == 0 else [f"unclear: {printed}"]
        subprocess.run(["umount", scratch], check=True)
        print(f"room for {room:,} bytes beside a snippet: exit code {code}", flush=True)
        return stopped + site.faults(code, printed, before)


def told(name: str, found: list[str]) -> int:
    print(f"{name}: {'; '.join(found) if found else 'held'}", flush=True)
    return bool(found)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=50, help="kills and interruptions at random moments")
    options.add_argument("--step", type=int, default=1, help="of the changes of the disk, let every STEP-th fail")
    options.add_argument("--start", type=int, default=1, help="the first change of the disk that fails")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--quick", action="store_true", help="few sizes of disk")
    options.add_argument("--room", type=int, default=-1, help=argparse.SUPPRESS)  # in a namespace of mounts
    options.add_argument("--scratch", type=int, default=-1, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.room >= 0 or chosen.scratch >= 0:
        return told("full disk", full_disk(chosen.room) if chosen.room >= 0 else full_scratch(chosen.scratch))
    with_shim()
    bad, counts = 0, dict.fromkeys(("struck", "too late", "stopped", "went through"), 0)
    with workplace() as folder:
        site, chance = Site(folder / "site"), random.Random(chosen.seed)
        seconds = duration(site)
        for number in range(chosen.rounds):
            how = ("group", "builder", "Ctrl-C")[number % 3]
            moment = seconds * (number + chance.random()) / max(chosen.rounds, 1)
            running, found = struck(site, moment, how)
            counts["struck" if running else "too late"] += 1
            bad += told(f"{number + 1}/{chosen.rounds} {how} after {moment:.2f} of {seconds:.2f} s", found)
    if "FAULT_SHIM" in os.environ:
        with workplace() as folder:
            site, shim = Site(folder / "site", snippet=False), Shim()
            changes = shim.changes(site)
            at = chosen.start + chosen.seed % chosen.step
            while at <= changes + 20:
                for number, lasting in ((errno.EIO, False), (errno.ENOSPC, False), (errno.ENOSPC, True)):
                    code, found = injected(site, shim, at, number, lasting)
                    counts["stopped" if code else "went through"] += 1
                    kind = f"{errno.errorcode[number]}{' from here on' if lasting else ''}"
                    if found or at % 50 < chosen.step:
                        told(f"change {at}/{changes}, {kind}, exit code {code}", found)
                    bad += bool(found)
                at += chosen.step
    else:
        print("NOT TESTED: no C compiler, so no single change of the disk was made to fail")
    if shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        clean = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "FAULT_SHIM")}
        rooms = [
            *(("--room", 2**n) for n in range(12, 25)),
            *(("--scratch", 4096 * n) for n in (1, 4, 8, 64)),
        ]
        for option, room in rooms[5::4] if chosen.quick else rooms:
            command = ["unshare", "-rm", sys.executable, "-m", "tests.faults", option, str(room)]
            bad += subprocess.run(command, cwd=ROOT, env=clean).returncode != 0
    else:
        print("NOT TESTED: no namespace of mounts here, so no disk was really full")
    print(f"{counts}; {bad} did not hold")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
