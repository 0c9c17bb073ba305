"""Validation images with ground truth and detections drawn on them, as data URIs."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json
from beam_preprocess.base.storage import file_system
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations, scorable
from beam_preprocess.format.image_entries import inside_folder
from trainer.coco.analysis import Analysis
from trainer.coco.metrics import usable_box
from trainer.shared.draw import DETECTION_COLOUR, TRUTH_COLOUR, draw_detections
from trainer.shared.fixes import EVALUATE_AGAIN

LONGER_SIDE = 560
"""Pixels of a picture's longer side: sharp in a column of 300 on a dense screen, about 50 kB."""
SHOWN_HEIGHT, SHOWN_WIDTH = 308, 488
"""CSS pixels; the width is a maximum: two pictures per row."""
JPEG_QUALITY = 85
FIELDS = ("image_id", "category_id", "bbox", "score")
"""Keys of a detection in COCO results format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One figure of the gallery."""

    file_name: str
    image_id: int
    objects: int
    """Ground truth objects without crowd regions."""
    detections: int
    """Detections at or above the score threshold."""
    shown_width: int
    """CSS pixels, so that the pictures of a row have equal height."""
    data_uri: str
    """A JPEG; "" if the image could not be read."""
    problem: str
    """Why the image could not be read, or ""."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Pictures that were chosen for one reason."""

    title: str
    note: str
    pictures: tuple[Picture, ...]


def gallery(
    *,
    images: str,
    annotations: str,
    predictions: str,
    count: int,
    score_threshold: float,
    analysis: Analysis | None = None,
) -> tuple[Group, ...]:
    """The most instructive images: best, worst, most missed, most confused; without an analysis, an even choice.

    Args:
      images: URI of the folder.
      annotations: URI of the COCO annotation file.
      predictions: URI of the predictions in COCO results format.
      count: maximum number of pictures.
      score_threshold: detections below it are not drawn.
      analysis: counts per image, or None.

    Raises:
      InputError: a file is missing or has another format. An unreadable image becomes a picture with a problem.
    """
    coco = load_annotations(annotations)
    found = read_json(predictions, EVALUATE_AGAIN)
    if not isinstance(found, list) or not all(isinstance(d, dict) and {*FIELDS} <= set(d) for d in found):
        raise InputError(f"{predictions}: not a list of objects with {', '.join(FIELDS)}; {EVALUATE_AGAIN}")
    names = dict(coco.categories)
    file_names = dict(zip(coco.image_ids.tolist(), coco.file_names, strict=True))
    truths = _by_image(_truths(coco), file_names)
    kept = _by_image([detection for detection in found if detection["score"] >= score_threshold], file_names)
    ids = sorted(file_names)
    if analysis is None:
        rows = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
        note = "Spread evenly over the validation set, not chosen by result."
        chosen = [("", note, [ids[row] for row in rows])]
    else:
        chosen = _choose(analysis, max(1, count // 4))
    return tuple(
        Group(
            title=title,
            note=note,
            pictures=tuple(
                _picture(images, i, file_names[i], truths[i], kept[i], names) for i in shown if i in file_names
            ),
        )
        for title, note, shown in chosen
        if shown
    )


def _choose(analysis: Analysis, count: int) -> list[tuple[str, str, list[int]]]:
    """(title, note, image ids) of four groups; an image is in one group only."""
    wrong = {image.image_id: image.missed + image.false for image in analysis.images}
    missed = {image.image_id: image.missed for image in analysis.images}
    confused = {image.image_id: image.confused for image in analysis.images}
    faultless = {image.image_id: image.correct if not wrong[image.image_id] else 0 for image in analysis.images}
    groups = (
        ("Confused", "Images with the most objects that were found as another class.", confused),
        ("Missed", "Images with the most objects that were not found.", missed),
        ("Worst", "Images with the most errors: missed objects and false detections.", wrong),
        ("Best", "Images with the most objects, all found, and no false detection.", faultless),
    )
    chosen, taken = [], set[int]()
    for title, note, counts in groups:
        ids = [i for i in sorted(counts, key=lambda i: (-counts[i], i)) if counts[i] > 0 and i not in taken][:count]
        taken |= set(ids)
        chosen.append((title, note, ids))
    return chosen[::-1]


def _truths(coco: CocoAnnotations) -> list[dict[str, Any]]:
    """The annotations that are scored, as objects."""
    rows = np.flatnonzero(scorable(coco)).tolist()
    return [
        {
            "image_id": int(coco.annotation_image_ids[row]),
            "category_id": int(coco.annotation_category_ids[row]),
            "bbox": coco.bboxes[row].tolist(),
            "iscrowd": bool(coco.crowd[row]),
        }
        for row in rows
    ]


def _by_image(entries: Sequence[dict[str, Any]], images: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {image: [] for image in images}
    for entry in entries:
        if entry.get("image_id") in groups and usable_box(entry.get("bbox")):
            groups[entry["image_id"]].append(entry)
    return groups


def _picture(
    folder: str,
    image_id: int,
    file_name: str,
    truths: list[dict[str, Any]],
    detections: list[dict[str, Any]],
    names: Mapping[int, str],
) -> Picture:
    uri, problem = "", ""
    shown_width = SHOWN_HEIGHT
    try:
        pixels, zoom = _read(folder, file_name)
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())
    else:
        labels = ["crowd" if t["iscrowd"] else names.get(t["category_id"], "?") for t in truths]
        pixels = draw_detections(pixels, _boxes(truths) * zoom, labels, None, TRUTH_COLOUR, "bottom")
        labels = [names.get(d["category_id"], "?") for d in detections]
        scores = [d["score"] for d in detections]
        pixels = draw_detections(pixels, _boxes(detections) * zoom, labels, scores, DETECTION_COLOUR, "top")
        uri = _data_uri(pixels)
        shown_width = min(SHOWN_WIDTH, round(SHOWN_HEIGHT * pixels.shape[1] / pixels.shape[0]))
    return Picture(
        file_name=file_name,
        image_id=image_id,
        objects=sum(1 for t in truths if not t["iscrowd"]),
        detections=len(detections),
        shown_width=shown_width,
        data_uri=uri,
        problem=problem,
    )


def _read(folder: str, file_name: str) -> tuple[np.ndarray, float]:
    """(uint8 [H, W, 3], its pixels per original pixel), in the stored orientation, as everywhere."""
    from PIL import Image

    if not inside_folder(file_name):
        raise ValueError("not a path below the image folder")
    files, root = file_system(folder)
    with files.open(f"{root.rstrip('/')}/{file_name}", "rb") as file, Image.open(file) as image:
        zoom = min(1.0, LONGER_SIDE / max(image.size))
        # Draft mode decodes a JPEG at a fraction of its size; other formats ignore it.
        original = image.size
        image.draft("RGB", (LONGER_SIDE, LONGER_SIDE))
        size = max(1, round(original[0] * zoom)), max(1, round(original[1] * zoom))
        return np.asarray(image.convert("RGB").resize(size)), zoom


def _boxes(entries: Sequence[dict[str, Any]]) -> np.ndarray:
    """COCO boxes as float64 [N, 4], [ymin, xmin, ymax, xmax]."""
    corners = [(b[1], b[0], b[1] + b[3], b[0] + b[2]) for b in (entry["bbox"] for entry in entries)]
    return np.array(corners, np.float64).reshape(-1, 4)


def _data_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
