"""Training: the trainer's own refusals reach the user."""

from pathlib import Path

import pytest
from kfp import dsl

from beam_preprocess.base.errors import InputError
from components.support.stage import WORK_DIR
from components.train import train


def test_records_that_are_missing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    records = str(tmp_path / "none")
    with pytest.raises(InputError, match="none"):
        train(
            records=records,
            config="gate: {}",
            seed=0,
            checkpoint=dsl.Model(uri="backend/checkpoint"),
        )
