"""Rules about the evaluation: objects, evidence and classes. test_rules.py has the cases of the others."""

from dataclasses import replace

import pytest

from tests.trainer.made_decision import FAILED, NONE, evaluation
from trainer.config.gate_config import GateConfig
from trainer.promotion.case import SAME, Case
from trainer.promotion.classes import Classes, match_classes
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.validity_rules import classes, evidence, objects, same_data

DATA = [(1, "cat"), (2, "dog")]


def case(champion: Evaluation | NoEvaluation = NONE, **changes) -> Case:
    return Case(**{"candidate": evaluation(), "champion": champion, "config": GateConfig(), **changes})


@pytest.mark.parametrize(
    ("scored", "expected", "status", "words"),
    [
        (250, 250, "pass", "All 250 objects"),
        (249, 250, "fail", "249 objects were scored, but the data check counted 250"),
        (251, 250, "fail", "251 objects were scored"),
        (0, 0, "pass", "All 0"),
        (250, None, "skipped", "No data check was given; rule skipped"),
    ],
)
def test_objects(scored: int, expected: int | None, status: str, words: str) -> None:
    verdict = objects(case(candidate=evaluation(objects=scored), expected_objects=expected))
    assert (verdict.value, verdict.threshold, verdict.status) == (scored, expected, status)
    assert words in verdict.sentence


def test_evidence() -> None:
    assert evidence(case()).status == "pass"
    verdict = evidence(case(damage={"candidate": "matches.npz: is\ntruncated.", "best": "gone"}))
    assert (verdict.value, verdict.status) == (2, "fail")
    assert verdict.sentence == "Evidence of the candidate: matches.npz: is truncated; of the best: gone."


def known(*names: str, ids: tuple[int, ...] | None = None) -> Classes:
    """How a model of these classes matches DATA."""
    return match_classes(list(zip(ids or range(1, 9), names, strict=False)), DATA)


CAT_AND_DOG = known("cat", "dog")


@pytest.mark.parametrize(
    ("candidate", "champion", "status", "words"),
    [
        (CAT_AND_DOG, CAT_AND_DOG, "pass", "The models know the same 2 classes."),
        (CAT_AND_DOG, known("dog", "cat"), "pass", "The models know the same 2 classes."),  # renumbered
        (
            CAT_AND_DOG,
            known("cat"),
            "pass",
            "champion v1 does not know: dog; it is compared over 1 common class.",
        ),
        (CAT_AND_DOG, known("cat", "dog", "owl"), "fail", "vanished from the data: owl (list in gate.vanished_classes"),
        (CAT_AND_DOG, known("cat", "hound"), "fail", "vanished from the data: hound"),  # renamed
        (CAT_AND_DOG, known("cat", "dog "), "fail", "'dog ' may be 'dog'; list in gate.vanished_classes"),
        (CAT_AND_DOG, known("Cat", "dog"), "fail", "'Cat' may be 'cat'"),
        (CAT_AND_DOG, known("\uff43at", "dog"), "fail", "'\uff43at' may be 'cat'"),
        (CAT_AND_DOG, known("cat", "cat", ids=(7, 8)), "fail", "cannot be matched: cat (several have the name"),
        # The candidate knows it as well: this validation file lacks it, as class_index id-minus-1 allows.
        (
            known("cat", "dog", "owl"),
            known("cat", "dog", "owl"),
            "pass",
            "nobody scored, because the file lacks them: owl.",
        ),
        (known("cat"), CAT_AND_DOG, "fail", "The candidate does not know dog."),
        (known("cat"), NONE, "fail", "The candidate does not know dog."),
        (CAT_AND_DOG, NONE, "skipped", "No champion; rule skipped."),
        (CAT_AND_DOG, FAILED, "fail", "The champion could not be scored, so its classes are unknown."),
    ],
)
def test_classes(candidate: Classes, champion: Classes | NoEvaluation, status: str, words: str) -> None:
    other = evaluation(classes=champion) if isinstance(champion, Classes) else champion
    version = "" if other is NONE else "v1"
    found = case(other, candidate=evaluation(classes=candidate), champion_version=version)
    verdict = classes(found)
    assert verdict.status == status, verdict
    assert words in verdict.sentence
    if isinstance(other, Evaluation):  # the best version's classes count as well
        verdict = classes(replace(found, champion=evaluation(classes=CAT_AND_DOG), best=other, best_version="v0"))
        assert verdict.status == status


def test_a_class_that_was_dropped_on_purpose() -> None:
    champion = evaluation(classes=known("cat", "dog", "owl", "bat"))
    accepted = case(champion, candidate=evaluation(classes=CAT_AND_DOG), best=SAME)
    partly = classes(replace(accepted, config=GateConfig(vanished_classes=("owl",))))
    assert partly.status == "fail"
    assert "bat" in partly.sentence
    assert "owl" not in partly.sentence
    wholly = classes(replace(accepted, config=GateConfig(vanished_classes=("owl", "bat"))))
    assert wholly.status == "pass"
    assert "gate.vanished_classes accepts: owl, bat" in wholly.sentence


def test_classes_that_only_their_ids_tell_apart() -> None:
    """Both are matched, but an export that swaps the two ids would make any champion look worse."""
    twice = [(1, "cat"), (2, "cat")]
    of_one_name = match_classes(twice, twice)
    assert len(of_one_name.matched) == 2
    own = evaluation(classes=of_one_name)
    assert classes(case(NONE, candidate=own)).status == "skipped", "a candidate was trained on this file"
    judged = case(own, candidate=own, champion_version="v1")
    verdict = classes(judged)
    assert verdict.status == "fail"
    assert "cannot be matched: cat (several have the name: rename them, and list it in gate" in verdict.sentence
    assert classes(replace(judged, config=GateConfig(vanished_classes=("cat",)))).status == "pass"


@pytest.mark.parametrize("who", ["champion", "best"])
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (evaluation(data_digest="other"), "scored on different validation data"),
        (evaluation(images_repeated=1), "was not scored as served, exactly once"),
        (evaluation(images_scored=70), "was not scored as served, exactly once"),
    ],
)
def test_same_data(who: str, other: Evaluation, words: str) -> None:
    """The best version's scores decide as well: they must be of the same data."""
    found = same_data(case(**{"champion": evaluation(), "best": SAME, who: other}))
    assert found.status == "fail"
    assert words in found.sentence
    assert same_data(case(evaluation(), best=evaluation())).status == "pass"


def test_a_champion_that_the_registry_names_and_nobody_scored() -> None:
    assert classes(case(NONE, champion_version="v0003")).status == "fail"
