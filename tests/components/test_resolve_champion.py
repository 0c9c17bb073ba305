"""The model that an alias names."""

from pathlib import Path

import pytest

from components.resolve_champion import resolve_champion
from tests.components.examples import saved_model
from trainer.registry.base import BEST, CHAMPION
from trainer.registry.local import LocalRegistry


def test_resolve_champion_none_then_ready_then_damaged(tmp_path: Path) -> None:
    root = str(tmp_path / "registry")
    flags = {"registry": root, "alias": "champion", "known": "", "work_dir": "", "run_id": "run-2"}
    assert resolve_champion(**flags) == ("", "", "none", "no champion yet")

    registry = LocalRegistry(root)
    version = registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    registry.swap_alias(CHAMPION, version, expected=None)
    found, model, status, _ = resolve_champion(**flags)
    assert (found, status) == (version, "ready")
    assert (Path(model) / "saved_model.pb").read_bytes() == b"model"

    for marker in (tmp_path / "registry").rglob("version.json"):
        marker.unlink()
    found, model, status, reason = resolve_champion(**flags)
    assert (found, model, status) == (version, "", "failed")
    assert version in reason


def test_best_is_not_looked_up_twice_when_it_is_the_champion(tmp_path: Path) -> None:
    registry = LocalRegistry(str(tmp_path / "registry"))
    version = registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    registry.swap_alias(BEST, version, expected=None)
    flags = {"registry": str(tmp_path / "registry"), "work_dir": str(tmp_path), "run_id": "run-2"}
    assert resolve_champion(**flags, alias="best", known=version)[:3] == ("", "", "champion")


@pytest.mark.parametrize("names", [{"run_id": "run-1"}, {"run_id": "", "job": "run-1"}], ids=["run_id", "job"])
def test_a_run_that_has_promoted_does_not_take_its_own_version(tmp_path: Path, names: dict[str, str]) -> None:
    root, registry = str(tmp_path / "registry"), LocalRegistry(str(tmp_path / "registry"))
    flags = {"registry": root, "alias": "champion", "known": "", "work_dir": str(tmp_path / "stages"), **names}
    assert resolve_champion(**flags)[0] == ""
    version = registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    registry.swap_alias(CHAMPION, version, expected=None)
    assert resolve_champion(**flags)[:3] == ("", "", "none")
