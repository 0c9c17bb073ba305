"""Component: the model that an alias of the registry names now."""

from kfp import dsl


def resolve_champion(
    registry: str, alias: str, known: str, work_dir: str, run_id: str, champion: dsl.Output[dsl.Model], job: str = ""
) -> str:
    """Points the artifact at the SavedModel of `champion` or `best`.

    `known`: the champion's version, for `best`. Returns the version; "" if there is none, or if it is `known`.
    `status` in the metadata is "ready", "none", "champion" (it is `known`), or "failed" with a reason.
    A run that has already promoted its model resolves what that model replaced. `run_id` and `job` are promote's.
    """
    from components.support.stage import step

    with step(f"find {alias}"):
        from trainer.promotion.resolve import resolve

        memory = f"{work_dir.rstrip('/')}/resolved-{alias}.json" if work_dir else ""
        found = resolve(registry, alias, known=known, run=run_id or job, memory=memory)
        champion.metadata.update(status=found.status, reason=found.sentence, version=found.version)
        if found.path:
            champion.uri = found.path
        print(f"result: {found.sentence}", flush=True)
    return found.version
