"""A small data set with detections of two models, scored as trainer.saved_model.accuracy does, without TensorFlow."""

import hashlib
import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.coco.match_table import from_scored, to_bytes
from trainer.coco.metrics import score_arrays
from trainer.promotion.classes import match_classes
from trainer.promotion.evaluation import Evaluation

NAMES = ("ant", "bee", "cat", "dog")
Found = tuple[str, str, list[float], float]
"""File name, class name, box, score."""


@dataclass(frozen=True)
class Numbering:
    """How a file numbers images and classes, and in which order it lists things."""

    images: dict[str, int]
    classes: dict[str, int]
    seed: int = 0

    @classmethod
    def plain(cls, images: int, names: tuple[str, ...] = NAMES) -> "Numbering":
        return cls({f"{i:03d}.jpg": i for i in range(images)}, {name: i + 1 for i, name in enumerate(names)})

    def shuffled(self, seed: int) -> "Numbering":
        rng = random.Random(seed)
        ids = rng.sample(range(1000), len(self.images)), rng.sample(range(90), len(self.classes))
        images, classes = (
            dict(zip(rng.sample(sorted(names), len(names)), numbers, strict=True))
            for names, numbers in zip((self.images, self.classes), ids, strict=True)
        )
        return Numbering(images, classes, seed + 1)


@dataclass(frozen=True)
class World:
    """Objects, and what two models of different quality find."""

    objects: tuple[tuple[str, str, list[float]], ...]
    good: tuple[Found, ...]
    poor: tuple[Found, ...]

    @classmethod
    def random(cls, seed: int, images: int = 20, names: tuple[str, ...] = NAMES) -> "World":
        rng = np.random.default_rng(seed)
        objects: list[tuple[str, str, list[float]]] = []
        found: dict[str, list[Found]] = {"good": [], "poor": []}
        for i in range(images):
            for _ in range(int(rng.integers(1, 6))):
                name = str(rng.choice(names))
                side = float(rng.choice([20.0, 60.0, 150.0]))
                box = [float(v) for v in (*rng.uniform(0, 300, 2), side, side * rng.uniform(0.6, 1.5))]
                objects.append((f"{i:03d}.jpg", name, box))
                for model, noise, misses in (("good", 0.05, 0.1), ("poor", 0.12, 0.3)):
                    if rng.random() > misses:
                        moved = [v + float(rng.normal(0, noise)) * side for v in box]
                        moved[2:] = [max(v, 1.0) for v in moved[2:]]
                        guess = name if rng.random() < 0.9 else str(rng.choice(names))
                        found[model].append((f"{i:03d}.jpg", guess, moved, float(rng.random())))
        return cls(tuple(objects), tuple(found["good"]), tuple(found["poor"]))

    def file(self, numbering: Numbering) -> dict[str, Any]:
        """The annotation file; classes that the numbering lacks are left out."""
        rng = random.Random(numbering.seed)
        annotations = [
            {"image_id": numbering.images[image], "category_id": numbering.classes[name], "bbox": box, "iscrowd": 0}
            for image, name, box in self.objects
            if name in numbering.classes
        ]
        images = [{"id": i, "file_name": name, "width": 500, "height": 500} for name, i in numbering.images.items()]
        categories = [{"id": i, "name": name} for name, i in numbering.classes.items()]
        if numbering.seed:
            for entries in (annotations, images, categories):
                rng.shuffle(entries)  # type: ignore[arg-type]
        return {"images": images, "annotations": annotations, "categories": categories}


def write_scores(
    folder: Path, dataset: dict[str, Any], found: tuple[Found, ...], model: dict[str, int], **changes: Any
) -> str:
    """Scores what a model with these classes (name to id) found; returns the path of its evaluation.json."""
    folder.mkdir(parents=True)
    annotations = folder / "instances.json"
    annotations.write_text(json.dumps(dataset))
    classes = match_classes(
        [(number, name) for name, number in model.items()],
        [(entry["id"], entry["name"]) for entry in dataset["categories"]],
    )
    image_of = {entry["file_name"]: entry["id"] for entry in dataset["images"]}
    to_file = classes.to_file
    predictions = [
        {"image_id": image_of[image], "category_id": to_file[model[name]], "bbox": box, "score": score}
        for image, name, box, score in found
        if model.get(name) in to_file
    ]
    scored = score_arrays(str(annotations), predictions, list(image_of.values()))
    files = {"predictions.json": json.dumps(predictions).encode(), "matches.npz": to_bytes(from_scored(scored))}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    evaluation = replace(
        Evaluation.from_metrics(scored.metrics, model="model", data_digest="data", seconds=1.0),
        classes=classes,
        parity={"passed": True},
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    path = folder / "evaluation.json"
    path.write_text(replace(evaluation, **changes).to_json())
    return str(path)
