"""Component: COCO metrics of an exported model on the validation images, for the candidate and for the champion."""

from kfp import dsl


def evaluate(
    model: dsl.Input[dsl.Model],
    images: str,
    annotations: str,
    data_digest: str,
    name: str,
    evaluation: dsl.Output[dsl.Artifact],
) -> None:
    """Scores the model. A champion (its artifact has a status) that fails holds the candidate; it is not an error."""
    from components.support.stage import stage

    with stage(name, evaluation) as output:
        from beam_preprocess.base.files import write_text
        from trainer.promotion.evaluation import NoEvaluation

        status, missing = model.metadata.get("status", "candidate"), None
        if status in ("none", "failed", "champion"):
            missing = NoEvaluation(status=status, reason=model.metadata["reason"])
        else:
            from functools import partial

            from trainer.saved_model.accuracy import evaluate  # imports TensorFlow: only when it is needed

            score = partial(evaluate, images=images, annotations=annotations, data_digest=data_digest)
            try:
                score(model=model.uri, output=output, all_classes=status == "candidate")
            except Exception as error:  # whatever an older model raises, the answer is the same: hold
                if status == "candidate":
                    raise
                missing = NoEvaluation(status="failed", reason=f"{type(error).__name__}: {error}")
        if missing is not None:
            write_text(f"{output}/evaluation.json", missing.to_json())
            print(f"result: not scored: {missing.reason}", flush=True)
