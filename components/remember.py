"""Component: notes that this run is complete, for the next run's `should_run`."""


def remember(
    outcome: str,
    train_digest: str,
    val_digest: str,
    preprocess_config: str,
    train_config: str,
    export_config: str,
    gate_config: str,
    seed: int,
    image: str,
    registry: str,
    pipeline_root: str,
) -> str:
    """Writes what `should_run` compares with. Returns the outcome, for the pipeline's output."""
    from components.support.stage import step

    with step("remember the run"):
        from trainer.promotion.last_run import identity, write_last

        sections = (preprocess_config, train_config, export_config, gate_config)
        run = identity(train_digest, val_digest, sections, seed, image)
        print(f"result: {write_last(run, outcome, registry, pipeline_root)}", flush=True)
    return outcome
