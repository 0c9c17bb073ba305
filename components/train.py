"""Component: training."""

from kfp import dsl


def train(
    records: dsl.Input[dsl.Dataset],
    val_records: dsl.Input[dsl.Dataset],
    config: str,
    seed: int,
    runtime: str,
    work_dir: str,
    checkpoint: dsl.Output[dsl.Model],
) -> None:
    """Trains on the records, or goes on where an interrupted run of the same folder stopped.

    `runtime` is the target's: keys of the `runtime:` section that win over the configuration's.
    """
    import os

    from components.support.stage import stage
    from trainer.training.cluster import tf_config

    if cluster := tf_config(os.environ):
        os.environ["TF_CONFIG"] = cluster  # before TensorFlow is imported
    from trainer.training.run import train

    with stage("train", checkpoint, work_dir) as output:
        summary = train(
            records=records.uri,
            val_records=val_records.uri,
            output=output,
            config=config,
            seed=seed,
            params_override=runtime,
        )
    checkpoint.metadata.update(steps=summary["steps"], train_digest=summary["train_digest"])
