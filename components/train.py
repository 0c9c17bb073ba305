"""Component: training."""

from kfp import dsl


def train(
    records: str,
    config: str,
    seed: int,
    checkpoint: dsl.Output[dsl.Model],
) -> str:
    """Trains on the records, or resumes an interrupted training in the same folder, which it returns.

    `config` is what data_check hands out for training: nothing that training doesn't read, so nothing else redoes it.
    """
    from components.support.stage import stage

    with stage("train", checkpoint, ready="train.json") as output:
        import os

        from trainer.training.cluster import tf_config

        if cluster := tf_config(os.environ):
            os.environ["TF_CONFIG"] = cluster  # before TensorFlow is imported
        from trainer.training.run import train

        summary = train(
            records=records,
            output=output,
            config=config,
            seed=seed,
        )
    checkpoint.metadata.update(steps=summary["steps"], train_digest=summary["train_digest"])
    return output
