"""Evaluations and decisions made by code, without predictions to resample: each interval is as narrow as a point."""

from dataclasses import replace
from typing import Any

from trainer.coco.bootstrap import Comparison
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics
from trainer.config.sections import GateConfig
from trainer.promotion.case import Case
from trainer.promotion.classes import Classes, ClassMatch
from trainer.promotion.decision import Decision
from trainer.promotion.decision import decide as decide_case
from trainer.promotion.evaluation import Evaluation, NoEvaluation

NONE = NoEvaluation(status="none", reason="the registry is empty")
FAILED = NoEvaluation(status="failed", reason="saved_model.pb is missing")


def evaluation(ap: float | None = 0.5, **changes: Any) -> Evaluation:
    """A complete evaluation in which every metric is 0.5, apart from the changes."""
    base = Evaluation(
        model="model",
        data_digest="abc",
        images_expected=72,
        images_scored=72,
        images_missing=0,
        images_missing_ids=(),
        images_repeated=0,
        detections=7200,
        objects=3,
        crowds=0,
        objects_unusable=0,
        metrics={**dict.fromkeys(METRIC_NAMES, 0.5), "ap": ap},
        per_class=(ClassMetrics(category_id=3, name="cat", ap=0.5, ap50=0.5, images=2, objects=3),),
        seconds=1.0,
        parity={"passed": True, "max_score_delta": 0.0},
        objects_by_size=dict.fromkeys(("small", "medium", "large"), 200),
        classes=Classes(matched=(ClassMatch(name="cat", model_id=3, category_id=3),)),
    )
    return replace(base, **changes)


def decide(
    candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str, **changes: Any
) -> Decision:
    """The gate's decision on these evaluations."""
    comparisons: dict[str, Comparison | str] = {}
    if isinstance(champion, Evaluation):
        delta = (candidate.metrics.get("ap") or 0.0) - (champion.metrics.get("ap") or 0.0)
        comparisons["champion"] = Comparison(delta=delta, low=delta, high=delta, probability_better=0.5, resamples=1000)
    case = Case(
        candidate=candidate, champion=champion, config=config, champion_version=version, comparisons=comparisons
    )
    return decide_case(replace(case, **changes))
