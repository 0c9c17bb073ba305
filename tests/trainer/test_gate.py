import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from trainer.coco.bootstrap import Comparison
from trainer.coco.match_table import MatchTable, to_bytes
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics
from trainer.gate import main
from trainer.promotion.decision import RULE_NAMES, Decision, read_decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.judge import GateConfig, markdown
from trainer.promotion.rules import Case
from trainer.promotion.rules import decide as decide_case

ROOT = Path(__file__).parents[2]
NONE = NoEvaluation(status="none", reason="the registry is empty")
FAILED = NoEvaluation(status="failed", reason="saved_model.pb is missing")


def evaluation(ap: float | None = 0.5, **changes) -> Evaluation:
    base = Evaluation(
        model="model",
        data_digest="abc",
        images_expected=72,
        images_scored=72,
        images_missing=0,
        images_missing_ids=(),
        images_repeated=0,
        detections=7200,
        objects_unusable=0,
        metrics={**dict.fromkeys(METRIC_NAMES, 0.5), "ap": ap},
        per_class=(ClassMetrics(category_id=3, name="cat", ap=0.5, ap50=0.5, images=2, objects=3),),
        seconds=1.0,
        parity={"passed": True, "max_score_delta": 0.0},
        objects_by_size=dict.fromkeys(("small", "medium", "large"), 200),
    )
    return replace(base, **changes)


def decide(candidate, champion, config, version, **changes) -> Decision:
    """The decision when the bootstrap interval is as narrow as a point."""
    comparisons = {}
    if isinstance(champion, Evaluation):
        delta = (candidate.metrics.get("ap") or 0.0) - (champion.metrics.get("ap") or 0.0)
        comparisons["champion"] = Comparison(delta=delta, low=delta, high=delta, probability_better=0.5, resamples=1000)
    case = Case(
        candidate=candidate, champion=champion, config=config, champion_version=version, comparisons=comparisons
    )
    return decide_case(replace(case, **changes))


def metrics(**values) -> dict:
    return {**dict.fromkeys(METRIC_NAMES, 0.5), **values}


def class_with(**values) -> tuple[ClassMetrics, ...]:
    return (replace(evaluation().per_class[0], **values),)


STRICT = GateConfig(min_ap=0.4, min_delta=-0.005)
UNSCORED = {"same_data", "min_delta", "max_class_drop", "max_size_drop"}
CASES = [
    # candidate, champion, champion version, failed rules, id
    (evaluation(0.5), evaluation(0.5), "v0001", set(), "equal"),
    (evaluation(0.5), evaluation(0.4), "v0001", set(), "better"),
    (evaluation(0.4), NONE, "", set(), "AP exactly at the minimum"),
    (evaluation(math.nextafter(0.4, 0)), NONE, "", {"min_ap"}, "AP just below the minimum"),
    (evaluation(0.495), evaluation(0.5), "v0001", set(), "difference exactly at the threshold"),
    (evaluation(0.4949999), evaluation(0.5), "v0001", {"min_delta"}, "difference just below the threshold"),
    (evaluation(0.42), evaluation(0.5), "v0001", {"min_delta"}, "worse"),
    (evaluation(0.3), evaluation(0.5), "v0001", {"min_ap", "min_delta"}, "worse and too low: both are said"),
    (evaluation(None), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "no AP"),
    (evaluation(math.nan), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "AP NaN"),
    (evaluation(math.inf), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "AP infinite"),
    (evaluation(50.1), evaluation(0.5), "v0001", {"finite", "min_ap", "min_delta"}, "AP in percent"),
    (evaluation(-1.0), NONE, "", {"finite", "min_ap"}, "pycocotools' -1"),
    (evaluation(metrics={"ap50": 0.9}), NONE, "", {"finite", "min_ap"}, "AP missing"),
    (evaluation(metrics=metrics(ap_small=None)), NONE, "", set(), "no small objects: null is no failure"),
    (evaluation(metrics=metrics(ap_small=math.nan)), NONE, "", {"finite"}, "another metric NaN"),
    (evaluation(per_class=class_with(ap=math.nan)), NONE, "", {"finite"}, "a class's AP NaN"),
    (evaluation(per_class=class_with(ap=None, ap50=None)), NONE, "", set(), "a class without objects"),
    (evaluation(images_scored=71, images_missing=1, images_missing_ids=(7,)), NONE, "", {"complete"}, "missing image"),
    (evaluation(images_missing=1), NONE, "", {"complete"}, "missing image, counts disagree"),
    (evaluation(images_repeated=1), NONE, "", {"complete"}, "repeated image"),
    (evaluation(images_scored=73), NONE, "", {"complete"}, "an image too many"),
    (evaluation(images_expected=0, images_scored=0), NONE, "", {"complete"}, "no images"),
    (evaluation(data_digest="other"), evaluation(), "v0001", {"same_data"}, "other data"),
    (evaluation(data_digest=""), evaluation(data_digest=""), "v0001", {"same_data"}, "unknown data"),
    (evaluation(data_digest=""), NONE, "", {"same_data"}, "unknown data, no champion"),
    (evaluation(), evaluation(images_scored=70, images_missing=2), "v0001", {"same_data"}, "champion incomplete"),
    (evaluation(), evaluation(images_repeated=1), "v0001", {"same_data"}, "champion repeated"),
    (evaluation(), evaluation(None), "v0001", {"min_delta"}, "champion without AP"),
    (evaluation(), evaluation(math.nan), "v0001", {"min_delta"}, "champion NaN"),
    (evaluation(), evaluation(metrics={}), "v0001", {"min_delta", "max_size_drop"}, "champion AP missing"),
    (evaluation(), NONE, "", set(), "no champion"),
    (evaluation(), NONE, "v0003", {"min_delta"}, "no champion, but the registry names one"),
    (evaluation(), FAILED, "v0003", {"same_data", "min_delta", "max_class_drop", "max_size_drop"}, "champion failed"),
    (
        evaluation(),
        FAILED,
        "",
        {"same_data", "min_delta", "max_class_drop", "max_size_drop"},
        "champion failed, unnamed",
    ),
]


@pytest.mark.parametrize(("candidate", "champion", "version", "failed", "case"), CASES, ids=[c[-1] for c in CASES])
def test_rules(candidate, champion, version, failed, case):
    decision = decide(candidate, champion, STRICT, version)
    assert {rule.name for rule in decision.rules if not rule.passed} == failed
    assert decision.promote is (not failed)
    assert decision.champion_version == version
    assert tuple(rule.name for rule in decision.rules) == RULE_NAMES
    assert all(rule.sentence.endswith(".") and "\n" not in rule.sentence for rule in decision.rules)
    assert bool(decision.refusals) is bool(failed)
    json.loads(decision.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in strict JSON"))
    assert Decision.from_json(decision.to_json(), "x") == decision


@pytest.mark.parametrize(
    ("candidate", "champion", "version", "rule", "words"),
    [
        (evaluation(), NONE, "", "min_delta", "was no champion"),
        (evaluation(), NONE, "", "same_data", "was no champion"),
        (evaluation(), FAILED, "v0003", "min_delta", "v0003 could not be scored: saved_model.pb is missing"),
        (evaluation(0.42), evaluation(0.5), "v0001", "min_delta", "0.4200 against 0.5000 of the champion v0001"),
        (evaluation(0.42), evaluation(0.5), "v0001", "min_delta", "lower end must be at least -0.0050"),
        (evaluation(0.3), NONE, "", "min_ap", "0.3000 is below the minimum 0.4000"),
        (evaluation(None), NONE, "", "finite", "ap is null"),
        (evaluation(images_scored=71, images_missing=1, images_missing_ids=(7,)), NONE, "", "complete", "ids 7"),
    ],
)
def test_sentences(candidate, champion, version, rule, words):
    decision = decide(candidate, champion, STRICT, version)
    assert words in next(r.sentence for r in decision.rules if r.name == rule)


numbers = st.one_of(st.floats(0, 1), st.none(), st.floats(), st.sampled_from([0.4, 0.5, 0.495]))
evaluations = st.builds(
    evaluation,
    ap=numbers,
    data_digest=st.sampled_from(["abc", "def"]),
    images_scored=st.sampled_from([72, 72, 71]),
    images_repeated=st.sampled_from([0, 0, 1]),
)


@settings(deadline=None)
@given(evaluations, st.one_of(evaluations, st.sampled_from([NONE, FAILED])), st.sampled_from(["", "v0001"]))
def test_promotes_if_and_only_if_every_rule_passes(candidate, champion, version):
    decision = decide(candidate, champion, STRICT, version)
    assert decision.promote == all(rule.passed for rule in decision.rules) == (not decision.refusals)
    if decision.promote:
        ap = candidate.metrics["ap"]
        assert ap is not None
        assert ap >= 0.4
        assert isinstance(champion, NoEvaluation) or ap >= champion.metrics["ap"] - 0.005 - 1e-9


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_ap_never_turns_promotion_into_a_hold(low, high, champion):
    low, high = sorted((low, high))
    if decide(evaluation(low), evaluation(champion), STRICT, "v0001").promote:
        assert decide(evaluation(high), evaluation(champion), STRICT, "v0001").promote


@pytest.mark.parametrize(
    "values", [{"min_ap": -0.1}, {"min_ap": 40.0}, {"min_ap": math.nan}, {"min_delta": math.nan}, {"min_delta": -5.0}]
)
def test_bad_config(values):
    with pytest.raises(InputError, match=rf"gate\.{next(iter(values))}: .* use a fraction"):
        GateConfig(**values)


# --- the command line ---------------------------------------------------------------------------------------------


def table_with(ap: float, images: int = 100) -> MatchTable:
    """One object on each image; a model that finds the first ones, which is about this AP."""
    found, none = np.arange(round(ap * images)), np.zeros(round(ap * images), int)
    return MatchTable(
        image_ids=np.arange(images),
        category_ids=np.array([3]),
        category=none,
        image=found,
        true=none + 1023,
        ignored=none,
        tied=none,
        object_image=np.arange(images),
        object_category=np.zeros(images, int),
    )


@pytest.fixture
def files(tmp_path):
    """Writes evaluations; gives their paths."""

    def write(name: str, value: Evaluation | NoEvaluation | str) -> str:
        path = tmp_path / name / "evaluation.json"
        path.parent.mkdir(exist_ok=True)
        if isinstance(value, Evaluation):
            beside = {"matches.npz": to_bytes(table_with(value.metrics["ap"])), "predictions.json": b"[]"}
            for file, content in beside.items():
                (path.parent / file).write_bytes(content)
            value = replace(value, files={file: hashlib.sha256(c).hexdigest() for file, c in beside.items()})
        path.write_text(value if isinstance(value, str) else value.to_json())
        return str(path)

    return write


def test_command_line_promotes(files, tmp_path, capsys):
    output = str(tmp_path / "out" / "decision.json")
    arguments = ["--candidate", files("new", evaluation(0.5)), "--champion", files("old", evaluation(0.4))]
    assert main([*arguments, "--champion-version", "v0007", "--output", output]) == 0
    assert "decision: promote" in capsys.readouterr().out
    decision = read_decision(output)
    assert (decision.promote, decision.champion_version) == (True, "v0007")
    found = decision.intervals["champion"]
    assert found is not None
    assert found.delta == pytest.approx(0.1)
    assert 0.03 < found.low < 0.1 < found.high < 0.2
    assert found.probability_better > 0.99
    assert decision.ap_interval is not None
    assert decision.ap_interval.low < 0.5 < decision.ap_interval.high
    assert markdown(decision).count("| pass |") == len(RULE_NAMES)


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        (evaluation(0.9), "must be at least -0.0050"),
        (FAILED, "could not be scored"),
        ("{", "not JSON"),  # a broken champion file holds; it is no usage error
        (None, "no such file"),
    ],
)
def test_command_line_holds(files, tmp_path, capsys, champion, words):
    old = str(tmp_path / "absent") if champion is None else files("old", champion)
    output = tmp_path / "decision.json"
    assert main(["--candidate", files("new", evaluation(0.5)), "--champion", old, "--output", str(output)]) == 3
    assert words in capsys.readouterr().out
    assert read_decision(str(output)).promote is False


def test_command_line_thresholds(files, capsys):
    config = files("config.yaml", "gate: {min_ap: 0.45}\n")
    new = files("new", evaluation(0.42))
    assert main(["--candidate", new, "--no-champion"]) == 0
    assert main(["--candidate", new, "--no-champion", "--config", config]) == 3
    assert main(["--candidate", new, "--no-champion", "--config", config, "--min-ap", "0.42"]) == 0
    assert main(["--candidate", new, "--champion", files("old", evaluation(0.5)), "--min-delta", "-0.2"]) == 0


@pytest.mark.parametrize(
    ("candidate", "extra", "words"),
    [
        ("{", ["--no-champion"], "not JSON"),
        (NONE.to_json(), ["--no-champion"], "give a scored model's"),
        (evaluation().to_json(), ["--no-champion", "--min-ap", "40"], "gate.min_ap"),
        (evaluation().to_json(), ["--no-champion", "--config", "no-such-config"], "no such file"),
    ],
)
def test_command_line_bad_input(files, capsys, candidate, extra, words):
    assert main(["--candidate", files("new", candidate), *extra]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--candidate", "x"], ["--candidate", "x", "--champion", "y", "--nonsense"]])
def test_usage_is_exit_code_2(arguments):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_a_champion_must_be_named_or_denied(files):
    """It is never guessed that there is none."""
    with pytest.raises(SystemExit):
        main(["--candidate", files("new", evaluation())])


def test_as_a_process(files):
    command = [sys.executable, "-m", "trainer.gate", "--candidate", files("new", evaluation(0.1)), "--no-champion"]
    assert subprocess.run([*command, "--min-ap", "0.2"], cwd=ROOT, capture_output=True, check=False).returncode == 3


def test_import_stays_light():
    """Gate and promote are processes of their own in the pipeline: what they import is paid each time."""
    code = "import sys, trainer.gate, trainer.promote; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    heavy = {
        "tensorflow",
        "pycocotools",
        "matplotlib",
        "PIL",
        "jinja2",
        "fsspec",
        "yaml",
        "kfp",
        "apache_beam",
    }
    assert not heavy & set(loaded.split())


# The champion's predictions are not read: its matches say all that the comparison needs.
@pytest.mark.parametrize(
    ("side", "name"), [("new", "matches.npz"), ("new", "predictions.json"), ("old", "matches.npz")]
)
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_files_that_are_not_those_of_the_evaluation_hold(files, tmp_path, capsys, side, name, damage):
    arguments = ["--candidate", files("new", evaluation(0.5)), "--champion", files("old", evaluation(0.4))]
    file = tmp_path / side / name
    file.write_bytes(file.read_bytes()[:-1]) if damage == "truncated" else file.unlink()
    assert main(arguments) == 3
    assert ("is truncated or changed" if damage == "truncated" else "no such file") in capsys.readouterr().out


def test_the_best_is_compared_too(files, capsys):
    """Within the tolerance of the champion, but not of the best: small losses do not add up."""
    arguments = ["--candidate", files("new", evaluation(0.50)), "--champion", files("old", evaluation(0.50))]
    assert main(arguments) == 0
    best = files("best", evaluation(0.60))
    assert main([*arguments, "--best", best, "--best-version", "v0002"]) == 3
    assert "FAIL  min_delta_best AP 0.5000 against 0.6000 of the best v0002" in capsys.readouterr().out


def failed_rules(**changes) -> set[str]:
    return {
        rule.name
        for rule in decide(
            evaluation(0.5, **{k: v for k, v in changes.items() if k != "config"}),
            evaluation(0.5, metrics=metrics(ap_small=0.6), per_class=class_with(ap=0.9, objects=500)),
            changes.get("config", GateConfig()),
            "v0001",
        ).rules
        if not rule.passed
    }


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"metrics": metrics(ap_small=0.56)}, set()),
        ({"metrics": metrics(ap_small=0.54)}, {"max_size_drop"}),
        ({"metrics": metrics(ap_small=0.1), "objects_by_size": {"small": 99}}, set()),
        ({"metrics": metrics(ap_small=None), "objects_by_size": {"small": 0}}, set()),
        ({"metrics": metrics(ap_small=None)}, {"max_size_drop"}),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=0.79, objects=100)}, {"max_class_drop"}),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=0.79, objects=99)}, set()),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=0.8, objects=100)}, set()),
        ({"metrics": metrics(ap_small=0.6), "per_class": class_with(ap=None, objects=500)}, {"max_class_drop"}),
        ({"metrics": metrics(ap_small=0.6), "per_class": ()}, {"max_class_drop"}),
        ({"metrics": metrics(ap_small=0.6), "parity": {"passed": False}}, {"parity"}),
        ({"metrics": metrics(ap_small=0.6), "parity": None}, {"parity"}),
        ({"metrics": metrics(ap_small=0.6), "parity": None, "config": GateConfig(require_parity=False)}, set()),
        ({"metrics": metrics(ap_small=0.6), "config": GateConfig(max_latency_ms=50.0)}, {"max_latency_ms"}),
        (
            {"metrics": metrics(ap_small=0.6), "latency_ms": 50.1, "config": GateConfig(max_latency_ms=50.0)},
            {"max_latency_ms"},
        ),
        ({"metrics": metrics(ap_small=0.6), "latency_ms": 50.0, "config": GateConfig(max_latency_ms=50.0)}, set()),
    ],
)
def test_rules_beside_ap(changes, failed):
    assert failed_rules(**changes) == failed
