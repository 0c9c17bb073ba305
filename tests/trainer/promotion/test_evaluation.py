"""evaluation.json: written and read strictly; broken numbers survive, so that the gate can judge them."""

import json
import math
from dataclasses import replace

import pytest

from beam_preprocess.base.errors import InputError
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics, Metrics
from trainer.promotion.evaluation import Evaluation, NoEvaluation, is_fraction, parse_evaluation, read_evaluation

METRICS = Metrics(
    values={**dict.fromkeys(METRIC_NAMES, 0.5), "ap_small": None},
    per_class=(
        ClassMetrics(category_id=3, name="cat", ap=0.5, ap50=1.0, images=2, objects=3),
        ClassMetrics(category_id=9, name="bird", ap=None, ap50=None, images=0, objects=0),
    ),
    images_expected=72,
    images_scored=50,
    images_missing=tuple(range(100, 122)),
    images_repeated=1,
    detections=7200,
    objects_unusable=2,
    objects=3,
    crowds=1,
    objects_by_size={"small": 0, "medium": 2, "large": 1},
)
EVALUATION = Evaluation.from_metrics(METRICS, model="runs/1/model", data_digest="abc", seconds=1.5)


CONTENT = json.loads(EVALUATION.to_json())
CAT = CONTENT["per_class"][0]


def changed(**values) -> str:
    return json.dumps({**json.loads(EVALUATION.to_json()), **values})


def without(name: str) -> str:
    return json.dumps({k: v for k, v in json.loads(EVALUATION.to_json()).items() if k != name})


@pytest.mark.parametrize(
    "value",
    [
        EVALUATION,
        NoEvaluation(status="none", reason="the registry is empty"),
        NoEvaluation(status="failed", reason="saved_model.pb is missing"),
    ],
)
def test_round_trip(tmp_path, value):
    path = tmp_path / "evaluation.json"
    path.write_text(value.to_json())
    assert read_evaluation(str(path)) == value


def test_the_digest_is_known_after_reading(tmp_path):
    text = EVALUATION.to_json()
    assert parse_evaluation(text, "x").digest == json.loads(text)["digest"] != ""
    other = replace(EVALUATION, seconds=2.0).to_json()
    assert parse_evaluation(other, "x").digest != parse_evaluation(text, "x").digest
    assert parse_evaluation(text, "x").to_json() == text


def test_objects_and_crowds_of_the_metrics():
    assert (EVALUATION.objects, EVALUATION.crowds) == (3, 1)


def test_nan_survives_to_be_judged():
    broken = replace(EVALUATION, metrics={**EVALUATION.metrics, "ap": math.nan})
    again = parse_evaluation(broken.to_json(), "x")
    assert isinstance(again, Evaluation)
    assert math.isnan(again.metrics["ap"])


def test_at_most_twenty_missing_images_are_named():
    assert EVALUATION.images_missing == 22
    assert EVALUATION.images_missing_ids == tuple(range(100, 120))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"images_missing": 22}, "50 of 72 images were scored; 22 are missing"),
        ({"images_scored": 72, "images_missing": 0, "images_repeated": 1}, "1 were scored more than once"),
        ({"images_scored": 72, "images_missing": 0, "images_repeated": 0}, None),
        ({"images_expected": 0, "images_scored": 0, "images_missing": 0, "images_repeated": 0}, "no image"),
    ],
)
def test_incomplete(values, reason):
    found = replace(EVALUATION, **values).incomplete
    assert reason in found if reason else found == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is a list"),
        ("{}", "schema_version is None"),
        (changed(schema_version=1), "schema_version is 1"),
        (without("data_digest"), "lacks data_digest"),
        (changed(extra=1), "unknown key 'extra'"),
        (changed(data_digest=1), "data_digest: is 1"),
        (changed(images_scored=1.5), "images_scored: is 1.5"),
        (changed(images_scored=-1), "images_scored: is -1"),
        (changed(images_repeated=True), "images_repeated: is True"),
        (changed(seconds="1"), "seconds: is '1'"),
        (changed(metrics=[]), "metrics: is"),
        (changed(metrics={"mAP": 0.5}), "metrics: unknown key 'mAP'"),
        (changed(metrics={"ap": "0.5"}), "metrics.ap: is '0.5'"),
        (changed(metrics={"ap": True}), "metrics.ap: is True"),
        (changed(per_class={}), "per_class: is .*a list is needed"),
        (changed(per_class=[1]), "per_class.0.: is a whole number, not an object"),
        (changed(per_class=[{"name": "cat"}]), "per_class.0.: lacks"),
        (
            '{"schema_version": 4, "status": "perhaps", "reason": "?", "digest": ""}',
            "status: is 'perhaps'; use one of 'none'",
        ),
        ('{"schema_version": 4, "status": "none"}', "lacks reason"),
        (changed(per_class=[{**CAT, "ap": "0.5"}]), "ap: is '0.5'"),
        (changed(per_class=[{**CAT, "objects": -3}]), "class 3: objects: is -3"),
        (changed(per_class=[{**CAT, "objects": True}]), "objects: is True"),
        (changed(images_missing_ids=["7"]), "images_missing_ids.0.: is '7'"),
        (changed(objects_by_size={"small": -1}), "objects_by_size.small: is -1"),
        (changed(files={"matches.npz": 1}), "files.matches.npz: is 1"),
        (changed(parity=[]), "parity: is"),
        (changed(latency_ms="5"), "latency_ms: is '5'"),
        (changed(objects=-1), "objects: is -1"),
        (changed(classes={"matched": []}), "classes: lacks only_in_model"),
        (without("digest"), "lacks digest"),
        (changed(digest=""), "was changed after it was written"),
        (changed(metrics={**CONTENT["metrics"], "ap": 0.6}), "was changed after it was written"),
        (NoEvaluation(status="failed", reason="x").to_json().replace("failed", "none"), "was changed after it"),
    ],
)
def test_strict(text, message):
    with pytest.raises(InputError, match=message) as error:
        parse_evaluation(text, "some/evaluation.json")
    assert "some/evaluation.json" in str(error.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True),
        (1, True),
        (0.4001, True),
        (None, False),
        (math.nan, False),
        (math.inf, False),
        (-1, False),
        (40.01, False),
        ("0.4", False),
        (True, False),
    ],
)
def test_is_fraction(value, expected):
    assert is_fraction(value) is expected
