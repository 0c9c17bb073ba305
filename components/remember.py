"""Component: notes that this run is complete: for the next run's `should_run`, the alert, and who approves."""


def remember(
    outcome: str,
    report: str,
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
    job: str,
) -> str:
    """Writes what `should_run` compares with, and what the alert reads if there is one (`job`: the run's id, else "").

    Returns the outcome, for the pipeline's output.
    """
    from components.support.stage import step

    with step("remember the run"):
        from trainer.promotion.last_run import identity, write_last
        from trainer.promotion.outcome import Ended, link_report, write_ended

        sections = (preprocess_config, train_config, export_config, gate_config)
        run = identity(train_digest, val_digest, sections, seed, image)
        link_report(outcome, report, registry)
        write_ended(Ended(outcome=outcome, report=report), pipeline_root, job)
        print(f"result: {write_last(run, outcome, registry, pipeline_root)}", flush=True)
    return outcome
