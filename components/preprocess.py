"""Component: records with precomputed targets of the training images."""

from kfp import dsl


def preprocess(
    images: str,
    annotations: str,
    data_digest: str,
    config: str,
    seed: int,
    records: dsl.Output[dsl.Dataset],
) -> str:
    """Writes the records, and returns their folder. `data_digest` makes a cached result that of the same data."""
    from components.support.run_options import read_options
    from components.support.stage import cores, stage

    place = records.uri  # the stage gives it the run's folder
    with stage("preprocess-train", records, ready="manifest.json") as output:
        from beam_preprocess.base.errors import InputError
        from beam_preprocess.job.pipeline import preprocess
        from trainer.config.sections import parse_config

        options = read_options(place)
        made = preprocess(
            images=images,
            annotations=annotations,
            split="train",
            output=output,
            config=parse_config(config).preprocess,
            seed=seed,
            num_workers=None,
            num_threads=None,
            cores=cores(),
            pipeline_args=options.beam(output=place, split="train"),
        )
        if made.data_digest != data_digest:
            raise InputError(f"{images}: the training data changed since data_check; start the run again")
    records.metadata.update(images=made.images, objects=made.objects, records_digest=made.records_digest)
    return output
