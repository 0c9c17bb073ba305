"""The evaluation of a published version in Vertex AI's Model Registry, where people look at it: metrics, classes, and
the gate's decision."""

from typing import Any

from beam_preprocess.base.errors import InputError
from trainer.promotion.decision import Decision, read_decision
from trainer.promotion.evaluation import Evaluation, read_evaluation
from trainer.registry.base import Registry, RegistryError


def record(store: Registry, version: str, decision: str, evaluation: str) -> None:
    """Writes it, once per decision. Other registries have no place for it, and nothing is written.

    The promotion is done by then and stays: what can't be written is a warning, and running the promotion again writes
    what is missing.

    Args:
      store: the registry.
      version: the published version.
      decision: URI of decision.json.
      evaluation: URI of the model's evaluation.json.
    """
    from trainer.registry.vertex import VertexRegistry

    if not isinstance(store, VertexRegistry):
        return
    from trainer.registry.vertex_evaluation import import_evaluation

    try:
        if not evaluation:
            raise InputError("no evaluation was given")
        judged, scored = read_decision(decision), read_evaluation(evaluation)
        if not isinstance(scored, Evaluation):
            raise InputError(f"{evaluation}: the model was not scored")
        sentence = import_evaluation(
            store,
            version,
            name=f"centernet-{judged.digest[:16]}",
            metrics=metrics_of(scored),
            classes={entry.name: class_metrics(entry) for entry in scored.per_class},
            metadata=metadata_of(judged, scored, decision, evaluation),
        )
    except (InputError, RegistryError) as error:
        print(f"warning: the evaluation of version {version} is not in Model Registry: {error}", flush=True)
    else:
        print(f"evaluation: {sentence}", flush=True)


def metrics_of(scored: Evaluation) -> dict[str, Any]:
    """The metrics in the form of Google's schema for image object detection, which has AP by IoU and their mean."""
    values = scored.metrics
    return _detection({0.5: values.get("ap50"), 0.75: values.get("ap75")}, mean=values.get("ap"), boxes=scored.objects)


def class_metrics(entry: Any) -> dict[str, Any]:
    """The same for one class."""
    return _detection({0.5: entry.ap50}, mean=entry.ap, boxes=entry.objects)


def _detection(by_iou: dict[float, float | None], *, mean: float | None, boxes: int) -> dict[str, Any]:
    known = [{"iouThreshold": iou, "meanAveragePrecision": ap} for iou, ap in by_iou.items() if ap is not None]
    content: dict[str, Any] = {"evaluatedBoundingBoxCount": boxes, "boundingBoxMetrics": known}
    if mean is not None:
        content["boundingBoxMeanAveragePrecision"] = mean
    return content


def metadata_of(judged: Decision, scored: Evaluation, decision: str, evaluation: str) -> dict[str, Any]:
    """What the schema has no field for: all of COCO's numbers, the data, and the gate's decision rule by rule."""
    return {
        "coco": {name: value for name, value in scored.metrics.items() if value is not None},
        "images": scored.images_scored,
        "data_digest": scored.data_digest,
        "model_digest": scored.model_digest,
        "latency_ms": scored.latency_ms,
        "evaluation": evaluation,
        "gate": {
            "decision": judged.verdict,
            "uri": decision,
            "digest": judged.digest,
            "champion": judged.champion_version,
            "rules": {rule.name: {"verdict": rule.verdict, "sentence": rule.sentence} for rule in judged.rules},
        },
    }
