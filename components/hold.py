"""Component: the candidate is not promoted."""

from kfp import dsl


def hold(decision: dsl.Input[dsl.Artifact]) -> str:
    """Prints the rules that the candidate failed."""
    from components.support.stage import step

    with step("hold"):
        from trainer.promotion.decision import read_decision
        from trainer.promotion.publish import hold

        outcome = hold(read_decision(f"{decision.uri}/decision.json"))
        print(f"result: {outcome}", flush=True)
    return outcome
