"""The contract of registries, and its errors."""

import inspect

import pytest

from beam_preprocess.base.errors import Failure
from trainer.registry.base import ChampionMoved, Registry, RegistryError, moved
from trainer.registry.local import LocalRegistry
from trainer.registry.vertex import VertexRegistry

METHODS = [name for name, value in vars(Registry).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("kind", [LocalRegistry, VertexRegistry])
@pytest.mark.parametrize("name", METHODS)
def test_both_registries_take_the_same_arguments(kind: type, name: str) -> None:
    wanted = inspect.signature(getattr(Registry, name))
    assert inspect.signature(getattr(kind, name)).parameters == wanted.parameters


def test_there_are_methods_to_compare() -> None:
    assert {"publish", "swap_alias", "rollback"} < set(METHODS)


def test_errors_end_a_command_with_one_line() -> None:
    for kind in (RegistryError, ChampionMoved):
        assert issubclass(kind, Failure)
        assert kind("x").exit_code == 1


def test_moved_names_both_versions() -> None:
    assert str(moved("champion", "v0003", "v0002", "v0001")).startswith("champion is v0002, not v0001 as seen before")
    assert "champion is not set, not v0001" in str(moved("champion", "v0003", None, "v0001"))
