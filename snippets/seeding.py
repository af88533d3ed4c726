"""One seed makes a run repeat: Python, NumPy, PyTorch, loaders and their workers.

    seed_everything(0)  # before the model is made
    loader = DataLoader(
        dataset, shuffle=True, num_workers=4, generator=loader_generator(0)
    )
    for epoch in range(epochs):
        dataset.epoch = epoch  # for its example_rng(seed, self.epoch, index)
        for batch in loader:
            ...

Draw the random augmentations of a dataset from `example_rng(seed, epoch, index)`. They
then depend neither on the number of workers nor on the order of the examples, and a
run that resumes in the middle of an epoch repeats them.

What a seed cannot promise:

- The same numbers with another release of PyTorch or NumPy, on another processor or
  GPU, or on a CPU and a GPU. The PyTorch documentation excludes all of these. Store
  the output of `python -m torch.utils.collect_env` with your results.
- The same numbers with another number of threads: sums are split differently.
- The same numbers on a GPU without `deterministic=True`: some kernels add with atomic
  operations in an order that differs from run to run.
- The same order of a set of strings: PYTHONHASHSEED must be set before Python starts.
  Setting it in the script changes nothing. Sort the set instead.
- The same augmentations with another number of workers, if they are drawn from global
  generators: PyTorch seeds those in each worker, in each its own way. A generator
  object inside the dataset is worse: each worker gets the same copy of it.
- A new `dataset.epoch` in workers that outlive the epoch (`persistent_workers=True`):
  they keep their first copy of the dataset.

Sources: PyTorch documentation, "Reproducibility", "torch.use_deterministic_algorithms"
and "Randomness in multi-process data loading"; NumPy documentation, "Parallel random
number generation".
"""

import os
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed the global generators of Python, NumPy and PyTorch (CPU, CUDA, MPS).

    Generator objects that exist already, such as `np.random.default_rng()`, are not
    touched. With `deterministic`, PyTorch uses deterministic algorithms only, and
    raises RuntimeError in an operation that has none; call it before CUDA is first
    used. Raises ValueError for a seed outside 0 <= seed < 2**32, NumPy's range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed is at least 0 and below 2**32, not {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # all devices: CPU, every CUDA device, MPS
    if deterministic:
        # cuBLAS of older releases needs it, and reads it when CUDA starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False  # it may pick another kernel each time
        torch.use_deterministic_algorithms(True)


def loader_generator(seed: int, stream: int = 0) -> torch.Generator:
    """Return the generator for the order and the worker seeds of one DataLoader.

    Without one, each pass over a loader draws from the CPU's global generator, also a
    pass without shuffling: adding a validation pass would change all later dropout
    masks on the CPU. Use another `stream` for each loader. NumPy raises ValueError for
    a number below 0.
    """
    # not the seed itself: the order would come from the numbers of the first weights
    mixed = np.random.SeedSequence([seed, stream]).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))


def example_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator for the augmentation of one example in one epoch.

    All three numbers lie in 0 <= n < 2**32. NumPy raises ValueError for one below 0;
    a larger one counts as two numbers, and may meet the generator of another example.
    """
    return np.random.default_rng([seed, epoch, index])


class NoisyRows(Dataset[float]):
    """Ten examples, augmented in the recommended way or with a generator object."""

    def __init__(self, own_generator: bool) -> None:
        self.epoch = 0
        self.rng = np.random.default_rng(0) if own_generator else None

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> float:
        rng = example_rng(0, self.epoch, index) if self.rng is None else self.rng
        return float(rng.normal())


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

    def drawn(rows: NoisyRows, workers: int) -> list[float]:
        """Return the numbers of one pass, in the order of the examples."""
        loader = DataLoader(
            rows,
            batch_size=5,
            num_workers=workers,
            collate_fn=list,
            generator=loader_generator(0),
        )
        return [number for batch in loader for number in batch]

    object_inside = drawn(NoisyRows(own_generator=True), workers=2)
    by_example = drawn(NoisyRows(own_generator=False), workers=2)
    examples = len(by_example)
    repeated_plain = examples - len(set(object_inside))
    repeated_seeded = examples - len(set(by_example))
    alike = by_example == drawn(NoisyRows(own_generator=False), workers=0)
    print(f"2 workers, generator object: {repeated_plain} of {examples} numbers repeat")
    print(f"2 workers, example_rng: {repeated_seeded} of {examples} numbers repeat")
    print(f"example_rng gives the same numbers without workers: {alike}")

    untouched = torch.get_rng_state()
    drawn(NoisyRows(own_generator=False), workers=0)
    own_generator = torch.equal(torch.get_rng_state(), untouched)
    list(DataLoader(NoisyRows(own_generator=False)))
    global_generator = torch.equal(torch.get_rng_state(), untouched)
    print("a pass over a loader leaves the global generator alone:")
    print(f"    with loader_generator {own_generator}, without {global_generator}")

    assert same_seed == 0.0 and other_seed > 0.01
    assert repeated_plain == 5 and repeated_seeded == 0 and alike
    assert own_generator and not global_generator
