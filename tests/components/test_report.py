"""The report needs what the stages wrote."""

from pathlib import Path

import pytest
from kfp import dsl

from beam_preprocess.base.errors import InputError
from components.report import report
from components.support.stage import WORK_DIR


def test_a_stage_whose_files_are_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORK_DIR, str(tmp_path))
    stages = {name: dsl.Artifact(uri=str(tmp_path / name)) for name in ("data", "decision")}
    ready = ("train_records", "checkpoint", "model", "candidate", "champion")
    stages |= {name: dsl.Artifact(uri=str(tmp_path / name / "evaluation.json")) for name in ready}
    with pytest.raises(InputError, match=r"candidate/evaluation\.json"):
        report(
            outcome="held: min_ap",
            **stages,
            images="images",
            annotations="annotations",
            config="gate: {}",
            html=dsl.HTML(uri="backend/html"),
            summary=dsl.Artifact(uri="backend/summary"),
        )
    assert not (tmp_path / "report" / "summary.json").exists()
