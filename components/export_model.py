"""Component: the trained weights become a SavedModel that takes encoded images."""

from kfp import dsl


def export_model(checkpoint: dsl.Input[dsl.Model], work_dir: str, model: dsl.Output[dsl.Model]) -> None:
    """Exports the checkpoint."""
    from components.stage import stage
    from trainer.export import export

    with stage("export", model, work_dir) as output:
        export(checkpoint=checkpoint.uri, output=output)
