"""Which validation images the report shows, with ground truth and detections on them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_json
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations, scorable
from trainer.coco.analysis import Analysis
from trainer.coco.label_errors import KINDS, Finding
from trainer.coco.metrics import usable_box
from trainer.report.pictures import Mark, Picture, Row, around, drawn, rows_of
from trainer.shared.draw import DETECTION_COLOUR, TRUTH_COLOUR, Colour
from trainer.shared.fixes import EVALUATE_AGAIN

FIELDS = ("image_id", "category_id", "bbox", "score")
"""Keys of a detection in COCO results format."""
OTHER_COLOUR: Colour = (150, 155, 165)
"""Annotated boxes that are not in question."""
Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Pictures that were chosen for one reason."""

    title: str
    note: str
    rows: tuple[Row, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them."""
        return tuple(picture for row in self.rows for picture in row.pictures)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Validation images, their annotations and the model's detections."""

    images: str
    """URI of the folder."""
    coco: CocoAnnotations
    """The annotation file."""
    predictions: list[Entry]
    """COCO results format."""

    @classmethod
    def read(cls, *, images: str, annotations: str, predictions: str) -> "Scene":
        """Reads both files.

        Raises:
          InputError: a file is missing or has another format.
        """
        coco = load_annotations(annotations)
        found = read_json(predictions, EVALUATE_AGAIN)
        if not isinstance(found, list) or not all(isinstance(d, dict) and {*FIELDS} <= set(d) for d in found):
            raise InputError(f"{predictions}: not a list of objects with {', '.join(FIELDS)}; {EVALUATE_AGAIN}")
        return cls(images=images, coco=coco, predictions=found)

    @property
    def names(self) -> dict[int, str]:
        """Category id to name."""
        return dict(self.coco.categories)

    @property
    def files(self) -> dict[int, str]:
        """Image id to the image's file name, by id."""
        return dict(sorted(zip(self.coco.image_ids.tolist(), self.coco.file_names, strict=True)))

    @property
    def truths(self) -> dict[int, list[Entry]]:
        """Image id to the annotations that are scored."""
        coco = self.coco
        groups: dict[int, list[Entry]] = {image: [] for image in coco.image_ids.tolist()}
        for row in np.flatnonzero(scorable(coco)).tolist():
            groups[int(coco.annotation_image_ids[row])].append(
                {
                    "category_id": int(coco.annotation_category_ids[row]),
                    "bbox": coco.bboxes[row].tolist(),
                    "iscrowd": bool(coco.crowd[row]),
                }
            )
        return groups


def gallery(scene: Scene, *, count: int, score_threshold: float, analysis: Analysis | None = None) -> tuple[Group, ...]:
    """The most instructive images: best, worst, most missed, most confused; without an analysis, an even choice.

    An unreadable image becomes a picture with a problem.

    Args:
      scene: the images.
      count: maximum number of pictures.
      score_threshold: detections below it are not drawn.
      analysis: counts per image, or None.
    """
    files, names, truths = scene.files, scene.names, scene.truths
    kept = _by_image([found for found in scene.predictions if found["score"] >= score_threshold], files)
    if analysis is None:
        rows = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
        note = "Spread evenly over the validation set, not chosen by result."
        chosen = [("", note, [list(files)[row] for row in rows])]
    else:
        chosen = _choose(analysis, max(1, count // 4))
    return tuple(
        Group(
            title=title,
            note=note,
            rows=rows_of([_picture(scene.images, i, files[i], truths[i], kept[i], names) for i in ids if i in files]),
        )
        for title, note, ids in chosen
        if ids
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


def _by_image(found: Sequence[Entry], images: Iterable[int]) -> dict[int, list[Entry]]:
    groups: dict[int, list[Entry]] = {image: [] for image in images}
    for entry in found:
        if entry.get("image_id") in groups and usable_box(entry.get("bbox")):
            groups[entry["image_id"]].append(entry)
    return groups


def _picture(
    folder: str,
    image_id: int,
    file_name: str,
    truths: list[Entry],
    detections: list[Entry],
    names: Mapping[int, str],
) -> Picture:
    marks = [
        Mark(
            box=tuple(t["bbox"]),
            label="crowd" if t["iscrowd"] else names[t["category_id"]],
            colour=TRUTH_COLOUR,
            edge="bottom",
        )
        for t in truths
    ]
    marks += [
        Mark(box=tuple(d["bbox"]), label=names.get(d["category_id"], "?"), colour=DETECTION_COLOUR, score=d["score"])
        for d in detections
    ]
    objects = sum(1 for t in truths if not t["iscrowd"])
    caption = f"{_counted(objects, 'object')}, {_counted(len(detections), 'detection')}"
    return _made(folder, image_id, file_name, marks, caption, objects=objects, detections=len(detections))


def suspects(scene: Scene, findings: Sequence[Finding], *, count: int) -> tuple[Row, ...]:
    """Pictures of the most suspicious boxes, cut out of their images; the annotated box and the model's.

    Each kind has its share of the pictures, if it has that many findings.

    Args:
      scene: the images.
      findings: most suspicious first.
      count: maximum number of pictures.
    """
    files, names, truths = scene.files, scene.names, scene.truths
    sizes = dict(zip(scene.coco.image_ids.tolist(), scene.coco.image_sizes.tolist(), strict=True))
    pictures = []
    for finding in _mixed(findings, count):
        boxes = [box for box in (finding.bbox, finding.suggested_bbox) if box]
        marks = [
            Mark(box=tuple(t["bbox"]), label="", colour=OTHER_COLOUR)
            for t in truths[finding.image_id]
            if t["bbox"] != finding.bbox
        ]
        if finding.bbox is not None:
            label = f"annotated {names.get(finding.category_id or 0, '?')}"
            marks.append(Mark(box=_box(finding.bbox), label=label, colour=TRUTH_COLOUR, edge="bottom"))
        if finding.suggested_bbox is not None:
            label = f"found {names.get(finding.suggested_category_id or 0, '?')}"
            marks.append(
                Mark(box=_box(finding.suggested_bbox), label=label, colour=DETECTION_COLOUR, score=finding.score)
            )
        caption = f"{finding.kind}, suspicion {finding.suspicion:.2f}"
        height, width = sizes[finding.image_id]
        part = around(boxes, width=width, height=height)
        i, cut = finding.image_id, part if min(part[2:]) >= 1 else None
        pictures.append(_made(scene.images, i, files[i], marks, caption, cut))
    return rows_of(pictures) if pictures else ()


def _mixed(findings: Sequence[Finding], count: int) -> list[Finding]:
    """The first findings of each kind, then the first of the others, most suspicious first."""
    places: list[int] = []
    for kind in KINDS:
        places += [i for i, finding in enumerate(findings) if finding.kind == kind][: count // len(KINDS)]
    places += [i for i in range(len(findings)) if i not in {*places}][: max(0, count - len(places))]
    return [findings[i] for i in sorted(places)]


def _box(values: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = values
    return x, y, width, height


def _made(
    folder: str,
    image_id: int,
    file_name: str,
    marks: Sequence[Mark],
    caption: str,
    part: tuple[float, float, float, float] | None = None,
    **counts: int,
) -> Picture:
    """The picture, with a problem instead of pixels if the image can't be read."""
    uri, aspect, problem = "", 1.0, ""
    try:
        uri, aspect = drawn(folder, file_name, marks, part)
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())
    return Picture(
        file_name=file_name,
        image_id=image_id,
        caption=caption,
        data_uri=uri,
        problem=problem,
        aspect=aspect,
        **counts,
    )


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
