"""Component: is there a reason to train? It has one unnamed text output, which the graph branches on."""

from kfp import dsl


def training_due(
    watched: dsl.Input[dsl.Artifact],
    version: str,
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
    config: str,
    due: dsl.Output[dsl.Artifact],
) -> str:
    """Returns "train" or "wait", and notes what watching said for the alert. `version`: the champion, "" for none."""
    from components.support.stage import stage

    with stage("training-due", due, ready="due.json") as output:
        from components.support.due import judge
        from trainer.promotion.last_run import identity

        sections = (preprocess_config, train_config, export_config, gate_config)
        run = identity(train_digest, val_digest, sections, seed, image)
        place = {"registry": registry, "pipeline_root": pipeline_root, "job": job}
        train = judge(watched.uri, version, run, config, output, **place)
    return "train" if train else "wait"
