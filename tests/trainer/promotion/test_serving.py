"""serving.json: recommended, written next to a published model, read strictly, outside the digest."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import NONE
from tests.trainer.made_decision import evaluation as evaluation_of
from tests.trainer.made_report import analysis, thresholds
from trainer.coco.analysis import Analysis
from trainer.promotion.serving import MIN_SUPPORT, Serving, read_serving, recommend, write_serving
from trainer.registry.digest import SERVING_FILE, model_digest


def evaluated(folder: Path, made: Analysis, **changes) -> str:
    """An evaluation.json next to its analysis.json; returns its path."""
    folder.mkdir(exist_ok=True)
    text = made.to_json()
    (folder / "analysis.json").write_text(text)
    files = {"analysis.json": hashlib.sha256(text.encode()).hexdigest()}
    value = replace(evaluation_of(), model_digest="m" * 64, files=files, **changes)
    (folder / "evaluation.json").write_text(value.to_json())
    return str(folder / "evaluation.json")


def test_recommended_thresholds() -> None:
    serving = recommend(analysis(), model_digest="m", data_digest="d")
    assert serving is not None
    assert serving.thresholds() == {1: 0.42, 2: 0.42, 5: 0.42}
    assert {entry.category_id: entry.own for entry in serving.classes} == {1: True, 2: False, 5: False}
    assert (serving.score_threshold, serving.objects, serving.min_support) == (0.42, 160, MIN_SUPPORT)
    own, common = serving.classes[:2]
    assert (own.precision, own.recall, common.precision, common.recall) == (0.75, 0.6, None, None)


@pytest.mark.parametrize(
    ("objects", "found"), [(MIN_SUPPORT - 1, False), (MIN_SUPPORT, True), (0, False)], ids=["few", "enough", "none"]
)
def test_minimum_support(objects: int, found: bool) -> None:
    assert (recommend(analysis(overall=thresholds(objects=objects))) is not None) == found


@pytest.mark.parametrize("slash", ["", "/"])
def test_written_and_read_outside_the_digest(tmp_path: Path, slash: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    before = model_digest(str(model))
    assert read_serving(str(model)) is None
    line = write_serving(f"{model}{slash}", evaluated(tmp_path / "e", analysis()))
    assert line == "serving.json: score threshold 0.420 (F1 0.667), 1 of 3 classes with their own"
    serving = read_serving(f"{model}{slash}")
    assert serving is not None
    assert serving.model_digest == "m" * 64
    assert serving.thresholds()[1] == 0.42
    assert model_digest(str(model)) == before
    (model / "assets").mkdir()
    (model / "assets" / SERVING_FILE).write_text("{}")
    assert model_digest(str(model)) != before, "only at the top"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "analysis.json").unlink(), "no such file"),
        (lambda folder: (folder / "analysis.json").write_text("{}"), "is truncated or changed"),
        (lambda folder: (folder / "evaluation.json").unlink(), "no such file"),
        (lambda folder: (folder / "evaluation.json").write_text(NONE.to_json()), "was not scored"),
    ],
)
def test_a_promotion_does_not_fail_without_thresholds(tmp_path: Path, spoil, words: str) -> None:
    path = evaluated(tmp_path / "e", analysis())
    spoil(tmp_path / "e")
    line = write_serving(str(tmp_path), path)
    assert line.startswith("serving.json: not written (")
    assert words in line
    assert "\n" not in line
    assert not (tmp_path / SERVING_FILE).exists()


def test_too_few_objects_are_said(tmp_path: Path) -> None:
    path = evaluated(tmp_path / "e", analysis(overall=thresholds(objects=3)))
    assert f"fewer than {MIN_SUPPORT} objects" in write_serving(str(tmp_path), path)


VALUES = json.loads((recommend(analysis()) or Serving).to_json())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 9}, "schema_version is 9"),
        ({"score_threshold": 1.5}, "score_threshold: is 1.5"),
        ({"score_threshold": float("nan")}, "score_threshold: is nan"),
        ({"classes": [VALUES["classes"][0] | {"score_threshold": -1.0}]}, "classes: disc: is -1.0"),
        ({"classes": [{"category_id": 1}]}, "lacks name"),
        ({"extra": 1}, "unknown key"),
    ],
)
def test_read_strictly(tmp_path: Path, change: dict, words: str) -> None:
    (tmp_path / SERVING_FILE).write_text(json.dumps(VALUES | change))
    with pytest.raises(InputError, match=words):
        read_serving(str(tmp_path))
