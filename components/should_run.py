"""Component: is there anything new since the last completed run?"""


def should_run(
    only_if_changed: bool,
    train_digest: str,
    val_digest: str,
    config: str,
    runtime: str,
    seed: int,
    image: str,
    registry: str,
    pipeline_root: str,
) -> bool:
    """True unless only changes count, and data, configuration (with overrides), seed and image are the last run's."""
    from components.support.stage import limited
    from trainer.promotion.last_run import identity, is_last

    run = identity(train_digest, val_digest, config + runtime, seed, image)
    with limited("anything new"):
        new = not (only_if_changed and is_last(run, registry, pipeline_root))
    print(f"result: {'run' if new else 'nothing changed since the last completed run'}", flush=True)
    return new
