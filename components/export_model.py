"""Component: the trained weights become a SavedModel that takes encoded images."""

from kfp import dsl


def export_model(
    checkpoint: dsl.Input[dsl.Model],
    images: str,
    annotations: str,
    data_digest: str,
    work_dir: str,
    model: dsl.Output[dsl.Model],
) -> None:
    """Exports the checkpoint, if the export detects what the checkpoint does on validation images."""
    from components.support.stage import stage
    from trainer.saved_model.building import export

    with stage("export", model, work_dir) as output:
        export(
            checkpoint=checkpoint.uri, output=output, images=images, annotations=annotations, data_digest=data_digest
        )
