"""Component: the training's curves in TensorBoard, and the run in its experiment."""

from kfp import dsl


def track(summary: dsl.Input[dsl.Artifact], tracking: str, job: str) -> str:
    """Sends what `tracking` asks for; only runs with --tensorboard or --experiment have this step."""
    from components.support.stage import step

    with step("track"):
        from trainer.promotion.summary import read_summary
        from trainer.report.tracking import track

        outcome = track(read_summary(summary.uri).history, tracking, job)
        print(f"result: {outcome}", flush=True)
    return outcome
