"""The digest of a SavedModel's folder."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.registry.digest import model_digest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "model" / "variables" / "variables.index").write_bytes(b"index")
    return tmp_path / "model"


def test_content_and_names_decide_and_nothing_else(model: Path, tmp_path: Path) -> None:
    before = model_digest(str(model))
    model.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert model_digest(f"{moved}/") == before
    (moved / "saved_model.pb").write_bytes(b"grapH")
    assert model_digest(str(moved)) != before
    (moved / "saved_model.pb").write_bytes(b"graph")
    assert model_digest(str(moved)) == before
    (moved / "saved_model.pb").rename(moved / "saved_model2.pb")
    assert model_digest(str(moved)) != before


def test_the_same_on_another_file_system(model: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe(
        {"/digest/saved_model.pb": b"graph", "/digest/variables/variables.index": b"index"}
    )
    assert model_digest("memory://digest") == model_digest(str(model))


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no files"):
        model_digest(str(tmp_path / "absent"))
