"""Component: records with precomputed targets for one split."""

from kfp import dsl


def preprocess(
    images: str,
    annotations: str,
    split: str,
    data_digest: str,
    config: str,
    seed: int,
    preprocess_on: str,
    dataflow: str,
    beam_args: str,
    work_dir: str,
    records: dsl.Output[dsl.Dataset],
) -> None:
    """Writes the records. `data_digest` comes from data_check, so a cached result is always for the same data."""
    from components.support.stage import cores, stage, threads

    place = {"output": records.uri, "split": split, "processes": cores(), "threads": threads()}
    with stage(f"preprocess-{split}", records, work_dir) as output:
        from beam_preprocess.base.errors import InputError
        from beam_preprocess.job.pipeline import preprocess
        from components.support.dataflow import beam_arguments
        from trainer.config.sections import parse_config

        made = preprocess(
            images=images,
            annotations=annotations,
            split=split,  # type: ignore[arg-type]
            output=output,
            config=parse_config(config).preprocess,
            seed=seed,
            pipeline_args=beam_arguments(preprocess_on, dataflow, beam_args, **place),
        )
        if made.data_digest != data_digest:
            raise InputError(f"{images}: the {split} data changed since data_check; start the run again")
    records.metadata.update(images=made.images, objects=made.objects, records_digest=made.records_digest)
