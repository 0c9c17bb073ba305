"""Folders of evaluations as trainer.evaluate writes them, made by code."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.coco.match_table import MatchTable, to_bytes
from trainer.promotion.evaluation import Evaluation, NoEvaluation


def table_with(ap: float, images: int = 100) -> MatchTable:
    """One object per image, and a model that finds those of the first images: its AP is about `ap`."""
    found, none = np.arange(round(ap * images)), np.zeros(round(ap * images), int)
    return MatchTable(
        image_ids=np.arange(images),
        category_ids=np.array([3]),
        category=none,
        image=found,
        true=none + 1023,
        ignored=none,
        tied=none,
        object_image=np.arange(images),
        object_category=np.zeros(images, int),
    )


def write_evaluation(folder: Path, value: Evaluation | NoEvaluation | str) -> str:
    """Writes evaluation.json with the files next to it; returns its path. A text is written as it is."""
    path = folder / "evaluation.json"
    folder.mkdir(exist_ok=True)
    if isinstance(value, Evaluation):
        files = {"matches.npz": to_bytes(table_with(value.metrics["ap"] or 0.0)), "predictions.json": b"[]"}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        value = replace(value, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    path.write_text(value if isinstance(value, str) else value.to_json())
    return str(path)
