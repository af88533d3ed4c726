"""One call seeds Python, NumPy and PyTorch, and each DataLoader worker draws its own.

Use it in this order, before the model and the data are made:

    seed_everything(0)  # deterministic=True where runs must agree bit for bit
    loader = DataLoader(dataset, shuffle=True, num_workers=4, **loader_seeds(0))

In a dataset, draw random augmentations with `example_rng(seed, epoch, index)`. They
then depend neither on the number of workers nor on the order of the examples, and a
run that resumes in the middle of an epoch repeats them.

What a seed cannot promise:

- The same numbers with another release of PyTorch or NumPy, on another processor or
  GPU, or on a CPU and a GPU. The PyTorch documentation excludes all of these.
- The same numbers with another number of threads: sums are split differently. Compare
  `describe_environment()` of both runs.
- The same numbers on a GPU without `deterministic=True`: some kernels add with atomic
  operations in an order that differs from run to run. With it, an operation that has no
  deterministic form raises RuntimeError. It covers operations of PyTorch only.
- The same order of a set of strings: PYTHONHASHSEED must be set before Python starts.
  Setting it in the script changes nothing. Sort the set instead.
- The same augmentations with another number of workers, if they draw from the worker's
  generators: each worker has its own stream.

Sources: PyTorch documentation, "Reproducibility", "torch.use_deterministic_algorithms"
and "Randomness in multi-process data loading"; NumPy documentation, "SeedSequence".
"""

import hashlib
import os
import platform
import random
import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Subset,
    get_worker_info,
)


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed the global generators of Python, NumPy and PyTorch (CPU, CUDA, MPS).

    Generator objects that exist already, such as `np.random.default_rng()`, are not
    touched. With `deterministic`, see `use_deterministic_operations`; without it, the
    settings stay what they were. A seed outside 0 <= seed < 2**32, NumPy's range,
    raises ValueError.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed is at least 0 and below 2**32, not {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # all devices: CPU, every CUDA device, MPS
    if deterministic:
        use_deterministic_operations()


def use_deterministic_operations() -> None:
    """Let PyTorch use deterministic algorithms only; where there is none, it raises.

    Older releases also require the variable CUBLAS_WORKSPACE_CONFIG, which has to be
    set before CUDA is first used: this function warns (RuntimeWarning) if it is called
    later.
    """
    if "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        if torch.cuda.is_initialized():
            message = "CUDA runs already: set CUBLAS_WORKSPACE_CONFIG=:4096:8 earlier"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
    torch.backends.cudnn.benchmark = False  # it may pick another kernel each time
    torch.use_deterministic_algorithms(True)


def derived_seed(seed: int, *labels: str | int) -> int:
    """Return a seed below 2**63 for one purpose, such as derived_seed(0, "loader").

    Two generators with the same seed draw the same numbers. Different labels give
    seeds that are unrelated, and the same on each machine.
    """
    parts = [label if isinstance(label, str) else int(label) for label in labels]
    key = repr((int(seed), *parts)).encode()  # int: 0 and np.int64(0) are one seed
    digest = hashlib.blake2b(key, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def example_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator for the augmentation of one example in one epoch.

    All three numbers are at least 0; otherwise NumPy raises ValueError.
    """
    return np.random.default_rng([seed, epoch, index])


def seed_worker(worker_id: int) -> None:
    """Reseed the generator objects of a dataset; pass it as `worker_init_fn`.

    In each worker PyTorch seeds its own global generator, Python's and, since release
    1.9, NumPy's. It cannot know of generator objects inside the dataset: each worker
    holds the same copy, and all draw the same numbers. A dataset that holds one needs
    a method `reseed(seed: int)`. It is called here, also inside Subset and
    ConcatDataset.
    """
    worker = get_worker_info()
    pending: list[object] = [worker.dataset] if worker is not None else []
    for count, dataset in enumerate(pending):  # the list grows while it is read
        if hasattr(dataset, "reseed"):
            # initial_seed() is this worker's, and a new one in each epoch
            dataset.reseed(derived_seed(torch.initial_seed(), worker_id, count))
        if isinstance(dataset, Subset):
            pending.append(dataset.dataset)
        if isinstance(dataset, ConcatDataset):
            pending.extend(dataset.datasets)


def loader_seeds(seed: int) -> dict[str, Any]:
    """Return the keyword arguments that seed the order and the workers of a DataLoader.

    The loader gets a generator of its own. Without it, each pass over a loader draws
    from the CPU's global generator, also one without shuffling: adding a validation
    pass would change all later dropout masks on the CPU. Use one call per loader, each
    with its seed.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "loader"))
    return {"generator": generator, "worker_init_fn": seed_worker}


def describe_environment() -> dict[str, str | int | bool]:
    """Return what the numbers depend on besides the seed, to be stored with them.

    `hash_seed` is the present value of PYTHONHASHSEED: the one in force if it has not
    been changed since Python started.
    """
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "system": f"{sys.platform} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if cuda else "none",
        "cuda": torch.version.cuda or "none",
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
    }


class NoisyRows(Dataset[float]):
    """Ten examples, each augmented by a generator object inside the dataset."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> float:
        return float(self.rng.normal())

    def reseed(self, seed: int) -> None:
        """Start the generator anew; called in each worker."""
        self.rng = np.random.default_rng(seed)


def train_briefly(seed: int) -> torch.Tensor:
    """Return the weights of a small network with dropout after 20 steps."""
    seed_everything(seed)
    layers = torch.nn.Linear(8, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1)
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        model(torch.randn(32, 8)).square().mean().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


if __name__ == "__main__":
    first, again, other = train_briefly(0), train_briefly(0), train_briefly(1)
    same_seed = float((first - again).abs().max())
    other_seed = float((first - other).abs().max())
    print(f"largest difference of the weights, same seed:  {same_seed}")
    print(f"largest difference of the weights, other seed: {other_seed:.2f}")

    def repeated(**seeds: Any) -> int:
        """Return how many of ten examples repeat the number of another one."""
        rows, options = NoisyRows(0), {"num_workers": 2, "collate_fn": list, **seeds}
        loader = DataLoader(rows, batch_size=5, **options)
        return 10 - len({number for batch in loader for number in batch})

    repeated_plain, repeated_seeded = repeated(), repeated(**loader_seeds(0))
    print(f"2 workers, plain DataLoader: {repeated_plain} of 10 augmentations repeat")
    print(f"2 workers, loader_seeds:     {repeated_seeded} of 10 augmentations repeat")

    torch.manual_seed(0)
    untouched = torch.get_rng_state()
    for _ in DataLoader(NoisyRows(0), **loader_seeds(0)):
        pass
    own_generator = torch.equal(torch.get_rng_state(), untouched)
    for _ in DataLoader(NoisyRows(0)):
        pass
    global_generator = torch.equal(torch.get_rng_state(), untouched)
    print("a pass over a loader leaves the global generator alone:")
    print(f"    with loader_seeds {own_generator}, without {global_generator}")

    assert same_seed == 0.0 and other_seed > 0.01
    assert repeated_plain == 5 and repeated_seeded == 0
    assert own_generator and not global_generator
