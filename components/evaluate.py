"""Component: COCO metrics of an exported model on the validation images, for the candidate and for the champion."""

from kfp import dsl


def evaluate(
    model: str,
    model_digest: str,
    status: str,
    reason: str,
    images: str,
    annotations: str,
    data_digest: str,
    name: str,
    evaluation: dsl.Output[dsl.Artifact],
) -> None:
    """Scores the model in that folder. `model_digest` makes a cached result that of the same files; `status` is
    "candidate", or resolve_champion's: a champion that fails holds the candidate and raises nothing."""
    from components.support.stage import stage

    with stage(name, evaluation, ready="evaluation.json") as output:
        from beam_preprocess.base.files import write_text
        from trainer.promotion.evaluation import NoEvaluation

        candidate, missing = status == "candidate", None
        if status not in ("candidate", "ready"):
            missing = NoEvaluation(status=status, reason=reason)  # type: ignore[arg-type]
        else:
            from trainer.saved_model.accuracy import evaluate  # imports TensorFlow: only when it is needed

            data = {"images": images, "annotations": annotations, "data_digest": data_digest}
            try:
                evaluate(model=model, output=output, all_classes=candidate, profile=candidate, **data)  # type: ignore[arg-type]
            except Exception as error:  # whatever an older model raises, the answer is the same: hold
                if candidate:
                    raise
                missing = NoEvaluation(status="failed", reason=f"{type(error).__name__}: {error}")
        if missing is not None:
            write_text(f"{output}/evaluation.json", missing.to_json())
            print(f"result: not scored: {missing.reason}", flush=True)
