"""Synthetic annotations and detections of the size of COCO val2017, for the benchmarks of scoring."""

import json
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, OBJECTS, CLASSES, DETECTIONS = 5000, 36_781, 80, 100
"""val2017's counts; 100 detections per image, as CenterNet returns."""


def annotations(images: int, seed: int = 0) -> dict[str, Any]:
    """A COCO instances file with val2017's density: objects per image, skewed classes and sizes."""
    random = np.random.default_rng(seed)
    count = round(OBJECTS * images / IMAGES)
    share = 1 / np.arange(1, CLASSES + 1)  # the first class has 20 % of the objects, almost like persons in COCO
    image = np.sort(random.permutation(np.repeat(np.arange(images), random.geometric(1 / 7.4, images))))
    image = random.choice(image, count)
    category = random.choice(CLASSES, count, p=share / share.sum())
    side = np.clip(np.exp(random.normal(np.log(42), 1.18, count)), 2, 400)  # as in COCO: 41 % small, 24 % large
    shape = np.exp(random.normal(0, 0.25, count))
    width, height = np.minimum(side * shape, 600), np.minimum(side / shape, 440)
    x, y = random.uniform(0, 640 - width), random.uniform(0, 480 - height)
    boxes = np.stack([x, y, width, height], axis=1).round(2)
    crowd = random.random(count) < 0.012
    return {
        "images": [{"id": 1000 + 3 * i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(images)],
        "categories": [{"id": 1 + k, "name": f"class {k}"} for k in range(CLASSES)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 1000 + 3 * int(image[i]),
                "category_id": 1 + int(category[i]),
                "bbox": boxes[i].tolist(),
                "area": float(boxes[i, 2] * boxes[i, 3] * 0.7),
                "iscrowd": int(crowd[i]),
            }
            for i in range(count)
        ],
    }


def predictions(dataset: dict[str, Any], seed: int = 1, noise: float = 0.12) -> list[dict[str, Any]]:
    """Exactly 100 detections per image: most objects, located more or less well, and many low-scoring false ones."""
    random = np.random.default_rng(seed)
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in dataset["images"]}
    for entry in dataset["annotations"]:
        by_image[entry["image_id"]].append(entry)
    found = []
    for image, objects in by_image.items():
        rows = []
        for entry in objects:
            for _ in range(int(random.integers(0, 3))):
                x, y, width, height = entry["bbox"]
                scale = np.array([width, height, width, height])
                box = np.array([x, y, width, height]) + random.normal(0, noise, 4) * scale
                category = entry["category_id"] if random.random() < 0.9 else int(random.integers(1, CLASSES + 1))
                rows.append((category, np.maximum(box, 0.5), random.beta(3, 3)))
        rows = rows[:DETECTIONS]
        while len(rows) < DETECTIONS:
            side = np.exp(random.normal(np.log(42), 1.0, 2))
            box = np.r_[random.uniform(0, 600), random.uniform(0, 440), side]
            rows.append((int(random.integers(1, CLASSES + 1)), box, random.beta(1, 6)))
        # A model's scores are float32.
        found += [
            {"image_id": image, "category_id": category, "bbox": box.tolist(), "score": float(np.float32(score))}
            for category, box, score in rows
        ]
    return found


def write(folder: Path, images: int) -> tuple[str, str]:
    """Writes instances.json and predictions.json, and returns their paths."""
    dataset = annotations(images)
    (folder / "instances.json").write_text(json.dumps(dataset))
    (folder / "predictions.json").write_text(json.dumps(predictions(dataset)))
    return str(folder / "instances.json"), str(folder / "predictions.json")
