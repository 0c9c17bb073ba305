"""From files to a decision: what is missing, damaged or contradictory holds the candidate."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import FAILED, NONE, evaluation
from tests.trainer.made_evaluation import proven, table_with, write_evaluation
from tests.trainer.made_scores import NAMES, Numbering, World, write_scores
from trainer.config.sections import GateConfig
from trainer.promotion.decision import Decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.judge import judge, judge_again


def failed(decision: Decision) -> dict[str, str]:
    """Names of the failed rules to their sentences."""
    return {rule.name: rule.sentence for rule in decision.rules if not rule.passed}


def test_the_intervals_come_from_the_matches(tmp_path: Path) -> None:
    new, old = (write_evaluation(tmp_path / name, evaluation(ap)) for name, ap in (("new", 0.5), ("old", 0.4)))
    decision = judge(new, old, GateConfig(), "v0007")
    assert (decision.promote, decision.champion_version) == (True, "v0007")
    found = decision.intervals["champion"]
    assert found is not None
    assert found.delta == pytest.approx(10 / 101)
    assert 0.03 < found.low < 0.1 < found.high < 0.2
    assert found.probability_better > 0.99
    assert decision.ap_interval is not None
    assert decision.ap_interval.low < 0.5 < decision.ap_interval.high


# The champion's predictions are not read: its matches are all that the comparison needs.
@pytest.mark.parametrize(
    ("side", "name", "rule"),
    [
        ("new", "matches.npz", "evidence"),
        ("new", "predictions.json", "evidence"),
        ("old", "matches.npz", "min_delta"),
        ("old", "matches.npz", "evidence"),
    ],
)
@pytest.mark.parametrize(("damage", "words"), [("truncated", "is truncated or changed"), ("missing", "no such file")])
def test_a_damaged_file_holds_the_candidate(
    tmp_path: Path, side: str, name: str, rule: str, damage: str, words: str
) -> None:
    new, old = (write_evaluation(tmp_path / name, evaluation(ap)) for name, ap in (("new", 0.5), ("old", 0.4)))
    file = tmp_path / side / name
    file.write_bytes(file.read_bytes()[:-1]) if damage == "truncated" else file.unlink()
    decision = judge(new, old, GateConfig(), "v0001")
    assert not decision.promote
    assert words in failed(decision)[rule]


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        (evaluation(0.9), "must be at least -0.0050"),
        (FAILED, "could not be scored"),
        ("{", "not JSON"),  # a broken champion file holds the candidate; it is not bad input
        (None, "no such file"),
    ],
)
def test_a_champion_that_holds(tmp_path: Path, champion: Evaluation | NoEvaluation | str | None, words: str) -> None:
    old = str(tmp_path / "absent") if champion is None else write_evaluation(tmp_path / "old", champion)
    decision = judge(write_evaluation(tmp_path / "new", evaluation(0.5)), old, GateConfig(), "v0001")
    assert words in failed(decision)["min_delta"]


def test_the_best_is_compared_too(tmp_path: Path) -> None:
    """Within the tolerance of the champion, but not of the best version: small losses do not add up."""
    new, old, best = (
        write_evaluation(tmp_path / name, evaluation(ap)) for name, ap in (("new", 0.5), ("old", 0.5), ("best", 0.6))
    )
    assert judge(new, old, GateConfig(), "v0003").promote
    decision = judge(new, old, GateConfig(), "v0003", best=best, best_version="v0002")
    assert "AP 0.5050 against 0.6040 of the best v0002" in failed(decision)["min_delta_best"]
    assert decision.best_version == "v0002"


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), (NONE.to_json(), "give a scored model's")])
def test_a_candidate_that_cannot_be_judged(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        judge(write_evaluation(tmp_path / "new", text), None, GateConfig())


TRUE = proven(evaluation(0.5), table_with(0.5))


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (replace(TRUE, metrics={**TRUE.metrics, "ap": 0.9}), "ap is 0.9, but matches.npz gives 0.504"),
        (replace(TRUE, metrics={**TRUE.metrics, "ap": float("nan")}), "ap is nan, but"),
        (replace(TRUE, metrics={**TRUE.metrics, "ap_large": None}), "ap_large is None, but"),
        (replace(TRUE, metrics={**TRUE.metrics, "ap_small": 0.1}), "ap_small is 0.1, but matches.npz gives None"),
        (replace(TRUE, metrics={**TRUE.metrics, "ar_1": 0.1}), "ar_1 is 0.1, but"),
        (replace(TRUE, metrics={"ap": TRUE.metrics["ap"]}), "ap50 is None, but"),
        (replace(TRUE, objects=99), "objects is 99, but matches.npz gives 100"),
        (replace(TRUE, objects_by_size={**TRUE.objects_by_size, "large": 7}), "objects_by_size.large is 7"),
        (replace(TRUE, images_expected=99, images_scored=99), "images_expected is 99"),
        (replace(TRUE, per_class=()), "lists the classes none, but matches.npz those of 3"),
        (replace(TRUE, per_class=(replace(TRUE.per_class[0], ap=0.9),)), "ap of class 3 is 0.9"),
        (replace(TRUE, per_class=(replace(TRUE.per_class[0], objects=500),)), "objects of class 3 is 500"),
    ],
)
@pytest.mark.parametrize("side", ["new", "old"])
def test_numbers_that_the_matches_do_not_give_hold(tmp_path: Path, stated: Evaluation, words: str, side: str) -> None:
    """Even with a new digest: an AP that was raised by hand next to matches that say otherwise, and the reverse."""
    uris = {
        name: write_evaluation(tmp_path / name, stated if name == side else TRUE, table_with(0.5))
        for name in ("new", "old")
    }
    decision = judge(uris["new"], uris["old"], GateConfig(), "v0001")
    assert words in failed(decision)["evidence"]
    assert {"new": "of the candidate", "old": "of the champion"}[side] in failed(decision)["evidence"]


def test_expected_objects(tmp_path: Path) -> None:
    new = write_evaluation(tmp_path / "new", evaluation(0.5))
    assert judge(new, None, GateConfig(), expected_objects=100).promote
    decision = judge(new, None, GateConfig(), expected_objects=99)
    assert failed(decision) == {"objects": "100 objects were scored, but the data check counted 99."}


def test_a_decision_names_its_evidence_and_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_evaluation(tmp_path / "new", evaluation(0.5))
    write_evaluation(tmp_path / "old", evaluation(0.4))
    monkeypatch.chdir(tmp_path)
    config = GateConfig(min_ap=0.1, resamples=200)
    decision = judge("new/evaluation.json", "old/evaluation.json", config, "v0001", expected_objects=100)
    assert decision.promote
    found = decision.evidence["candidate"]
    assert found is not None
    assert found.uri == str(tmp_path / "new" / "evaluation.json")
    assert len(found.digest) == 64
    assert decision.evidence["best"] is None
    assert (decision.gate, decision.expected_objects) == (config, 100)
    os.chdir("/")
    assert judge_again(decision) == decision


def verdicts(decision: Decision) -> list[tuple]:
    """Each rule's name, status and value. Digests and the sums' last bits depend on the file."""
    return [
        (rule.name, rule.status, round(rule.value, 6) if isinstance(rule.value, float) else rule.value)
        for rule in decision.rules
    ]


QUICK = GateConfig(resamples=100, min_support=5, max_class_drop=0.2, max_size_drop=0.2)


@settings(max_examples=settings().max_examples // 5)
@given(world=st.integers(0, 99), first=st.integers(1, 99), second=st.integers(100, 199), swapped=st.booleans())
def test_renumbering_reordering_and_exporting_again_change_no_verdict(
    tmp_path_factory: pytest.TempPathFactory, world: int, first: int, second: int, swapped: bool
) -> None:
    """The champion keeps the ids of the file that it was trained on; the candidate has those of the current file."""
    folder, made = tmp_path_factory.mktemp("judge"), World.random(world)
    old_file = Numbering.plain(20)
    good, poor = (made.poor, made.good) if swapped else (made.good, made.poor)
    decisions = []
    for name, current in (("plain", old_file), ("first", old_file.shuffled(first)), ("x", old_file.shuffled(second))):
        dataset = made.file(current)
        new = write_scores(folder / name / "new", dataset, good, current.classes)
        old = write_scores(folder / name / "old", dataset, poor, old_file.classes)
        decisions.append(judge(new, old, QUICK, "v0001", expected_objects=len(made.objects)))
    assert verdicts(decisions[0]) == verdicts(decisions[1]) == verdicts(decisions[2])
    assert not swapped or "min_delta" in failed(decisions[0])
    assert swapped or not failed(decisions[0])


def test_two_swapped_ids_do_not_make_a_worse_model_better(tmp_path: Path) -> None:
    """What was seen: matched by id, the champion's AP fell to a third, and a worse candidate was promoted."""
    made, old_file = World.random(7), Numbering.plain(20)
    swapped = replace(old_file, classes={"ant": 2, "bee": 1, "cat": 3, "dog": 4})
    dataset = made.file(swapped)
    new = write_scores(tmp_path / "new", dataset, made.poor, swapped.classes)
    old = write_scores(tmp_path / "old", dataset, made.good, old_file.classes)
    decision = judge(new, old, QUICK, "v0001")
    assert "min_delta" in failed(decision)
    found = decision.intervals["champion"]
    assert found is not None
    assert found.delta < -0.1


def test_a_new_class_is_compared_over_the_common_ones(tmp_path: Path) -> None:
    """Over all classes the champion, which does not know `dog`, would look worse than a worse candidate."""
    made, numbering = World.random(3), Numbering.plain(20)
    dataset = made.file(numbering)
    of_three = Numbering.plain(20, NAMES[:3])
    new = write_scores(tmp_path / "new", dataset, made.poor, numbering.classes)
    old = write_scores(tmp_path / "old", dataset, made.good, of_three.classes)
    decision = judge(new, old, QUICK, "v0001", best=old, best_version="v0001")
    assert "over 3 common classes" in failed(decision)["min_delta"]
    assert "over 3 common classes" in failed(decision)["min_delta_best"]
    (verdict,) = (rule for rule in decision.rules if rule.name == "classes")
    assert verdict.status == "pass"
    assert "does not know: dog" in verdict.sentence
    # The same as on the data of these classes alone.
    alone = made.file(of_three)
    new = write_scores(tmp_path / "alone" / "new", alone, made.poor, of_three.classes)
    old = write_scores(tmp_path / "alone" / "old", alone, made.good, of_three.classes)
    assert judge(new, old, QUICK, "v0001").intervals["champion"] == decision.intervals["champion"]


def test_a_class_that_vanished_or_is_ambiguous_holds(tmp_path: Path) -> None:
    made, numbering = World.random(3), Numbering.plain(20)
    of_three = Numbering.plain(20, NAMES[:3])
    dataset = made.file(of_three)
    new = write_scores(tmp_path / "new", dataset, made.good, of_three.classes)
    old = write_scores(tmp_path / "old", dataset, made.poor, numbering.classes)
    assert set(failed(judge(new, old, QUICK, "v0001"))) == {"classes"}
    assert judge(new, old, replace(QUICK, vanished_classes=("dog",)), "v0001").promote
