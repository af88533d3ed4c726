"""Checkpoints: runs killed at any moment, damaged and foreign files, other models."""

import copy
import io
import json
import math
import os
import pickle
import random
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

import checkpoint
from checkpoint import CheckpointError, DataOrder, read, resume, save, saved, write

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NO_MPS = pytest.mark.skipif(
    not torch.backends.mps.is_available(), reason="no MPS device"
)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA]),
    pytest.param("mps", marks=[pytest.mark.gpu, NO_MPS]),
]
ON_LINUX_OR_MAC = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# A training script that draws from every generator. It runs in forks of one process,
# because importing torch takes longer than the training.
SCRIPT = r"""
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
import torch
import torch._dynamo  # the first optimizer step would import it, in each fork
from torch import nn
from torch.utils.data import DataLoader, Dataset
import checkpoint
from checkpoint import DataOrder, resume, save


class Noisy(Dataset):
    # augmented with numbers from Python and NumPy
    def __len__(self):
        return 30

    def __getitem__(self, index):
        x = torch.sin(torch.arange(5.0) * (index + 1))
        x = x + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.normal())
        return x, x.sum()


def build(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    layers = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=24)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "order": DataOrder(30, batch_size=4, seed=0),
    }


def digest(value):
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {str(key): digest(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [digest(item) for item in value]
    return repr(value)


def train(folder, attempt):
    parts = build(attempt)  # another seed in each attempt: only the file can repair it
    found = resume(folder, parts)
    if found is None:
        parts = build(0)
    losses = found["extra"] if found else []
    model, optimizer, scheduler, order = parts.values()
    generator = torch.Generator().manual_seed(attempt)
    loader = DataLoader(Noisy(), batch_sampler=order, generator=generator)
    while order.epoch < 3:
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            order.advance()
            save(folder, order.step, parts, extra=losses)
    states = {name: part.state_dict() for name, part in parts.items()}
    end = {"states": digest(states), "rng": digest(checkpoint.rng_states())}
    end["losses"] = [loss.hex() for loss in losses]
    Path(folder, "end.json").write_text(json.dumps(end))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_fork(folder, attempt, prepare=lambda: None, killer=lambda pid: None):
    # returns whether the run was killed
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            prepare()
            train(folder, attempt)
            code = 0
        finally:
            os._exit(code)
    killer(pid)
    status = os.waitpid(pid, 0)[1]
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the run failed"
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def straight(folder):
    return {"killed": at_fork(folder, 0)}


def killed_at_random(folder):
    rng, kills, torn = random.Random(1), 0, 0

    def newest():
        return max((step for step, _ in checkpoint.saved(folder)), default=0)

    def killer(pid):
        # let it get on by 0 to 3 steps, so that it comes to an end on any machine
        goal, patience = newest() + rng.randrange(3), time.monotonic() + 20
        while newest() < min(goal, 24) and time.monotonic() < patience:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)

    while newest() < 20 and at_fork(folder, kills, killer=killer):
        kills += 1
        torn += len(list(Path(folder).glob("*.tmp")))
    at_fork(folder, kills)
    return {"kills": kills, "torn": torn}


def fatal(module, name, count, before):
    # make the count-th call of module.name the last one
    true, calls = getattr(module, name), []

    def wrapped(*arguments, **keywords):
        calls.append(None)
        if len(calls) < count:
            return true(*arguments, **keywords)
        if before == "torn":  # half of the bytes
            arguments[1].write(b"PK\x03\x04 half a file")
            arguments[1].flush()
        elif not before:
            true(*arguments, **keywords)
        die()

    setattr(module, name, wrapped)


POINTS = {
    "torn": (torch, "save", "torn"),
    "written": (torch, "save", False),
    "flushed": (os, "fsync", False),
    "before rename": (os, "replace", True),
    "after rename": (os, "replace", False),
    "before folder": (checkpoint, "flush_folder", True),
    "after folder": (checkpoint, "flush_folder", False),
    "before removal": (Path, "unlink", True),
    "after removal": (Path, "unlink", False),
}


def killed_at_points(folder):
    reached = []
    for attempt, (name, (module, function, before)) in enumerate(POINTS.items()):
        for count in (1, 3):  # also in the very first save of a run
            patch = lambda: fatal(module, function, count, before)
            if at_fork(folder, attempt, patch):
                reached.append([name, count])
    at_fork(folder, 99)
    return {"reached": reached, "points": len(POINTS)}


def two_writers(folder):
    # whatever can be seen is whole at each moment; a writer may lose its own file
    def write(seed):
        rng, finished = random.Random(seed), 0
        for step in range(1, 26):
            extra = torch.zeros(rng.randrange(1, 60_000))
            try:
                save(folder, step, {"order": DataOrder(4, 2, 0)}, extra=extra)
                finished += 1
            except OSError:
                pass
        return finished

    writers = []
    for seed in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if write(seed) else 2
            finally:
                os._exit(code)
        writers.append(pid)
    statuses, reads, broken = [], 0, []
    while len(statuses) < 2:
        for _, path in checkpoint.saved(folder):
            try:
                checkpoint.read(path)
                reads += 1
            except FileNotFoundError:
                pass
            except checkpoint.CheckpointError as problem:
                broken.append(str(problem))
        for pid in writers:
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            statuses += [status] if done else []
    return {"statuses": statuses, "reads": reads, "broken": broken}


torch.set_num_threads(1)
reports = {}
for function in (straight, killed_at_random, killed_at_points, two_writers):
    folder = Path(sys.argv[1], function.__name__)
    folder.mkdir()
    reports[function.__name__] = function(folder)
print(json.dumps(reports))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Run the script without and with kills; return the folder and the reports."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "script.py").write_text(SCRIPT)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(checkpoint.__file__).parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, folder / "script.py", folder],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def new_parts(seed=0, width=8, device="cpu"):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.5), nn.Linear(width, 1))
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3),
        "order": DataOrder(10, batch_size=4, seed=0),
    }


def steps(parts, count):
    """Train on random batches; return the losses."""
    model, optimizer, scheduler, order = parts.values()
    device = next(model.parameters()).device
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4, device=device)).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        order.advance()
        losses.append(loss.item())
    return losses


def equal(first, second):
    """Whether two nested states are the same to the last bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first.cpu(), second.cpu()) and first.dtype == second.dtype
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            equal(first[key], second[key]) for key in first
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second or (first != first and second != second)


def states_of(parts):
    states = {name: part.state_dict() for name, part in parts.items()}
    return copy.deepcopy({**states, "rng": checkpoint.rng_states()})


@pytest.fixture
def folder(tmp_path):
    """A folder with checkpoints of steps 1 and 2."""
    parts = new_parts()
    for step in (1, 2):
        steps(parts, 1)
        save(tmp_path / "run", step, parts, extra={"losses": [1.0, 2.0], "note": "a"})
    return tmp_path / "run"


# ---- killed runs ----


@ON_LINUX_OR_MAC
@pytest.mark.parametrize("how", ["killed_at_random", "killed_at_points"])
def test_a_killed_run_ends_with_the_same_bits_as_one_that_was_not(killed, how):
    folder, _ = killed
    straight = json.loads((folder / "straight" / "end.json").read_text())
    resumed = json.loads((folder / how / "end.json").read_text())
    assert len(straight["losses"]) == 24
    assert resumed == straight


@ON_LINUX_OR_MAC
def test_the_runs_were_killed_indeed(killed):
    _, reports = killed
    assert not reports["straight"]["killed"]
    assert reports["killed_at_random"]["kills"] >= 5
    points = reports["killed_at_points"]
    assert len(points["reached"]) == 2 * points["points"] == 18


@ON_LINUX_OR_MAC
def test_two_processes_that_save_into_one_folder_leave_whole_files(killed):
    _, reports = killed
    report = reports["two_writers"]
    assert report["statuses"] == [0, 0] and report["reads"] > 0
    assert report["broken"] == []


@ON_LINUX_OR_MAC
def test_killed_runs_leave_no_litter(killed):
    folder, _ = killed
    for how in ("straight", "killed_at_random", "killed_at_points"):
        names = sorted(path.name for path in (folder / how).iterdir())
        assert names == ["end.json", "step-000000000023.pt", "step-000000000024.pt"]


# ---- writing ----


@pytest.mark.parametrize("failing", ["save", "fsync", "read", "replace"])
def test_a_failed_write_leaves_the_old_file_whole(folder, monkeypatch, failing):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fails(*arguments):
        if failing == "save":
            arguments[1].write(b"half")
        raise OSError(28, "No space left on device")

    where = {"save": torch, "fsync": os, "read": checkpoint, "replace": os}[failing]
    monkeypatch.setattr(where, failing, fails)
    parts = new_parts()
    for step in (2, 3):  # over an existing file, and beside it
        with pytest.raises(OSError, match="No space"):
            save(folder, step, parts, keep=1)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@ON_LINUX_OR_MAC
def test_a_full_disk_leaves_the_old_file_whole(folder):
    import resource

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 100, 5000, 10_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises((OSError, RuntimeError)):
                save(folder, 3, new_parts())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_is_flushed_before_its_rename_and_the_folder_after(
    tmp_path, monkeypatch
):
    events, written = [], []
    fsync, replace, torch_save = os.fsync, os.replace, torch.save

    def buffered_save(content, file):
        torch_save(content, memory := io.BytesIO())
        written.append(memory.getvalue())
        file.write(written[0][:-99])
        file.write(written[0][-99:])  # stays in the buffer of the file object

    def watched_fsync(descriptor):
        found = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(found.st_mode) else "file")
        assert events[-1] == "folder" or found.st_size == len(written[0])
        fsync(descriptor)

    def watched_replace(source, target):
        events.append("rename")
        assert Path(source).parent == Path(target).parent
        assert read(Path(source))["step"] == 5  # whole, under its other name
        replace(source, target)

    monkeypatch.setattr(torch, "save", buffered_save)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    save(tmp_path, 5, new_parts())
    expected = ["file", "rename"] + ["folder"] * (sys.platform != "win32")
    assert events == expected


@pytest.mark.parametrize("extra", [slice(3), np.arange(3), {1: math.sin}, object()])
def test_what_could_not_be_read_back_is_refused_when_it_is_saved(folder, extra):
    names = sorted(path.name for path in folder.iterdir())
    with pytest.raises((CheckpointError, TypeError, pickle.PicklingError)):
        save(folder, 3, new_parts(), extra=extra)
    assert sorted(path.name for path in folder.iterdir()) == names


def test_the_reason_of_a_refusal_is_named_without_unsafe_advice(folder):
    with pytest.raises(CheckpointError, match=r"slice") as caught:
        save(folder, 3, new_parts(), extra=slice(3))
    assert "weights_only" not in str(caught.value)


def test_files_without_checksums_are_refused_when_they_are_saved(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        with pytest.raises(CheckpointError, match="CRC"):
            save(tmp_path, 1, new_parts())
    finally:
        torch.serialization.set_crc32_options(True)
    assert saved(tmp_path) == []


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_files_stay(tmp_path, keep):
    for step in (2, 10, 100, 1000):  # a sort by text would put 10 before 2
        save(tmp_path, step, {"order": DataOrder(4, 2, 0)}, keep=keep)
    assert [step for step, _ in saved(tmp_path)] == [1000, 100, 10, 2][:keep]


def test_removal_counts_backwards_and_touches_nothing_else(tmp_path):
    for name in ("notes.txt", "step-12.pt", "step-000000000003.pt.bak"):
        (tmp_path / name).write_text("mine")
    litter = tmp_path / "step-000000000007.pt.123.tmp"
    litter.write_bytes(b"of a killed run")
    parts = {"order": DataOrder(4, 2, 0)}
    for step in (1, 9, 5):  # 9 may be damaged, and the run resumed before it
        save(tmp_path, step, parts, keep=1)
    assert [step for step, _ in saved(tmp_path)] == [9, 5]
    assert not litter.exists()
    assert (tmp_path / "notes.txt").exists() and (tmp_path / "step-12.pt").exists()


@pytest.mark.parametrize(("step", "keep"), [(-1, 2), (10**12, 2), (1, 0)])
def test_steps_and_counts_out_of_range_are_refused(tmp_path, step, keep):
    with pytest.raises(ValueError, match="must hold"):
        save(tmp_path / "run", step, new_parts(), keep=keep)
    assert not (tmp_path / "run").exists()


# ---- damaged and foreign files ----


def test_a_flipped_bit_is_found_or_has_no_meaning(folder):
    path = saved(folder)[0][1]
    good, whole = path.read_bytes(), read(path)
    rng, refused = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(good)
        damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert equal(read(path), whole)
        except CheckpointError:
            refused += 1
    assert refused > 300


def test_a_record_that_became_a_folder_is_refused(folder):
    """Torch would take it for empty, and Python's zipfile would not notice."""
    path = saved(folder)[0][1]
    good = path.read_bytes()
    flags = [match.start() + 38 for match in re.finditer(b"PK\1\2", good)]
    assert len(flags) > 10
    for flag in flags:
        path.write_bytes(good[:flag] + bytes([good[flag] ^ 16]) + good[flag + 1 :])
        with pytest.raises(CheckpointError, match="folder"):
            read(path)


def test_torch_itself_would_take_many_of_them(folder):
    path = saved(folder)[0][1]
    with zipfile.ZipFile(path) as archive:
        tensors = [each for each in archive.infolist() if "/data/" in each.filename]
        largest = max(tensors, key=lambda record: record.file_size)
        data = archive.read(largest)
    content = path.read_bytes()
    place = content.index(data) + len(data) // 2
    path.write_bytes(
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    )
    torch.load(path, weights_only=True)
    with pytest.raises(CheckpointError, match="CRC"):
        read(path)


def test_a_file_that_was_cut_off_is_refused(folder):
    path = saved(folder)[0][1]
    good = path.read_bytes()
    for length in (*range(0, len(good), 41), *range(len(good) - 99, len(good))):
        path.write_bytes(good[:length])
        with pytest.raises(CheckpointError):
            read(path)


def test_a_damaged_file_is_not_unpickled(folder, monkeypatch):
    path = saved(folder)[0][1]
    with zipfile.ZipFile(path) as archive:
        data = archive.read(next(n for n in archive.namelist() if "data.pkl" in n))
    path.write_bytes(path.read_bytes().replace(data, data[:-2] + b"X."))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was loaded"))
    with pytest.raises(CheckpointError, match="CRC"):
        read(path)


def test_a_lack_of_memory_is_no_damage(folder, monkeypatch):
    def load(*arguments, **keywords):
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        resume(folder, new_parts())


def pickled(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")
    return file.getvalue()


FOREIGN = {
    "text": lambda: b"not a checkpoint at all",
    "pickle": lambda: pickle.dumps({"format": checkpoint.FORMAT}),
    "zip": zipped,
    "weights": lambda: pickled(nn.Linear(2, 2).state_dict()),
    "tensor": lambda: pickled(torch.ones(2)),
    "other format": lambda: pickled({"format": "training-checkpoint-0"}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "step-000000000001.pt"
    path.write_bytes(FOREIGN[kind]())
    with pytest.raises(CheckpointError, match=r"step-000000000001\.pt"):
        read(path)
    assert path.exists()


class Trap:
    """Writes a file when it is unpickled without care."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step-000000000001.pt"
    torch.save({"format": checkpoint.FORMAT, "extra": Trap()}, path)
    with pytest.raises(CheckpointError, match="mkdir"):
        resume(tmp_path, new_parts())
    assert not (tmp_path / "trapped").exists()


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "step-000000000001.pt")


def test_the_newest_whole_file_is_taken_and_the_damaged_one_reported(folder):
    newest, older = (path for _, path in saved(folder))
    newest.write_bytes(newest.read_bytes()[:2000])
    parts = new_parts(seed=5)
    with pytest.warns(RuntimeWarning, match="skipped: .*step-000000000002"):
        found = resume(folder, parts)
    assert found["step"] == 1
    assert equal(states_of(parts)["model"], read(older)["parts"]["model"])


def test_without_a_whole_file_the_run_does_not_start_anew_in_silence(folder):
    for _, path in saved(folder):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no whole checkpoint: .*2\.pt.*1\.pt"):
        resume(folder, new_parts())


def test_an_empty_folder_begins_a_run(tmp_path):
    parts = new_parts()
    before = states_of(parts)
    assert resume(tmp_path, parts) is None
    assert resume(tmp_path / "not there", parts) is None
    assert equal(states_of(parts), before)


# ---- checkpoints of another run ----


def other_optimizer():
    parts = new_parts()
    return parts | {"optimizer": torch.optim.SGD(parts["model"].parameters(), lr=0.1)}


def other_groups():
    parts = new_parts()
    groups = [{"params": [p]} for p in parts["model"].parameters()]
    return parts | {"optimizer": torch.optim.Adam(groups, lr=0.1)}


def other_type():
    parts = new_parts()
    return parts | {"model": parts["model"].double()}


OTHERS = {
    "width": lambda: new_parts(width=9),
    "type": other_type,
    "layers": lambda: new_parts() | {"model": nn.Linear(4, 1)},
    "a part less": lambda: dict(list(new_parts().items())[:3]),
    "a part more": lambda: new_parts() | {"ema": nn.Linear(1, 1)},
    "optimizer": other_optimizer,
    "groups": other_groups,
    "seed": lambda: new_parts() | {"order": DataOrder(10, 4, seed=1)},
    "batch size": lambda: new_parts() | {"order": DataOrder(10, 5, seed=0)},
    "examples": lambda: new_parts() | {"order": DataOrder(11, 4, seed=0)},
}


def test_the_difference_is_named(folder):
    with pytest.raises(CheckpointError, match=r"model, 0\.bias: found \(8,\) .*\(9,\)"):
        resume(folder, new_parts(width=9))
    with pytest.raises(CheckpointError, match="order, seed: found 0, wanted 1"):
        resume(folder, OTHERS["seed"]())


class Counting(nn.Linear):
    """Its state is more than tensors."""

    count = 0

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]


def test_an_extra_state_of_a_module_is_kept_and_need_not_be_equal(tmp_path):
    first, second = Counting(2, 2), Counting(2, 2)
    first.count = 7
    save(tmp_path, 1, {"model": first})
    resume(tmp_path, {"model": second})
    assert second.count == 7 and torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changes(folder, kind):
    parts = OTHERS[kind]()
    before = states_of(parts)
    with pytest.raises(CheckpointError, match=r"000000000002\.pt is of another run"):
        resume(folder, parts)
    assert equal(states_of(parts), before)


# ---- resuming ----


@pytest.mark.parametrize("device", DEVICES)
def test_the_parts_and_all_generators_go_on_where_they_were(tmp_path, device):
    def draws():
        own = torch.rand(3, device=device).tolist()
        pair = random.gauss(0, 1), random.random()  # gauss keeps every second number
        return own, pair, np.random.normal(size=3).tolist(), torch.randn(3).tolist()

    parts = new_parts(device=device)
    random.seed(0)
    np.random.seed(0)
    steps(parts, 4)
    draws()
    save(tmp_path, parts["order"].step, parts, extra=[1, "a", torch.ones(2)])
    after = steps(parts, 5), draws(), states_of(parts)

    parts = new_parts(seed=9, device=device)
    random.seed(9)
    np.random.seed(9)
    steps(parts, 1)
    found = resume(tmp_path, parts)
    assert found["step"] == 4 and equal(found["extra"], [1, "a", torch.ones(2)])
    assert parts["order"].step == 4
    assert equal((steps(parts, 5), draws(), states_of(parts)), after)
    assert all(p.device.type == device for p in parts["model"].parameters())


@pytest.mark.filterwarnings("ignore:the run used random numbers:RuntimeWarning")
@pytest.mark.parametrize("source", DEVICES)
@pytest.mark.parametrize("target", DEVICES)
def test_a_checkpoint_of_one_device_resumes_on_another(tmp_path, source, target):
    parts = new_parts(device=source)
    steps(parts, 3)
    save(tmp_path, 3, parts)
    moved = new_parts(seed=1, device=target)
    assert resume(tmp_path, moved)["step"] == 3
    assert equal(moved["model"].state_dict(), parts["model"].state_dict())
    assert equal(moved["optimizer"].state_dict(), parts["optimizer"].state_dict())
    for state in moved["optimizer"].state.values():
        assert state["exp_avg"].device.type == target
    steps(moved, 1)


def test_a_file_from_a_gpu_is_read_onto_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    save(tmp_path, 1, new_parts())  # now as if its tensors had been on a GPU
    content = read(saved(tmp_path)[0][1])
    assert content["parts"]["model"]["0.weight"].device.type == "cpu"
    assert content["rng"]["cpu"].device.type == "cpu"  # torch would refuse another


def test_a_resumed_state_is_a_copy_of_the_file(folder):
    parts = new_parts()
    content = read(saved(folder)[0][1])
    resume(folder, parts)
    steps(parts, 3)
    assert equal(read(saved(folder)[0][1]), content)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_generators_that_are_not_here_are_reported(kind):
    if kind == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    states = checkpoint.rng_states()
    states[kind] = [torch.get_rng_state()] * 99
    with pytest.warns(RuntimeWarning, match=f"random numbers of .*{kind.upper()}"):
        checkpoint.set_rng_states(states)


def test_generators_of_cuda_are_saved_and_set_once_cuda_is_in_use(monkeypatch):
    state, given_back = [torch.ones(3)], []
    assert torch.cuda.is_initialized() or "cuda" not in checkpoint.rng_states()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: state)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given_back.append)
    checkpoint.set_rng_states(checkpoint.rng_states())
    assert given_back == [state]


def test_saving_disturbs_neither_the_generators_nor_the_parts(tmp_path):
    parts = new_parts()
    steps(parts, 2)
    before = states_of(parts)
    save(tmp_path, 2, parts)
    assert equal(states_of(parts), before)


def test_bfloat16_and_its_optimizer_come_back_as_they_were(tmp_path):
    parts = new_parts()
    model = nn.Linear(4, 2).bfloat16()
    adam = torch.optim.Adam(model.parameters(), foreach=False)
    for _ in range(3):
        model(torch.randn(8, 4).bfloat16()).square().mean().backward()
        adam.step()
    save(tmp_path, 1, parts | {"model": model, "optimizer": adam})
    other = nn.Linear(4, 2).bfloat16()
    other_adam = torch.optim.Adam(other.parameters())
    resume(tmp_path, parts | {"model": other, "optimizer": other_adam})
    assert equal(other.state_dict(), model.state_dict())
    assert equal(other_adam.state_dict()["state"], adam.state_dict()["state"])


def test_parts_that_share_weights_still_share_them(tmp_path):
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    save(tmp_path, 1, {"model": tied})
    other = copy.deepcopy(tied)
    nn.init.zeros_(other[0].weight)
    resume(tmp_path, {"model": other})
    assert torch.equal(other[0].weight, tied[0].weight)
    assert other[0].weight is other[1].weight


def test_a_file_can_be_inspected_without_this_module(folder):
    content = torch.load(saved(folder)[0][1], weights_only=True)
    assert content["parts"]["order"]["epoch"] == 0
    assert content["fit"]["optimizer"]["class"] == "Adam"


def test_write_takes_any_path(tmp_path):
    write(tmp_path / "best.pt", {"a": torch.ones(2)})
    assert torch.equal(read(tmp_path / "best.pt")["a"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


# ---- the order of the data ----


def epoch_of(order):
    """Train through the epoch; return its batches."""
    batches = []
    for batch in order:
        batches.append(batch)
        order.advance()
    return batches


@given(
    examples=st.integers(1, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 99)
)
def test_each_epoch_is_a_permutation_in_batches(examples, batch_size, seed):
    order = DataOrder(examples, batch_size, seed)
    for epoch in range(3):
        assert (order.epoch, order.position) == (epoch, 0)
        batches = epoch_of(order)
        assert sorted(i for batch in batches for i in batch) == list(range(examples))
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (
            len(batches) - 1
        )
        assert order.step == (epoch + 1) * order.batches == (epoch + 1) * len(batches)


def test_epochs_and_seeds_differ_and_repeat():
    first, second = DataOrder(50, 8, 0), DataOrder(50, 8, 1)
    epochs = [epoch_of(first), epoch_of(first), epoch_of(second)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = DataOrder(50, 8, 0)
    torch.manual_seed(123)
    assert [epoch_of(again), epoch_of(again)] == epochs[:2]


@pytest.mark.parametrize("workers", [0, 2])
@given(stop=st.integers(0, 14))
def test_the_position_is_what_was_trained_on_and_not_what_was_fetched(workers, stop):
    if workers and stop not in (0, 2, 6, 9):
        return  # starting workers takes long
    straight = DataOrder(19, 4, 0)
    expected = [batch for _ in range(3) for batch in epoch_of(straight)]

    def loader(order):
        own = torch.Generator().manual_seed(0)
        return DataLoader(
            range(19), batch_sampler=order, num_workers=workers, generator=own
        )

    seen, order = [], DataOrder(19, 4, 0)
    while order.step < stop:
        for batch in loader(order):
            seen.append(batch.tolist())
            order.advance()
            if order.step == stop:
                break
    resumed = DataOrder(19, 4, 0)
    resumed.load_state_dict(order.state_dict())
    while resumed.epoch < 3:
        assert len(resumed) == len(loader(resumed)) == 5 - resumed.position
        for batch in loader(resumed):
            seen.append(batch.tolist())
            resumed.advance()
    assert seen == expected


@pytest.mark.parametrize("settings", [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_an_order_of_nothing_is_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        DataOrder(*settings)


def test_an_order_refuses_the_position_of_another():
    with pytest.raises(ValueError, match="does not belong"):
        DataOrder(10, 2, 0).load_state_dict(DataOrder(10, 3, 0).state_dict())
