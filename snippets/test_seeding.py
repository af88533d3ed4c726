"""Seeding: equal seeds, equal numbers; other seeds, epochs, workers: other numbers."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from seeding import (
    derived_seed,
    describe_environment,
    example_rng,
    loader_seeds,
    seed_everything,
    train_briefly,
    use_deterministic_operations,
)

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
        self.length, self.rng = length, np.random.default_rng(0)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        globals_ = [random.random(), np.random.random(), torch.rand(()).item()]
        return torch.tensor([*globals_, self.rng.random()], dtype=torch.float64)

    def reseed(self, seed):
        self.rng = np.random.default_rng(seed)


def two_epochs(dataset, seed, workers=2):
    """Return the draws of two epochs: (2, 12, 4)."""
    loader = DataLoader(
        dataset, batch_size=3, num_workers=workers, **loader_seeds(seed)
    )
    return torch.stack([torch.cat(list(loader)) for _ in range(2)])


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
    use_deterministic_operations()
    x, index = torch.zeros(3), torch.tensor([0, 0])
    with pytest.raises(RuntimeError, match="deterministic"):
        x.put_(index, torch.ones(2))


def test_cublas_is_configured_once_and_lateness_is_reported(settings, monkeypatch):
    import os

    use_deterministic_operations()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    use_deterministic_operations()  # set by the user: neither changed nor reported
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with pytest.warns(RuntimeWarning, match="CUDA runs already"):
        use_deterministic_operations()


# ---- derived seeds ----


def test_derived_seeds_are_the_same_on_each_machine():
    assert derived_seed(0, "loader") == 2124508976447151455  # with any PYTHONHASHSEED
    assert derived_seed(np.int64(0), "loader") == derived_seed(0, "loader")
    assert derived_seed(0, np.int32(4)) == derived_seed(0, 4)


def test_derived_seeds_differ_and_fit_into_63_bits():
    labels = [(), ("a",), ("b",), ("a", "b"), ("ab",), (1,), ("1",), (1, 2), (2, 1)]
    seeds = [derived_seed(s, *each) for s in range(200) for each in labels]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # all bits are used
    torch.Generator().manual_seed(max(seeds))


def test_augmentations_by_index_depend_on_all_three_numbers_only():
    triples = [(s, e, i) for s in range(4) for e in range(4) for i in range(4)]
    forward = {t: example_rng(*t).random() for t in triples}
    backward = {t: example_rng(*t).random() for t in reversed(triples)}
    assert forward == backward and len(set(forward.values())) == len(triples)
    with pytest.raises(ValueError, match="non-negative"):
        example_rng(0, -1, 0)


# ---- loaders ----


WRAPPED = {
    "plain": lambda: Draws(),
    "subset": lambda: Subset(Draws(40), range(20, 32)),
    "nested": lambda: Subset(ConcatDataset([Draws(6), Draws(6)]), range(12)),
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_workers_differ_from_one_another_and_repeat_in_a_second_run(wrapped):
    first = two_epochs(WRAPPED[wrapped](), seed=1)
    assert torch.equal(first, two_epochs(WRAPPED[wrapped](), seed=1))
    for column in range(4):  # no draw occurs twice, in no worker and in no epoch
        assert len(set(first[:, :, column].flatten().tolist())) == 24
    other = two_epochs(WRAPPED[wrapped](), seed=2)
    assert not (first == other).any()


def test_without_reseeding_the_workers_of_a_dataset_with_its_own_generator_agree():
    plain = torch.cat(list(DataLoader(Draws(), batch_size=3, num_workers=2)))
    assert torch.equal(plain[:3, 3], plain[3:6, 3])  # the mistake is real


def test_without_workers_the_generator_of_the_dataset_simply_goes_on():
    assert len(set(two_epochs(Draws(), seed=1, workers=0)[:, :, 3].flatten())) == 24


def test_the_order_depends_on_the_seed_and_not_on_the_global_generator():
    def orders(seed, disturbance):
        torch.manual_seed(disturbance)
        loader = DataLoader(range(50), shuffle=True, **loader_seeds(seed))
        return [[int(x) for x in loader] for _ in range(2)]

    first, second = orders(0, disturbance=1)
    assert [first, second] == orders(0, disturbance=2)
    assert first != second and sorted(first) == sorted(second) == list(range(50))
    assert orders(1, disturbance=1)[0] != first


def test_a_pass_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(DataLoader(range(5), shuffle=True, **loader_seeds(0)))
    assert torch.equal(before, torch.get_rng_state())


def test_the_loader_does_not_draw_what_the_model_draws():
    seed_everything(0)
    drawn = torch.rand(5)
    assert not torch.equal(torch.rand(5, generator=loader_seeds(0)["generator"]), drawn)


# ---- the environment ----


def test_the_environment_is_described_in_plain_values(monkeypatch, settings):
    monkeypatch.setenv("PYTHONHASHSEED", "12")
    torch.use_deterministic_algorithms(True)
    found = describe_environment()
    assert all(isinstance(value, str | int | bool) for value in found.values())
    assert found["torch"] == torch.__version__ and found["numpy"] == np.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["hash_seed"] == "12" and found["deterministic"] is True
    monkeypatch.delenv("PYTHONHASHSEED")
    assert describe_environment()["hash_seed"] == "random"
