"""Component: the candidate becomes the champion, or the challenger that waits for approval."""

from kfp import dsl


def promote(
    decision: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    candidate: dsl.Input[dsl.Artifact],
    registry: str,
    config: str,
    run_id: str,
    job: str = "",
) -> str:
    """Publishes the model and swaps the alias, if the decision allows it and the champion has not changed since. If the
    decision asks for approval, the champion stays.

    The decision must be by the `gate:` section of `config`. A run without `run_id`, such as a schedule's, is
    identified by `job`: the service's own id of the run.
    """
    from components.support.stage import folder_of, step

    with step("promote"):
        from trainer.config.sections import parse_config
        from trainer.promotion.publish import promote

        outcome = promote(
            decision=f"{decision.uri}/decision.json",
            model=folder_of(model),
            registry=registry,
            key=run_id or job,
            metadata={"run_id": run_id or job},
            gate=parse_config(config).gate,
            evaluation=candidate.uri,
        )
        print(f"result: {outcome}", flush=True)
    return outcome
