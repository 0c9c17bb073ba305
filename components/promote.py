"""Component: the candidate becomes the champion."""

from kfp import dsl


def promote(decision: dsl.Input[dsl.Artifact], model: dsl.Input[dsl.Model], registry: str, run_id: str) -> str:
    """Publishes the model and swaps the alias, if the decision allows it and the champion is still the same one."""
    from trainer.promote import promote

    outcome = promote(
        decision=f"{decision.uri}/decision.json",
        model=model.uri,
        registry=registry,
        key=run_id,
        metadata={"run_id": run_id},
    )
    print(f"result: {outcome}", flush=True)
    return outcome
