"""What an alias names from the view of one run, also after it promoted its own model."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.promotion.resolve import Resolved, resolve
from trainer.registry.local import LocalRegistry


class Runs:
    """A registry in which runs publish and promote; `memory` is the file of run-2."""

    def __init__(self, folder: Path) -> None:
        self.root, self.folder = str(folder / "registry"), folder
        self.registry = LocalRegistry(self.root)
        (folder / "model").mkdir()
        (folder / "model" / "saved_model.pb").write_bytes(b"graph")

    def promote(self, key: str, **metadata: object) -> str:
        version = self.registry.publish(str(self.folder / "model"), metadata, key=key)
        for alias in ("champion", "best"):
            self.registry.swap_alias(alias, version, expected=self.registry.alias(alias))
        return version

    def resolve(self, alias: str, run: str, *, known: str = "", memory: bool = True) -> Resolved:
        file = str(self.folder / f"resolved-{alias}.json") if memory else ""
        return resolve(self.root, alias, known=known, run=run, memory=file)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_none_then_ready(runs: Runs) -> None:
    found = runs.resolve("champion", "run-1")
    assert (found.status, found.version, found.path) == ("none", "", "")
    runs.promote("run-1")
    found = runs.resolve("champion", "run-2")
    assert (found.status, found.version) == ("ready", "v0001")
    assert found.path.endswith("v0001")
    assert runs.resolve("best", "run-2", known="v0001").status == "champion"
    assert runs.resolve("best", "run-2", known="v0000").status == "ready"


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_resumed_run_keeps_the_champion_with_which_it_promoted(runs: Runs, memory: bool, first: bool) -> None:
    """From the file that it wrote, or on a service, where there is no such folder, from the version's metadata."""
    replaced = ""
    if not first:
        replaced = runs.promote("run-1")
    champion = runs.resolve("champion", "run-2", memory=memory)
    best = runs.resolve("best", "run-2", known=champion.version, memory=memory)
    assert champion.version == replaced
    runs.promote("run-2", **({} if memory else {"replaced": {"champion": replaced, "best": replaced}}))
    assert runs.resolve("champion", "run-2", memory=memory) == champion
    assert runs.resolve("best", "run-2", known=champion.version, memory=memory) == best
    other = runs.resolve("champion", "run-3", memory=False)
    assert other.version == runs.registry.alias("champion"), "another run compares with it"


def test_a_run_that_lost_the_race_resolves_again(runs: Runs) -> None:
    """What it remembered is out of date as long as its own version is not the champion."""
    runs.promote("run-1")
    runs.resolve("champion", "run-2")
    runs.promote("run-x")
    assert runs.resolve("champion", "run-2").version == "v0002"
    runs.promote("run-2")
    assert runs.resolve("champion", "run-2").version == "v0002"


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("later", ["another run promoted", "two other runs promoted", "rolled back"])
def test_a_resumed_run_keeps_it_when_the_champion_has_moved_since(runs: Runs, memory: bool, later: str) -> None:
    runs.promote("run-1", replaced={"champion": "", "best": ""})
    champion = runs.resolve("champion", "run-2", memory=memory)
    best = runs.resolve("best", "run-2", known=champion.version, memory=memory)
    runs.promote("run-2", replaced={"champion": "v0001", "best": "v0001"})
    if later == "rolled back":
        runs.registry.rollback()
    else:
        runs.promote("run-3", replaced={"champion": "v0002", "best": "v0002"})
        if later.startswith("two"):
            runs.promote("run-4", replaced={"champion": "v0003", "best": "v0003"})
    assert runs.resolve("champion", "run-2", memory=memory) == champion
    assert runs.resolve("best", "run-2", known=champion.version, memory=memory) == best


def test_what_it_replaced_is_unknown(runs: Runs) -> None:
    runs.promote("run-1")
    found = runs.resolve("champion", "run-1", memory=False)
    assert (found.status, found.version) == ("failed", "v0001")
    assert "it is unknown which champion that replaced" in found.sentence


def test_a_damaged_version_and_a_damaged_memory(runs: Runs) -> None:
    runs.promote("run-1")
    (runs.folder / "resolved-champion.json").write_text("{")
    with pytest.raises(InputError, match=r"resolved-champion\.json.*delete it"):
        runs.resolve("champion", "run-1")
    (runs.folder / "registry" / "versions" / "v0001" / "version.json").unlink()
    found = runs.resolve("champion", "run-2")
    assert (found.status, found.version) == ("failed", "v0001")
    assert "v0001" in found.sentence
