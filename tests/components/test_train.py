"""Training: the trainer's own refusals reach the user."""

from pathlib import Path

import pytest
from kfp import dsl

from beam_preprocess.base.errors import InputError
from components.train import train


def test_records_that_are_missing_are_refused(tmp_path: Path) -> None:
    records = dsl.Dataset(uri=str(tmp_path / "none"))
    with pytest.raises(InputError, match="none"):
        train(
            records=records,
            val_records=records,
            config="gate: {}",
            seed=0,
            runtime="",
            work_dir=str(tmp_path),
            checkpoint=dsl.Model(uri="backend/checkpoint"),
        )
