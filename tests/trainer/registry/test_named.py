"""The model that a name stands for."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.registry.local import LocalRegistry
from trainer.registry.named import find_model


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with one version and no alias, and a folder `model`."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"x")
    LocalRegistry(str(tmp_path / "registry")).publish(str(tmp_path / "model"), {}, key="k")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "registry"


def test_a_folder_a_version_and_an_alias(registry: Path) -> None:
    assert (find_model("model/", "registry").folder, find_model("./champion", "nowhere").folder) == (
        "model",
        "./champion",
    )
    assert find_model("gs://bucket/model", "nowhere").folder == "gs://bucket/model"
    assert find_model("v0001", "registry").folder == "registry/versions/v0001"
    LocalRegistry("registry").swap_alias("champion", "v0001", None)
    found = find_model("champion", "registry")
    assert (found.folder, found.version) == ("registry/versions/v0001", "v0001")


@pytest.mark.parametrize(
    ("name", "where", "message"),
    [
        ("champion", "registry", "--model champion: registry has no champion yet; promote a model"),
        ("v0009", "registry", "--model v0009: registry: there is no version 'v0009'; versions are v0001"),
        ("champion", "nowhere", "--registry nowhere: no such folder, so no champion; promote a model"),
    ],
)
def test_one_line_for_what_is_not_there(registry: Path, name: str, where: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_model(name, where)
