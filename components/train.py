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
    """Trains on the records, or resumes an interrupted training in the same folder.

    `runtime` comes from the target: keys of the `runtime:` section that override the configuration's.
    """
    from components.support.stage import stage

    with stage("train", checkpoint, work_dir) as output:
        import os

        from trainer.training.cluster import tf_config

        if cluster := tf_config(os.environ):
            os.environ["TF_CONFIG"] = cluster  # before TensorFlow is imported
        from components.support.near_duplicates import warn_of_near_duplicates
        from trainer.training.run import train

        warn_of_near_duplicates(records.uri, val_records.uri, output, cluster)
        summary = train(
            records=records.uri,
            val_records=val_records.uri,
            output=output,
            config=config,
            seed=seed,
            params_override=runtime,
        )
    checkpoint.metadata.update(steps=summary["steps"], train_digest=summary["train_digest"])
