"""Component: the champion stays, and why."""

from kfp import dsl


def hold(decision: dsl.Input[dsl.Artifact]) -> str:
    """Says which rules did not pass."""
    from components.stage import limited
    from trainer.decision import read_decision
    from trainer.promote import hold

    with limited("hold"):
        outcome = hold(read_decision(f"{decision.uri}/decision.json"))
    print(f"result: {outcome}", flush=True)
    return outcome
