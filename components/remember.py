"""Component: this run is complete; one on the same data, configuration and image would say nothing new."""


def remember(
    outcome: str,
    train_digest: str,
    val_digest: str,
    config: str,
    runtime: str,
    seed: int,
    image: str,
    registry: str,
    pipeline_root: str,
) -> str:
    """Writes what `should_run` of the next run compares with; returns the outcome, for the pipeline's output."""
    from components.support.stage import limited
    from trainer.promotion.last_run import identity, write_last

    with limited("remember the run"):
        uri = write_last(
            identity(train_digest, val_digest, config + runtime, seed, image), outcome, registry, pipeline_root
        )
    print(f"result: {uri}", flush=True)
    return outcome
