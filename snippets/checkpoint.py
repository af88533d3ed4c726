"""A killed run resumes, and ends with the same bits as one that was never killed.

Everything that has a state goes into one mapping, under names of your choice:

    order = DataOrder(len(dataset), batch_size=32, seed=0)
    own = torch.Generator()  # else each pass draws from the global generator
    loader = DataLoader(dataset, batch_sampler=order, generator=own)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler,
             "order": order}
    resume(folder, parts)  # last of all, after everything else that draws numbers
    while order.epoch < epochs:
        for batch in loader:
            ...  # forward, backward, optimizer.step(), scheduler.step()
            order.advance()
            if order.step % 1000 == 0 or order.position == 0:
                save(folder, order.step, parts)

Where part of the script's state is in no object, such as a list of losses, pass it as
`extra`: numbers, strings, tensors, and containers of these.

What it promises:

- A file is either whole or absent. It is written under another name, flushed to the
  device, read back, and only then renamed (`os.replace` is atomic within a folder).
- The last `keep` files stay. `resume` takes the newest whole one, and says so with a
  RuntimeWarning if a newer one is damaged. Each record of a file carries a CRC-32.
- Files are read with `weights_only=True`, which refuses code in a file, and onto the
  CPU; the parts copy the values to where they live. A file can be inspected with
  `torch.load(path, weights_only=True)`.
- A checkpoint of another model, optimizer or data order raises CheckpointError before
  anything has changed.
- The states of Python's, NumPy's, the CPU's, CUDA's and MPS's global generators, and
  the position in the data order, are part of the file.

What it does not promise:

- The same bits on another machine, another release, or with nondeterministic kernels.
- The same random augmentations, if they are drawn in worker processes: a resumed epoch
  starts new workers. Draw them from a generator seeded by epoch and index.
- Speed and memory: `save` reads the file back, and `resume` holds a second copy.
- Gradients: save between steps, not between two backward passes.
- Runs of several processes: the generators saved are those of one, and only one should
  write into a folder. Two leave whole files; but each may remove the other's.
- A whole file after a loss of power, where fsync does not reach the disk: on some
  network file systems, and on macOS, whose fsync may leave data in the cache of the
  drive. Windows cannot flush a folder.
- Security: PyTorch advises against files of unknown origin even so, and a CRC-32
  finds accidents, not intent.

Sources: PyTorch documentation, "torch.load" and "Serialization semantics"; the manual
pages fsync(2) and rename(2), which say why the folder is flushed too.
"""

import os
import random
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Sampler, TensorDataset

FORMAT = "training-checkpoint-1"
NAME = re.compile(r"step-(\d{12})\.pt")


class CheckpointError(Exception):
    """A file that is damaged, or is no checkpoint, or belongs to another model."""


class Stateful(Protocol):
    """What modules, optimizers, schedulers, gradient scalers and DataOrder have."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: numbers, strings, tensors, and containers of these."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take the state over."""


class DataOrder(Sampler[list[int]]):
    """Shuffled batches of indices that go on in the middle of an epoch.

    The order of an epoch depends on the seed and the epoch only. `position` counts the
    batches that were trained on, so call `advance()` after each step; counting in the
    sampler would also count those that the workers have fetched in advance.
    """

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        """Raise ValueError unless there are examples, a batch size and a seed >= 0."""
        if examples < 1 or batch_size < 1 or seed < 0:
            raise ValueError("examples and batch_size must be >= 1, seed >= 0")
        self.settings = {"examples": examples, "batch_size": batch_size, "seed": seed}
        self.batches = -(-examples // batch_size)  # the last one may be smaller
        self.epoch, self.position = 0, 0

    @property
    def step(self) -> int:
        """The number of batches trained on since the beginning."""
        return self.epoch * self.batches + self.position

    def advance(self) -> None:
        """Count one more batch as trained on."""
        self.epoch, self.position = divmod(self.step + 1, self.batches)

    def __len__(self) -> int:
        """Return how many batches are left of this epoch."""
        return self.batches - self.position

    def __iter__(self) -> Iterator[list[int]]:
        """Return the batches that are left of this epoch."""
        rng = np.random.default_rng([self.settings["seed"], self.epoch])
        indices: list[int] = rng.permutation(self.settings["examples"]).tolist()
        size = self.settings["batch_size"]
        starts = range(self.position * size, len(indices), size)
        return iter([indices[start : start + size] for start in starts])

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and the settings that give it a meaning."""
        return {**self.settings, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Go to a position; raise ValueError if it belongs to another order."""
        if any(state_dict[name] != value for name, value in self.settings.items()):
            raise ValueError(f"{state_dict} does not belong to {self.settings}")
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]


def rng_states() -> dict[str, Any]:
    """Return the states of the global generators.

    Those of CUDA are left out until CUDA is first used: asking would start it.
    """
    numpy_state: Any = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    states = {"python": random.getstate(), "numpy": numpy_state}
    states["cpu"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_rng_states(states: Mapping[str, Any]) -> None:
    """Set the global generators to states from `rng_states`.

    Warns (RuntimeWarning) if the states of GPU generators cannot be used here, because
    there is no such device or another number of them. Then the numbers will differ.
    """
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["cpu"])
    unused = []
    if "cuda" in states:
        if torch.cuda.device_count() == len(states["cuda"]):
            torch.cuda.set_rng_state_all(states["cuda"])
        else:
            unused.append(f"{len(states['cuda'])} CUDA device(s)")
    if "mps" in states:
        if torch.backends.mps.is_available():
            torch.mps.set_rng_state(states["mps"])
        else:
            unused.append("MPS")
    if unused:
        message = f"the run used random numbers of {' and '.join(unused)}: they change"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint file, its tensors on the CPU.

    Raises CheckpointError if the file is damaged, cut off, or no checkpoint, and
    OSError if it cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:  # torch.load compares no CRC-32
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"{damaged} has another CRC-32")
                if any(record.external_attr for record in archive.infolist()):
                    raise zipfile.BadZipFile("a record is marked as a folder")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:  # says nothing about the file
            raise
        except Exception as error:  # a damaged archive fails in many ways
            reason = error.__context__ or error  # without torch's unsafe advice
            message = f"{path} cannot be read: {str(reason).partition(chr(10))[0]}"
            raise CheckpointError(message) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a PyTorch file, but not a {FORMAT}")
    return content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Put a file there that is whole, or leave what is there as it is.

    Raises CheckpointError if the content could not be read back, for example because
    it holds an object that `weights_only=True` refuses.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save({**content, "format": FORMAT}, file)
            file.flush()
            os.fsync(file.fileno())  # else the rename may reach the disk first
        read(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make renamed files in the folder survive a loss of power."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def saved(folder: str | Path) -> list[tuple[int, Path]]:
    """Return step and path of each checkpoint in the folder, the newest first."""
    files = Path(folder).glob("step-*.pt")
    found = [(int(match[1]), f) for f in files if (match := NAME.fullmatch(f.name))]
    return sorted(found, reverse=True)


def save(
    folder: str | Path,
    step: int,
    parts: Mapping[str, Stateful],
    extra: Any = None,
    keep: int = 2,
) -> Path:
    """Write a checkpoint; then remove all but `keep`, counted from this one backwards.

    `step` numbers the file, 0 <= step < 10**12. Use a new folder for each run. Returns
    the file's path. Raises ValueError for a `step` or `keep` out of range, and what
    `write` raises; the older files then stay.
    """
    if not 0 <= step < 10**12 or keep < 1:
        raise ValueError("0 <= step < 10**12 and keep >= 1 must hold")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "fit": {name: what_must_fit(part) for name, part in parts.items()},
        "rng": rng_states(),
        "step": step,
        "extra": extra,
    }
    path = folder / f"step-{step:012}.pt"
    write(path, content)
    older = [file for number, file in saved(folder) if number < step]
    for file in [*older[keep - 1 :], *folder.glob("step-*.pt.*.tmp")]:
        file.unlink(missing_ok=True)
    return path


def what_must_fit(part: Stateful) -> Any:
    """Return what is the same for a part and for one that can take its state."""
    if isinstance(part, nn.Module):  # its class may have moved or been wrapped
        state = part.state_dict().items()
        tensors = {name: t for name, t in state if isinstance(t, torch.Tensor)}
        return {name: f"{tuple(t.shape)} {t.dtype}" for name, t in tensors.items()}
    if isinstance(part, DataOrder):
        return part.settings
    if isinstance(part, Optimizer):
        sizes = [len(group["params"]) for group in part.param_groups]
        return {"class": type(part).__name__, "parameters in groups": sizes}
    return {"class": type(part).__name__}


def check_fit(content: Mapping[str, Any], parts: Mapping[str, Stateful]) -> None:
    """Raise CheckpointError if the checkpoint is not one of such parts."""
    if set(content["fit"]) != set(parts):
        message = f"it holds {sorted(content['fit'])}, wanted: {sorted(parts)}"
        raise CheckpointError(message)
    for name, part in parts.items():
        found, wanted = content["fit"][name], what_must_fit(part)
        for key in sorted(found.keys() | wanted.keys()):
            ours, theirs = wanted.get(key, "nothing"), found.get(key, "nothing")
            if ours != theirs:
                raise CheckpointError(f"{name}, {key}: found {theirs}, wanted {ours}")


def resume(folder: str | Path, parts: Mapping[str, Stateful]) -> dict[str, Any] | None:
    """Load the newest whole checkpoint; return None if the folder has no file.

    Otherwise return "step" and "extra" as they were passed to `save`. Call it after
    all parts are made and placed on their devices: the generators are set last. Raises
    CheckpointError if all files are damaged, or the newest whole one does not fit.
    """
    problems: list[str] = []
    for _, path in saved(folder):
        try:
            content = read(path)
        except CheckpointError as problem:
            problems.append(str(problem))
            continue
        for text in problems:
            warnings.warn(f"skipped: {text}", RuntimeWarning, stacklevel=2)
        try:
            check_fit(content, parts)
        except CheckpointError as problem:
            raise CheckpointError(f"{path} is of another run: {problem}") from problem
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])
        set_rng_states(content["rng"])
        return {"step": content["step"], "extra": content["extra"]}
    if problems:
        raise CheckpointError("no whole checkpoint: " + "; ".join(problems))
    return None


def weights_of(model: nn.Module) -> torch.Tensor:
    """Return all parameters as one vector."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def run(folder: Path, steps: int, epochs: int = 3) -> tuple[torch.Tensor, list[float]]:
    """Train from the newest checkpoint on; stop after this many steps, as if killed."""
    torch.manual_seed(0)
    x = torch.randn(50, 8)
    layers = nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.9)
    order = DataOrder(50, batch_size=8, seed=0)
    dataset = TensorDataset(x, x.sum(1, keepdim=True))
    loader = DataLoader(dataset, batch_sampler=order, generator=torch.Generator())
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
    parts |= {"scheduler": scheduler, "order": order}
    found = resume(folder, parts)
    losses: list[float] = found["extra"] if found else []
    while order.epoch < epochs:
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            order.advance()
            if order.step in (5, 10, 15, 20, 21):
                save(folder, order.step, parts, extra=losses)
            if order.step == steps:
                return weights_of(model), losses
    return weights_of(model), losses


if __name__ == "__main__":
    scratch = tempfile.TemporaryDirectory(dir=".")
    with scratch:
        straight, losses = run(Path(scratch.name, "straight"), steps=1000)
        folder = Path(scratch.name, "resumed")
        run(folder, steps=10)  # in the middle of the second epoch
        resumed, resumed_losses = run(folder, steps=1000)
        kept = [path.name for _, path in saved(folder)]

        newest = folder / kept[0]
        newest.write_bytes(newest.read_bytes()[:5000])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again, _ = run(folder, steps=1000)

    total_steps, stopped_at = len(losses), 10
    difference = float((straight - resumed).abs().max())
    difference_again = float((straight - again).abs().max())
    print(f"{total_steps} steps, stopped after {stopped_at} and resumed")
    print(f"largest difference of the weights: {difference}")
    print(f"losses equal: {losses == resumed_losses}")
    print("files kept:", ", ".join(kept))
    print("newest file cut off:", str(caught[0].message).partition(".pt ")[2])
    print(f"resumed from the one before, difference: {difference_again}")

    assert difference == difference_again == 0.0 and losses == resumed_losses
    assert len(losses) == 21 and len(kept) == 2 and len(caught) == 1
