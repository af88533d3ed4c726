"""What the tests beside the topics share."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def load(request: pytest.FixtureRequest) -> Callable[[str], ModuleType]:
    """Import a snippet of the test's own folder by its stem, without running its demonstration."""
    folder = Path(request.path).parent

    @cache
    def from_folder(stem: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(stem, folder / f"{stem}.py")
        assert spec and spec.loader, f"{folder / stem}.py cannot be imported"
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return from_folder
