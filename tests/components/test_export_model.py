"""Export: the configuration and the digest that the component passes on."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.export_model import export_model
from components.support.stage import WORK_DIR
from trainer.registry.digest import model_digest


def test_the_runs_configuration_is_passed_and_the_models_digest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TensorFlow: the export itself is tested with the trainer."""
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    asked: dict[str, Any] = {}

    def export(**arguments: Any) -> None:
        asked.update(arguments)
        folder = Path(arguments["output"])
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"model")

    monkeypatch.setitem(sys.modules, MODULE, types.SimpleNamespace(export=export))  # type: ignore[arg-type]
    model = dsl.Model(uri="backend/model")
    exported = export_model(
        checkpoint="checkpoint",
        images="images",
        annotations="annotations",
        data_digest="d",
        config="export: {parity_images: 3}",
        model=model,
    )
    assert asked["config"] == "export: {parity_images: 3}"
    assert asked["checkpoint"] == "checkpoint"
    folder = str(tmp_path / "export")
    assert exported == (folder, model_digest(folder))
    assert model.uri == f"{folder}/saved_model.pb"


MODULE = "trainer.saved_model.building"
"""Where the component takes `export` from."""
