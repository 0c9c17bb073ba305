"""Component: the candidate becomes the champion."""

from kfp import dsl


def promote(
    decision: dsl.Input[dsl.Artifact], model: dsl.Input[dsl.Model], registry: str, run_id: str, job: str = ""
) -> str:
    """Publishes the model and swaps the alias, if the decision allows it and the champion is still the same one.

    A run without `run_id` (a schedule's) goes by `job`, the service's own id of it.
    """
    from components.support.stage import limited
    from trainer.promotion.publish import promote

    with limited("promote"):
        outcome = promote(
            decision=f"{decision.uri}/decision.json",
            model=model.uri,
            registry=registry,
            key=run_id or job,
            metadata={"run_id": run_id or job},
        )
    print(f"result: {outcome}", flush=True)
    return outcome
