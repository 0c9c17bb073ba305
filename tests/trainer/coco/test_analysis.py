"""analysis.json: written and read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_report import analysis
from trainer.coco.analysis import ANALYSIS_SCHEMA, parse_analysis, read_analysis

VALUES: dict[str, Any] = json.loads(analysis().to_json())
CURVES = VALUES["precision_recall"]
CLASS = VALUES["per_class"][0]
IMAGE = VALUES["images"][0]


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(analysis().to_json())
    assert read_analysis(str(path)) == analysis()


def changed(**values: Any) -> str:
    return json.dumps(VALUES | values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is a list, not an object"),
        ('{"schema_version": 9}', f"schema_version is 9, this code reads {ANALYSIS_SCHEMA}"),
        (json.dumps({"schema_version": ANALYSIS_SCHEMA}), "lacks score_threshold"),
        (changed(extra=1), "unknown key 'extra'"),
        (changed(score_threshold="0.3"), "score_threshold: is '0.3'"),
        (changed(errors=VALUES["errors"] | {"missed": True}), "errors.missed: is True"),
        (changed(errors=VALUES["errors"] | {"missed": -1}), "the count -1"),
        (changed(errors={"missed": 1}), "errors holds missed; needs correct"),
        (changed(precision_recall=CURVES | {"recall": CURVES["recall"][1:]}), "a curve has .* points, not 101"),
        (changed(per_class=[CLASS | {"precision50": [0.5]}]), "a curve has .* points"),
        (changed(per_class=[CLASS | {"precision50": ["x"] * 101}]), "precision50: is"),
        (changed(per_class=[CLASS | {"counts": CLASS["counts"] | {"false": -1}}]), "the count -1"),
        (
            changed(per_class=[CLASS | {"thresholds": CLASS["thresholds"] | {"f1": []}}]),
            "a threshold curve has not 101",
        ),
        (changed(overall=VALUES["overall"] | {"best": {"score": 0.5}}), "best: lacks precision"),
        (changed(overall=VALUES["overall"] | {"objects": -1}), "the count -1"),
        (changed(objects_by_size={"small": -1}), "the count -1"),
        (changed(confusion={"classes": [1, 2], "matrix": [[1]]}), "is not 3 x 3"),
        (changed(confusion={"classes": [1], "matrix": [[1, 0.5], [0, 0]]}), "matrix.0..1.: is 0.5"),
        (changed(confusion={"classes": [1], "matrix": [[1, -2], [0, 0]]}), "the count -2"),
        (changed(images=[IMAGE | {"missed": -1}]), "the count -1"),
        (changed(images=[IMAGE | {"missed": "1"}]), "images.0.: missed: is '1'"),
        (changed(images={}), "images: is"),
    ],
)
def test_strict(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_analysis(text, "some/analysis.json")
    assert str(error.value).startswith("some/analysis.json: ")
