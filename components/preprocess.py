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
    """Writes the records; `data_digest` is data_check's, so a cached result is never that of other data."""
    from beam_preprocess.base.errors import InputError
    from beam_preprocess.job.pipeline import preprocess
    from components.support.dataflow import beam_arguments
    from components.support.stage import cores, stage, threads
    from trainer.config.sections import parse_config

    place = {"output": records.uri, "split": split}
    arguments = beam_arguments(preprocess_on, dataflow, beam_args, **place, processes=cores(), threads=threads())
    with stage(f"preprocess-{split}", records, work_dir) as output:
        manifest = preprocess(
            images=images,
            annotations=annotations,
            split=split,  # type: ignore[arg-type]
            output=output,
            config=parse_config(config).preprocess,
            seed=seed,
            pipeline_args=arguments,
        )
    if manifest.data_digest != data_digest:
        raise InputError(f"{images}: the {split} data changed since data_check; start the run again")
    records.metadata.update(images=manifest.images, objects=manifest.objects, records_digest=manifest.records_digest)
