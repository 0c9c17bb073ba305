"""Annotation files of other tools: what they are, and how to export them as COCO. Standard library only."""

import csv
import os
import re
from collections.abc import Callable

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system, refusals
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations
from beam_preprocess.format.reasons import UnusableFile

_PEEK = 1 << 18
"""Number of bytes that are looked at."""

CONVERTERS = "FiftyOne, Datumaro or Roboflow"
"""Tools that read nearly every format and write COCO."""
LAYOUT = "the project needs COCO JSON with images, annotations and categories"


def read_annotations(uri: str) -> CocoAnnotations:
    """Parses a COCO annotation file; for a file of another format, the error names it and the way to COCO.

    Args:
      uri: local path or fsspec URI.

    Raises:
      InputError: see `load_annotations`.
    """
    try:
        return load_annotations(uri)
    except UnusableFile as problem:
        format_ = recognise(uri)
        if format_ is None:
            raise
        raise UnusableFile(problem.reason, f"{uri}: {format_}; {LAYOUT}") from problem
    except InputError as problem:
        format_ = recognise_folder(uri)
        if format_ is None:
            raise
        raise InputError(f"{uri}: {format_}; {LAYOUT}") from problem


def recognise(uri: str) -> str | None:
    """What a file that is not COCO is, and how to export it as COCO; None if unknown."""
    fs, path = file_system(uri)
    try:
        with fs.open(path, "rb") as file:
            text = file.read(_PEEK).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except refusals():
        return None
    for look in (_xml, _json, _yaml, _labels, _csv):
        if found := look(text):
            return found
    return None


def recognise_folder(folder: str) -> str | None:
    """What a local folder of annotation files is, and how to export it as COCO; None if unknown."""
    if not os.path.isdir(folder):
        return None
    names = sorted(os.listdir(folder))
    for name in ("data.yaml", "dataset.yaml", "classes.txt"):
        if name in names:
            return f"a folder of YOLO labels (it has {name}); {_YOLO}"
    for name in names[:20]:
        path = os.path.join(folder, name)
        if name.lower().endswith((".xml", ".txt", ".json", ".csv")) and os.path.isfile(path):
            found = recognise(path)
            if found:
                return f"a folder with files such as {name}: {found}"
    return None


_YOLO = (
    "export it as COCO from the labelling tool, or convert it: "
    f"{CONVERTERS} read YOLO (class x_centre y_centre width height, as fractions) and write COCO"
)


def _xml(text: str) -> str | None:
    if not text.startswith("<"):
        return None
    if re.search(r"<annotations\b", text):
        return 'CVAT XML; in CVAT choose "Export dataset" and the format "COCO 1.0"'
    if re.search(r"<annotation\b", text):
        return (
            "Pascal VOC XML, one file per image; export COCO from the labelling tool, or convert the folder with "
            f"{CONVERTERS}"
        )
    return "XML, not JSON"


def _json(text: str) -> str | None:
    """JSON of other tools. It is known by its keys, because only the file's beginning is read."""
    if not text.startswith(("{", "[")):
        return None

    def has(*keys: str) -> bool:
        return all(re.search(rf'"{key}"\s*:', text) for key in keys)

    in_list = text.startswith("[")
    known: tuple[tuple[Callable[[], bool], str], ...] = (
        (
            lambda: (
                in_list and (has("data", "annotations") or has("data", "completions") or has("data", "predictions"))
            ),
            'Label Studio JSON; in Label Studio choose "Export" and the format "COCO"',
        ),
        (
            lambda: in_list and (has("rectanglelabels") or has("annotation_id", "lead_time")),
            'Label Studio JSON-MIN; in Label Studio choose "Export" and the format "COCO"',
        ),
        (
            lambda: in_list and has("image_id", "category_id", "score"),
            "a COCO result file (detections), not a data set",
        ),
        (
            lambda: in_list and has("image", "annotations", "coordinates"),
            f"CreateML JSON; export COCO from the labelling tool, or convert it with {CONVERTERS}",
        ),
        (
            lambda: has("shapes", "imagePath"),
            "LabelMe JSON, one file per image; convert the folder with labelme2coco (labelme's examples) or "
            f"{CONVERTERS}",
        ),
        (
            lambda: has("_via_settings") or has("regions", "filename"),
            'a VGG Image Annotator (VIA) project; in VIA choose "Annotation", "Export Annotations (COCO format)"',
        ),
        (
            lambda: has("imageGcsUri") or has("boundingBoxAnnotations"),
            f"a Vertex AI import file (JSONL); export COCO from the labelling tool, or convert it with {CONVERTERS}",
        ),
        (lambda: has("categories", "items"), 'Datumaro JSON; run "datum convert" with the format "coco"'),
        (
            lambda: has("samples") or has("sampleFields"),
            "a FiftyOne data set; export it with the type COCODetectionDataset",
        ),
        (
            lambda: has("segments_info"),
            "a COCO panoptic file; use the instances file of the same data set",
        ),
        (
            lambda: has("caption") and not has("bbox"),
            "a COCO captions file; use the instances file of the same data set",
        ),
    )
    return next((words for test, words in known if test()), None)


def _yaml(text: str) -> str | None:
    if re.search(r"^(names|nc)\s*:", text, re.MULTILINE) and re.search(r"^(train|val|path)\s*:", text, re.MULTILINE):
        return f"YOLO's data.yaml; {_YOLO}"
    return None


def _labels(text: str) -> str | None:
    lines = [line.split() for line in text.splitlines()[:20] if line.strip()]
    if lines and all(len(line) >= 5 and all(re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", v) for v in line) for line in lines):
        return f"YOLO labels of one image; {_YOLO}"
    return None


def _csv(text: str) -> str | None:
    first = text.partition("\n")[0]
    try:
        columns = {column.strip().lower() for column in next(csv.reader([first]), [])}
    except csv.Error:
        return None
    if len(columns) > 3 and columns & {"xmin", "x1", "x_min", "bbox", "imageid", "filename"}:
        return f"a CSV table ({first.strip()[:80]}); convert it with {CONVERTERS}"
    return None
