"""Small inputs of components."""

from pathlib import Path

from kfp import dsl

from trainer.coco.metrics import METRIC_NAMES
from trainer.promotion.classes import Classes, ClassMatch
from trainer.promotion.evaluation import Evaluation


def saved_model(folder: Path, content: bytes = b"model") -> str:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    return str(folder)


def evaluation_of(ap: float) -> Evaluation:
    return Evaluation(
        model="model",
        data_digest="d1",
        images_expected=3,
        images_scored=3,
        images_missing=0,
        images_missing_ids=(),
        images_repeated=0,
        detections=9,
        objects=2,
        crowds=0,
        objects_unusable=0,
        metrics=dict.fromkeys(METRIC_NAMES, ap),
        per_class=(),
        seconds=1.0,
        classes=Classes(matched=(ClassMatch(name="cat", model_id=3, category_id=3),)),
    )


def artifact_with(folder: Path, name: str, text: str) -> dsl.Artifact:
    folder.mkdir()
    (folder / name).write_text(text)
    return dsl.Artifact(uri=str(folder))


def handed_on(path: Path) -> dsl.Artifact:
    """An artifact that is handed on by its ready file."""
    return dsl.Artifact(uri=str(path))
