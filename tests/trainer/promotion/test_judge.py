"""From files to a decision: what is missing or damaged holds the candidate."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import FAILED, NONE, evaluation
from tests.trainer.made_evaluation import write_evaluation
from trainer.config.sections import GateConfig
from trainer.promotion.decision import Decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.judge import judge


def failed(decision: Decision) -> dict[str, str]:
    """Names of the failed rules to their sentences."""
    return {rule.name: rule.sentence for rule in decision.rules if not rule.passed}


def test_the_intervals_come_from_the_matches(tmp_path: Path) -> None:
    new, old = (write_evaluation(tmp_path / name, evaluation(ap)) for name, ap in (("new", 0.5), ("old", 0.4)))
    decision = judge(new, old, GateConfig(), "v0007")
    assert (decision.promote, decision.champion_version) == (True, "v0007")
    found = decision.intervals["champion"]
    assert found is not None
    assert found.delta == pytest.approx(0.1)
    assert 0.03 < found.low < 0.1 < found.high < 0.2
    assert found.probability_better > 0.99
    assert decision.ap_interval is not None
    assert decision.ap_interval.low < 0.5 < decision.ap_interval.high


# The champion's predictions are not read: its matches are all that the comparison needs.
@pytest.mark.parametrize(
    ("side", "name", "rule"),
    [
        ("new", "matches.npz", "complete"),
        ("new", "predictions.json", "complete"),
        ("old", "matches.npz", "min_delta"),
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
    assert "AP 0.5000 against 0.6000 of the best v0002" in failed(decision)["min_delta_best"]
    assert decision.best_version == "v0002"


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), (NONE.to_json(), "give a scored model's")])
def test_a_candidate_that_cannot_be_judged(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        judge(write_evaluation(tmp_path / "new", text), None, GateConfig())
