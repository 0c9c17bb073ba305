"""Component: the champion stays, and why."""

from kfp import dsl


def hold(decision: dsl.Input[dsl.Artifact]) -> str:
    """Says which rules did not pass."""
    from components.support.stage import limited
    from trainer.promotion.decision import read_decision
    from trainer.promotion.publish import hold

    with limited("hold"):
        outcome = hold(read_decision(f"{decision.uri}/decision.json"))
    print(f"result: {outcome}", flush=True)
    return outcome
