"""The model that an alias names."""

from pathlib import Path

from kfp import dsl

from components.resolve_champion import resolve_champion
from tests.components.examples import saved_model
from trainer.registry.base import BEST, CHAMPION
from trainer.registry.local import LocalRegistry


def test_resolve_champion_none_then_ready_then_damaged(tmp_path: Path) -> None:
    root = str(tmp_path / "registry")
    champion = dsl.Model(uri="backend/champion")
    assert resolve_champion(registry=root, alias="champion", known="", champion=champion) == ""
    assert champion.metadata["status"] == "none"

    registry = LocalRegistry(root)
    version = registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    registry.swap_alias(CHAMPION, version, expected=None)
    champion = dsl.Model(uri="backend/champion")
    assert resolve_champion(registry=root, alias="champion", known="", champion=champion) == version
    assert champion.metadata["status"] == "ready"
    assert (Path(champion.uri) / "saved_model.pb").read_bytes() == b"model"

    (Path(champion.uri) / "version.json").unlink(missing_ok=True)
    for marker in (tmp_path / "registry").rglob("version.json"):
        marker.unlink()
    champion = dsl.Model(uri="backend/champion")
    assert resolve_champion(registry=root, alias="champion", known="", champion=champion) == version
    assert champion.metadata["status"] == "failed"
    assert version in champion.metadata["reason"]


def test_best_is_not_looked_up_twice_when_it_is_the_champion(tmp_path: Path) -> None:
    registry = LocalRegistry(str(tmp_path / "registry"))
    version = registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    registry.swap_alias(BEST, version, expected=None)
    best = dsl.Model(uri="backend/best")
    assert resolve_champion(registry=str(tmp_path / "registry"), alias="best", known=version, champion=best) == ""
    assert best.metadata["status"] == "champion"
