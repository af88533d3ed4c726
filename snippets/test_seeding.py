"""Seeding: equal seeds, equal numbers; other seeds, epochs, workers: other numbers."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from seeding import example_rng, loader_generator, seed_everything, train_briefly

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NO_MPS = pytest.mark.skipif(
    not torch.backends.mps.is_available(), reason="no MPS device"
)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA]),
    pytest.param("mps", marks=[pytest.mark.gpu, NO_MPS]),
]
SOURCES = {
    "python": lambda device: [random.random() for _ in range(5)],
    "numpy": lambda device: np.random.normal(size=5).tolist(),
    "torch": lambda device: torch.rand(5, device=device).tolist(),
}


@pytest.fixture
def settings(monkeypatch):
    """Put back what deterministic operations change in the whole process."""
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.use_deterministic_algorithms(before)
    torch.backends.cudnn.benchmark = benchmark


class Draws(Dataset):
    """Each example is one draw from each generator that a dataset may use."""

    def __init__(self, length=12):
        self.length, self.epoch = length, 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        globals_ = [random.random(), np.random.random(), torch.rand(()).item()]
        own = example_rng(5, self.epoch, index).random()
        return torch.tensor([*globals_, own], dtype=torch.float64)


def two_epochs(seed, workers=2, persistent=False):
    """Return the draws of two epochs: (2, 12, 4)."""
    dataset, epochs = Draws(), []
    loader = DataLoader(
        dataset,
        batch_size=3,
        num_workers=workers,
        persistent_workers=persistent,
        generator=loader_generator(seed),
    )
    for dataset.epoch in range(2):
        epochs.append(torch.cat(list(loader)))
    return torch.stack(epochs)


# ---- the global generators ----


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("source", SOURCES)
def test_each_generator_repeats_with_its_seed_and_differs_with_another(source, device):
    draw = SOURCES[source]
    seed_everything(7)
    first = draw(device)
    more = draw(device)
    seed_everything(7)
    assert draw(device) == first != more
    seed_everything(8)
    assert not set(draw(device)) & set(first)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_seeds_in_the_range_of_numpy_are_taken(seed):
    seed_everything(seed)
    assert torch.initial_seed() == seed


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_other_seeds_are_refused_before_anything_is_seeded(seed):
    seed_everything(3)
    state = random.getstate()
    with pytest.raises(ValueError, match=r"below 2\*\*32"):
        seed_everything(seed)
    assert random.getstate() == state


def test_training_repeats_bit_for_bit():
    assert torch.equal(train_briefly(5), train_briefly(5))
    assert not torch.equal(train_briefly(5), train_briefly(6))


# ---- deterministic operations ----


def test_determinism_is_an_option_and_is_never_switched_off(settings):
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    seed_everything(0)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    seed_everything(0, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    seed_everything(0)
    assert torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_deterministic_form_raises(settings):
    seed_everything(0, deterministic=True)
    x, index = torch.zeros(3), torch.tensor([0, 0])
    with pytest.raises(RuntimeError, match="deterministic"):
        x.put_(index, torch.ones(2))


def test_cublas_is_configured_unless_the_user_has_done_so(settings, monkeypatch):
    seed_everything(0)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    seed_everything(0, deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    seed_everything(0, deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.gpu
@NO_CUDA
def test_training_on_a_gpu_repeats_with_deterministic_operations(settings):
    def train():
        seed_everything(3, deterministic=True)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.LazyLinear(1)
        ).to("cuda")
        model(torch.randn(16, 3, 12, 12, device="cuda"))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(16, 3, 12, 12, device="cuda")).square().mean().backward()
            optimizer.step()
        return torch.nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(train(), train())


# ---- augmentations ----


def test_augmentations_by_index_depend_on_all_three_numbers_only():
    triples = [(s, e, i) for s in range(4) for e in range(4) for i in range(4)]
    forward = {t: example_rng(*t).random() for t in triples}
    backward = {t: example_rng(*t).random() for t in reversed(triples)}
    assert forward == backward and len(set(forward.values())) == len(triples)
    with pytest.raises(ValueError, match="non-negative"):
        example_rng(0, -1, 0)


def test_a_large_index_is_not_cut_off():
    assert example_rng(0, 0, 2**32 - 1).random() != example_rng(0, 0, 0).random()


# ---- loaders ----


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_differ_from_one_another_and_repeat_in_a_second_run(persistent):
    first = two_epochs(seed=1, persistent=persistent)
    assert torch.equal(first, two_epochs(seed=1, persistent=persistent))
    for column in range(3):  # no draw occurs twice, in no worker and in no epoch
        assert len(set(first[:, :, column].flatten().tolist())) == 24
    other = two_epochs(seed=2, persistent=persistent)
    assert not (first == other)[:, :, :3].any()


def test_augmentations_by_index_do_not_depend_on_the_workers():
    draws = [two_epochs(seed=seed, workers=seed)[:, :, 3] for seed in range(3)]
    assert torch.equal(draws[0], draws[1]) and torch.equal(draws[0], draws[2])
    assert len(set(draws[0].flatten().tolist())) == 24


def test_workers_that_outlive_the_epoch_do_not_learn_of_the_next():
    stale = two_epochs(seed=0, persistent=True)[:, :, 3]
    assert torch.equal(stale[0], stale[1])  # as the docstring warns


class GeneratorInside(Dataset):
    """The mistake: each worker gets a copy of the generator."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return self.rng.random()


def test_workers_repeat_the_numbers_of_a_generator_inside_the_dataset():
    loader = DataLoader(
        GeneratorInside(), 3, num_workers=2, generator=loader_generator(0)
    )
    draws = torch.cat(list(loader))
    assert torch.equal(draws[:3], draws[3:6])


def test_the_order_depends_on_the_seed_and_not_on_the_global_generator():
    def orders(seed, stream=0, disturbance=1):
        torch.manual_seed(disturbance)
        own = loader_generator(seed, stream)
        loader = DataLoader(range(50), shuffle=True, generator=own)
        return [[int(x) for x in loader] for _ in range(2)]

    first, second = orders(0)
    assert [first, second] == orders(0, disturbance=2)
    assert first != second and sorted(first) == sorted(second) == list(range(50))
    assert first not in orders(1) + orders(0, stream=1) + orders(1, stream=1)


def test_a_pass_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(DataLoader(range(5), shuffle=True, generator=loader_generator(0)))
    assert torch.equal(before, torch.get_rng_state())
    list(DataLoader(range(5)))  # even without shuffling
    assert not torch.equal(before, torch.get_rng_state())


def test_seeds_and_streams_give_unrelated_generators():
    pairs = [(seed, stream) for seed in range(30) for stream in range(30)]
    draws = {torch.rand(2, generator=loader_generator(*p)).sum().item() for p in pairs}
    assert len(draws) == len(pairs)
    for negative in [(-1, 0), (0, -1)]:
        with pytest.raises(ValueError, match="non-negative"):
            loader_generator(*negative)


@pytest.mark.parametrize("seed", range(5))
def test_the_loader_does_not_draw_what_the_model_draws(seed):
    seed_everything(seed)
    drawn = torch.rand(5)
    assert not torch.equal(torch.rand(5, generator=loader_generator(seed)), drawn)


# ---- what a seed cannot promise ----


def test_the_hash_seed_must_be_set_before_python_starts():
    code = "import os; os.environ['PYTHONHASHSEED'] = '0'; print(hash('a'))"

    def printed(**variables):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
        command = [sys.executable, "-S", "-c", code]
        environment |= variables
        return subprocess.run(command, env=environment, capture_output=True).stdout

    assert len({printed() for _ in range(3)}) > 1
    assert len({printed(PYTHONHASHSEED="0") for _ in range(3)}) == 1
