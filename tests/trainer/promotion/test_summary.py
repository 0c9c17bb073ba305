import json
import math
import platform
from dataclasses import replace

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import decide
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.judge import GateConfig
from trainer.promotion.summary import build_summary, read_history, write_summary

EVALUATION = Evaluation(
    model="model",
    data_digest="abc",
    images_expected=72,
    images_scored=72,
    images_missing=0,
    images_missing_ids=(),
    images_repeated=0,
    detections=7200,
    objects_unusable=0,
    metrics={name: i / 100 for i, name in enumerate(METRIC_NAMES)},
    per_class=(ClassMetrics(category_id=3, name="cat", ap=0.5, ap50=0.5, images=2, objects=3),),
    seconds=1.0,
)
NONE = NoEvaluation(status="none", reason="the registry is empty")


def summary(candidate=EVALUATION, champion=NONE, version="", outcome="promoted: v0001 (no champion before)") -> dict:
    decision = decide(candidate, champion, GateConfig(require_parity=False), version)
    return build_summary(
        candidate=candidate,
        champion=champion,
        decision=decision,
        outcome=outcome,
        config="gate: {}\n",
        data={"train": {"images": 291}, "val": {"images": 72}},
        history=[{"step": 1, "total_loss": 2.0}],
        seconds={"train": 3.5},
        paths={"report": "report.html"},
    )


def test_content():
    made = summary()
    for i, name in enumerate(METRIC_NAMES):
        assert made[name] == i / 100
    assert made["per_class"] == [{"category_id": 3, "name": "cat", "ap": 0.5, "ap50": 0.5, "images": 2, "objects": 3}]
    assert made["decision"]["outcome"] == "promoted"
    assert made["decision"]["new_version"] == "v0001"
    assert [rule["name"] for rule in made["decision"]["rules"]][:2] == ["finite", "complete"]
    assert made["champion"] == {"status": "none", "reason": "the registry is empty", "version": ""}
    assert made["versions"]["python"] == platform.python_version()
    assert made["versions"]["numpy"]
    assert (made["seconds"], made["config"]) == ({"train": 3.5}, "gate: {}\n")


def test_champion_is_there_with_its_numbers():
    champion = summary(champion=replace(EVALUATION, model="old"), version="v0001", outcome="held: x")["champion"]
    assert (champion["status"], champion["version"]) == ("scored", "v0001")
    assert champion["metrics"]["ap50"] == 0.01


@pytest.mark.parametrize(
    ("outcome", "kind", "version"),
    [
        ("promoted: v0002 (was v0001)", "promoted", "v0002"),
        ("promoted: v0002 (already champion)", "promoted", "v0002"),
        ("held: min_ap 0.4100 < 0.5000", "held", ""),
    ],
)
def test_outcome(outcome, kind, version):
    decision = summary(outcome=outcome)["decision"]
    assert (decision["outcome"], decision["new_version"], decision["sentence"]) == (kind, version, outcome)


@pytest.mark.parametrize("outcome", ["", "v0002", "failed: x", "promoted", "promoted:", "held"])
def test_unknown_outcome(outcome):
    with pytest.raises(InputError, match="outcome"):
        summary(outcome=outcome)


def test_written_as_strict_json(tmp_path):
    broken = replace(EVALUATION, metrics={**EVALUATION.metrics, "ap": math.nan})
    path = tmp_path / "summary.json"
    write_summary(summary(broken, outcome="held: finite: ap is nan"), str(path))
    read = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in strict JSON"))
    assert read["ap"] is None
    assert read["ap50"] == 0.01
    assert {**read, "ap": 0} == {**summary(outcome="held: finite: ap is nan"), "ap": 0, "decision": read["decision"]}


def test_history(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1, "total_loss": 2.5}\n{"step": 2, "total_loss": NaN}\n')
    first, second = read_history(str(path))
    assert first == {"step": 1, "total_loss": 2.5}
    assert math.isnan(second["total_loss"])


@pytest.mark.parametrize(("text", "words"), [('{"step": 1}\n{', "line 2: not JSON"), ("[]\n", "line 1: is no object")])
def test_bad_history(tmp_path, text, words):
    path = tmp_path / "history.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_history(str(path))
