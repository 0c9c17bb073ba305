"""Component: the model that an alias of the registry names now."""

from typing import NamedTuple


def resolve_champion(
    registry: str,
    alias: str,
    known: str,
    work_dir: str,
    run_id: str,
    job: str = "",
    title: str = "",
) -> NamedTuple("Resolved", [("version", str), ("model", str), ("status", str), ("reason", str)]):  # type: ignore[valid-type]
    """Finds the SavedModel of `champion` or `best`. `known`: the champion's version, for `best`.

    Texts, not an artifact: the model is another run's, and Kubeflow Pipelines refuses an output outside the run's own
    folder. The version is "" if there is none, or if it is `known`; `model` is the model's folder; `status` is "ready",
    "none", "champion" (it is `known`), or "failed" with a reason.
    A run that has already promoted its model resolves what that model replaced. `run_id` and `job` are promote's.
    `title`: the stage's name in a graph that looks twice.
    """
    from components.support.stage import step

    with step(title or f"find {alias}"):
        from trainer.promotion.resolve import resolve

        memory = f"{work_dir.rstrip('/')}/resolved-{alias}.json" if work_dir else ""
        found = resolve(registry, alias, known=known, run=run_id or job, memory=memory)
        print(f"result: {found.sentence}", flush=True)
    return found.version, found.path, found.status, found.sentence
