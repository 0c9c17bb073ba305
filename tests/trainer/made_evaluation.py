"""Folders of evaluations as trainer.evaluate writes them, made by code."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.coco.match_table import MatchTable, to_bytes
from trainer.coco.metrics import ClassMetrics
from trainer.coco.recount import recount
from trainer.promotion.evaluation import Evaluation, NoEvaluation

IMAGES = 100


def table_with(ap: float, images: int = IMAGES) -> MatchTable:
    """One large object per image, and a model that finds those of the first images: its AP is about `ap`."""
    found, none = np.arange(round(ap * images)), np.zeros(round(ap * images), int)
    return MatchTable(
        image_ids=np.arange(images),
        image_order=np.arange(images),
        category_ids=np.array([3]),
        category=none,
        image=found,
        true=none + 1023,
        ignored=none,
        true_by_size=none + (1023 << 20),
        ignored_by_size=none + (1023 << 10 | 1023),
        tied=none,
        object_image=np.arange(images),
        object_category=np.zeros(images, int),
        object_areas=np.full(images, 0b1001),
    )


def proven(value: Evaluation, table: MatchTable) -> Evaluation:
    """The evaluation with the numbers that the table gives."""
    counted = recount(table)
    names = {entry.category_id: entry.name for entry in value.per_class}
    return replace(
        value,
        metrics=counted.metrics,
        per_class=tuple(
            ClassMetrics(
                category_id=entry.category_id,
                name=names.get(entry.category_id, str(entry.category_id)),
                ap=entry.ap,
                ap50=entry.ap50,
                images=entry.images,
                objects=entry.objects,
            )
            for entry in counted.per_class
        ),
        objects=counted.objects,
        objects_by_size=counted.objects_by_size,
        images_expected=counted.images,
        images_scored=counted.images,
    )


def write_evaluation(
    folder: Path, value: Evaluation | NoEvaluation | str, table: MatchTable | None = None, *, analysis: str = ""
) -> str:
    """Writes evaluation.json with the files next to it; returns its path. A text is written as it is.

    The numbers of an evaluation without a table are those of `table_with` its AP.
    """
    path = folder / "evaluation.json"
    folder.mkdir(exist_ok=True)
    if isinstance(value, Evaluation):
        if table is None:
            table = table_with(value.metrics["ap"] or 0.0)
            value = proven(value, table)
        files = {"matches.npz": to_bytes(table), "predictions.json": b"[]"}
        if analysis:
            files["analysis.json"] = analysis.encode()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        value = replace(value, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    path.write_text(value if isinstance(value, str) else value.to_json())
    return str(path)
