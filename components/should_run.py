"""Component: has anything changed since the last completed run?"""


def should_run(
    only_if_changed: bool,
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
) -> bool:
    """False if `only_if_changed`, and data, configuration (what the stages read), seed and image are the last run's."""
    from components.support.stage import step

    with step("check for changes"):
        from trainer.promotion.last_run import identity, is_last

        sections = (preprocess_config, train_config, export_config, gate_config)
        run = identity(train_digest, val_digest, sections, seed, image)
        changed = not (only_if_changed and is_last(run, registry, pipeline_root))
        words = "changed, running" if only_if_changed else "not asked for, running"
        print(f"result: {words if changed else 'nothing changed since the last completed run'}", flush=True)
    return changed
