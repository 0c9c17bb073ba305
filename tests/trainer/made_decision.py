"""A decision of the gate without predictions to resample: the bootstrap interval is as narrow as a point."""

from trainer.promotion.decision import Comparison, Decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.rules import Case, GateConfig
from trainer.promotion.rules import decide as decide_case


def decide(candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str) -> Decision:
    """What the gate says of these evaluations."""
    comparisons: dict[str, Comparison | str] = {}
    if isinstance(champion, Evaluation):
        delta = (candidate.metrics.get("ap") or 0.0) - (champion.metrics.get("ap") or 0.0)
        comparisons["champion"] = Comparison(delta=delta, low=delta, high=delta, probability_better=0.5, resamples=1000)
    case = Case(
        candidate=candidate, champion=champion, config=config, champion_version=version, comparisons=comparisons
    )
    return decide_case(case)
