"""The data check: counts for people, digests for the caches."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from beam_preprocess.base.errors import InputError
from components.data_check import data_check
from pipeline.graph.request import coco_layout
from pipeline.local.demo_data import DemoData, generate


def test_digests_counts_and_the_report_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = DemoData(train_images=2, val_images=1, height=(64, 64), width=(64, 64), side=(20.0, 40.0))
    data = coco_layout(str(generate(tmp_path / "coco", small)))
    report = dsl.Artifact(uri=str(tmp_path / "run" / "check" / "report"))
    steering = {"work_dir": str(tmp_path / "run"), "preprocess_on": "step", "dataflow": "{}", "beam_args": ""}
    steering |= {"run_id": "7", "strict": False}
    arguments = {"config": "gate: {min_ap: 0.5}", "runtime": "", "report": report, **steering}
    train, val, objects, *sections = data_check(**data, **arguments)
    assert train != val
    assert objects > 0
    assert [("min_ap: 0.5" in text) for text in sections] == [False, False, False, True], (
        "each stage gets its own section"
    )
    found = json.loads((tmp_path / "run" / "data_check" / "data.json").read_text())
    assert (found["train"]["data_digest"], found["val"]["data_digest"], found["val"]["objects"]) == (
        train,
        val,
        objects,
    )
    assert "result: train 2 images, " in capsys.readouterr().out
    with pytest.raises(InputError, match="--strict makes this warning an error"):
        data_check(**data, **(arguments | {"strict": True}))
    Path(data["val_annotations"]).unlink()
    with pytest.raises(InputError, match="no such annotation file"):
        data_check(**data, **arguments)
