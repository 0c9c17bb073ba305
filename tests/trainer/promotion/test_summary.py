"""summary.json: what it contains, and that it is strict JSON."""

import json
import math
import platform
from dataclasses import replace

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import NONE, decide
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics
from trainer.config.sections import GateConfig
from trainer.promotion.evaluation import Evaluation
from trainer.promotion.summary import Summary, build_summary, read_history, read_summary, write_summary

EVALUATION = Evaluation(
    model="model",
    data_digest="abc",
    images_expected=72,
    images_scored=72,
    images_missing=0,
    images_missing_ids=(),
    images_repeated=0,
    detections=7200,
    objects=2,
    crowds=0,
    objects_unusable=0,
    metrics={name: i / 100 for i, name in enumerate(METRIC_NAMES)},
    per_class=(ClassMetrics(category_id=3, name="cat", ap=0.5, ap50=0.5, images=2, objects=3),),
    seconds=1.0,
)


def summary(candidate=EVALUATION, champion=NONE, version="", outcome="promoted: v0001 (no champion before)") -> Summary:
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
    assert made.metrics == {name: i / 100 for i, name in enumerate(METRIC_NAMES)}
    assert made.per_class == EVALUATION.per_class
    assert made.decision.outcome == "promoted"
    assert made.decision.new_version == "v0001"
    assert [rule.name for rule in made.decision.rules][:2] == ["finite", "complete"]
    assert (made.champion.status, made.champion.reason, made.champion.version) == ("none", "the registry is empty", "")
    assert made.versions["python"] == platform.python_version()
    assert made.versions["numpy"]
    assert (made.seconds, made.config) == ({"train": 3.5}, "gate: {}\n")


def test_the_champions_numbers():
    champion = summary(champion=replace(EVALUATION, model="old"), version="v0001", outcome="held: x").champion
    assert (champion.status, champion.version) == ("scored", "v0001")
    assert champion.metrics["ap50"] == 0.01


@pytest.mark.parametrize(
    ("outcome", "kind", "version"),
    [
        ("promoted: v0002 (was v0001)", "promoted", "v0002"),
        ("promoted: v0002 (already champion)", "promoted", "v0002"),
        ("held: min_ap 0.4100 < 0.5000", "held", ""),
        ("pending approval: v0002 (champion is v0001)", "pending approval", "v0002"),
    ],
)
def test_outcome(outcome, kind, version):
    decision = summary(outcome=outcome).decision
    assert (decision.outcome, decision.new_version, decision.sentence) == (kind, version, outcome)


@pytest.mark.parametrize("outcome", ["", "v0002", "failed: x", "promoted", "promoted:", "held", "pending: v0002"])
def test_unknown_outcome(outcome):
    with pytest.raises(InputError, match="outcome"):
        summary(outcome=outcome)


@pytest.mark.parametrize("champion", [NONE, EVALUATION])
def test_written_and_read(tmp_path, champion):
    made = summary(champion=champion, version="v0001" if champion is EVALUATION else "")
    path = tmp_path / "summary.json"
    write_summary(made, str(path))
    assert read_summary(str(path)) == made
    assert json.loads(path.read_text())["ap50"] == 0.01, "the metrics are at the top, where tools look for them"


def test_written_as_strict_json(tmp_path):
    broken = replace(EVALUATION, metrics={**EVALUATION.metrics, "ap": math.nan})
    path = tmp_path / "summary.json"
    write_summary(summary(broken, outcome="held: finite: ap is nan"), str(path))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in strict JSON"))
    found = read_summary(str(path))
    assert (found.ap, found.ap50) == (None, 0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 1}, "schema_version is 1"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"ap": "0.5"}, "ap: is '0.5'"),
        ({"images": True}, "images: is True"),
        ({"per_class": [{"name": "cat"}]}, "per_class.0.: lacks"),
        ({"decision": {}}, "decision: lacks"),
        ({"champion": None}, "champion: "),
        ({"history": {}}, "history: is"),
    ],
)
def test_strict(tmp_path, change, words):
    path = tmp_path / "summary.json"
    write_summary(summary(), str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words):
        read_summary(str(path))


def test_history(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1, "total_loss": 2.5}\n{"step": 2, "total_loss": NaN}\n')
    first, second = read_history(str(path))
    assert first == {"step": 1, "total_loss": 2.5}
    assert math.isnan(second["total_loss"])


@pytest.mark.parametrize(
    ("text", "words"), [('{"step": 1}\n{', "line 2: not JSON"), ("[]\n", "line 1: is not an object")]
)
def test_bad_history(tmp_path, text, words):
    path = tmp_path / "history.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_history(str(path))
