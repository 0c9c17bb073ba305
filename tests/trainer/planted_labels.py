"""A generated data set whose labels are wrong in known places, and the detections of a model that is not perfect."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIDE = 640
CLASSES = {3: "disc", 7: "bar", 11: "ring"}
KINDS = ("overlooked", "swapped", "badly placed", "spurious")


@dataclass
class Planted:
    """Annotations with planted errors, and what was planted."""

    dataset: dict[str, list[dict[str, Any]]]
    predictions: list[dict[str, Any]]
    errors: list[tuple[str, int, list[float]]] = field(default_factory=list)
    """(kind, image id, the box at which somebody has to look)."""


def planted(*, images: int = 400, per_kind: int = 30, seed: int = 0, quality: float = 1.0) -> Planted:
    """The data set.

    Args:
      images: their number.
      per_kind: planted errors of each kind.
      seed: of everything.
      quality: 1 for a good model; below it, the model misses more and places boxes worse.
    """
    random = np.random.default_rng(seed)
    truth = [_objects(random) for _ in range(images)]
    predictions = [found for i, objects in enumerate(truth) for found in _detections(random, i, objects, quality)]
    annotations = [
        {"id": 0, "image_id": i, "category_id": category, "bbox": box, "iscrowd": 0}
        for i, objects in enumerate(truth)
        for category, box in objects
    ]
    result = Planted(
        dataset={
            "images": [{"id": i, "file_name": f"{i:04d}.jpg", "width": SIDE, "height": SIDE} for i in range(images)],
            "categories": [{"id": number, "name": name} for number, name in CLASSES.items()],
            "annotations": annotations,
        },
        predictions=predictions,
    )
    _plant(random, result, per_kind)
    for number, annotation in enumerate(result.dataset["annotations"], start=1):
        annotation["id"] = number
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    return result


def is_planted(made: Planted, image_id: int, boxes: list[list[float] | None]) -> bool:
    """Whether one of the boxes is where an error was planted."""
    places = [box for _, image, box in made.errors if image == image_id]
    return any(_iou(box, place) > 0.4 for box in boxes if box for place in places)


def _objects(random: np.random.Generator) -> list[tuple[int, list[float]]]:
    made: list[tuple[int, list[float]]] = []
    for _ in range(int(random.integers(2, 9))):
        width, height = np.exp(random.uniform(np.log(20), np.log(180), 2)).round(1).tolist()
        box = [float(random.uniform(0, SIDE - width)), float(random.uniform(0, SIDE - height)), width, height]
        if all(_iou(box, other) < 0.3 for _, other in made):
            made.append((int(random.choice([*CLASSES], p=[0.6, 0.3, 0.1])), box))
    return made


def _detections(
    random: np.random.Generator, image: int, objects: list[tuple[int, list[float]]], quality: float
) -> list[dict[str, Any]]:
    made = []

    def add(category: int, box: list[float], score: float) -> None:
        made.append({"image_id": image, "category_id": category, "bbox": box, "score": float(np.clip(score, 0.01, 1))})

    for category, box in objects:
        small = box[2] * box[3] < 32**2
        if random.random() > quality * (0.8 if small else 0.95):
            add(category, _jittered(random, box, 0.05), random.beta(2, 12))  # as good as missed
            continue
        add(category, _jittered(random, box, 0.06 / quality), random.beta(6, 3 if small else 2))
        if random.random() < 0.1:
            add(int(random.choice([*CLASSES])), _jittered(random, box, 0.08), random.beta(2, 8))
        if random.random() < 0.03:
            add(category, _jittered(random, box, 0.4), random.beta(3, 5))
    for _ in range(random.poisson(6)):
        width, height = random.uniform(20, 120, 2).tolist()
        place = [float(random.uniform(0, SIDE - width)), float(random.uniform(0, SIDE - height)), width, height]
        add(int(random.choice([*CLASSES])), place, random.beta(1.2, 9))
    return made


def _jittered(random: np.random.Generator, box: list[float], amount: float) -> list[float]:
    x, y, width, height = box
    moves = random.normal(0, amount, 4)
    return [
        x + float(moves[0]) * width,
        y + float(moves[1]) * height,
        max(2.0, width * float(1 + moves[2])),
        max(2.0, height * float(1 + moves[3])),
    ]


def _plant(random: np.random.Generator, made: Planted, per_kind: int) -> None:
    annotations = made.dataset["annotations"]
    rows = random.permutation(len(annotations))[: 3 * per_kind].tolist()
    gone = set(rows[:per_kind])
    for row in rows:
        entry, kind = annotations[row], KINDS[rows.index(row) // per_kind]
        if kind == "swapped":
            entry["category_id"] = int(random.choice([c for c in CLASSES if c != entry["category_id"]]))
        elif kind == "badly placed":
            x, y, width, height = entry["bbox"]
            entry["bbox"] = [x + 0.45 * width, y + 0.2 * height, width, height * 0.9]
        made.errors.append((kind, entry["image_id"], entry["bbox"]))
    made.dataset["annotations"] = [entry for i, entry in enumerate(annotations) if i not in gone]
    for _ in range(per_kind):
        image = int(random.integers(len(made.dataset["images"])))
        others = [entry["bbox"] for entry in annotations if entry["image_id"] == image]
        while True:
            width, height = random.uniform(40, 150, 2).tolist()
            box = [float(random.uniform(0, SIDE - width)), float(random.uniform(0, SIDE - height)), width, height]
            if all(_iou(box, other) < 0.05 for other in others):
                break
        made.dataset["annotations"].append(
            {"image_id": image, "category_id": int(random.choice([*CLASSES])), "bbox": box, "iscrowd": 0}
        )
        made.errors.append(("spurious", image, box))


def _iou(first: list[float], second: list[float]) -> float:
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)
