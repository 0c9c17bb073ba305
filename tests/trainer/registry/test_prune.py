"""Which versions pruning removes."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.registry.test_local import make_model
from trainer.registry.__main__ import main
from trainer.registry.base import RegistryError
from trainer.registry.local import LocalRegistry
from trainer.registry.prune import plan


@pytest.fixture
def registry(tmp_path: Path) -> LocalRegistry:
    """Nine versions: v0001 best, v0002 previous, v0003 champion, v0004 challenger, v0005 of an alias of its own."""
    made, model = LocalRegistry(str(tmp_path / "registry")), make_model(tmp_path / "model")
    for i in range(9):
        made.publish(model, {}, key=str(i))
    made.swap_alias("champion", "v0002", expected=None)
    made.swap_alias("champion", "v0003", expected="v0002")
    for alias, version in (("best", "v0001"), ("challenger", "v0004"), ("mine", "v0005")):
        made.swap_alias(alias, version, expected=None)
    return made


def test_plan(registry: LocalRegistry) -> None:
    (registry.root / "pinned").symlink_to("versions/v0006")
    assert {entry.version: entry.kept for entry in plan(registry, keep=2)} == {
        "v0001": "best",
        "v0002": "previous",
        "v0003": "champion",
        "v0004": "challenger",
        "v0005": "mine",
        "v0006": "link pinned",
        "v0007": "",
        "v0008": "newest 2",
        "v0009": "newest",
    }
    assert all(entry.size for entry in plan(registry, keep=1))
    with pytest.raises(InputError, match="--keep 0"):
        plan(registry, keep=0)


def test_command(registry: LocalRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["prune", "--keep", "1", "--registry", str(registry.root)]
    (registry.root / "versions/v0007/saved_model.pb").unlink()
    assert main([*flags, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "v0003" in out.split("stays: champion")[0]
    assert "would be removed" in out
    assert "v0007  stays: incomplete" in out
    assert out.splitlines()[-1].startswith("2 versions would be removed")
    assert len(registry.list()) == 8
    assert main(flags) == 0
    assert "2 versions removed" in capsys.readouterr().out
    assert [version.version[-1] for version in registry.list()] == [*"123459"]
    assert not list((registry.root / "versions").glob("tmp-*"))


@pytest.mark.parametrize("version", ["v0001", "v0002", "v0003", "v0004", "v0005", "v0009", "v0099", "aliases.json"])
def test_what_is_in_use_is_not_removed(registry: LocalRegistry, version: str) -> None:
    """A promotion may move an alias between the plan and the removal."""
    with pytest.raises(RegistryError):
        registry.remove(version)
    assert len(registry.list()) == 9


def test_no_name_is_used_twice(registry: LocalRegistry, tmp_path: Path) -> None:
    for entry in plan(registry, keep=1):
        if not entry.kept:
            registry.remove(entry.version)
    assert registry.publish(make_model(tmp_path / "other"), {}, key="new") == "v0010"
