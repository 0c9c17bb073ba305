"""Component: the trained weights become a SavedModel that takes encoded images."""

from typing import NamedTuple

from kfp import dsl


def export_model(
    checkpoint: str,
    images: str,
    annotations: str,
    data_digest: str,
    config: str,
    model: dsl.Output[dsl.Model],
) -> NamedTuple("Exported", [("folder", str), ("digest", str)]):  # type: ignore[valid-type]
    """Exports the checkpoint, if the export detects what the checkpoint does on validation images.

    `config` holds the `export:` section alone: the network is built from the checkpoint's own copy of its settings.
    The digest makes a cached evaluation that of these files, wherever they lie.
    """
    from components.support.stage import stage

    with stage("export", model, ready="saved_model.pb") as output:
        from trainer.registry.digest import model_digest
        from trainer.saved_model.building import export

        export(
            checkpoint=checkpoint,
            output=output,
            images=images,
            annotations=annotations,
            data_digest=data_digest,
            config=config,
        )
        return output, model_digest(output)
