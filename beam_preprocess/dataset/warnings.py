"""What is suspicious in data that can be read: findings that a user should see before paying for a training.

An error is data that cannot mean what it says; it ends the check. A warning is printed and kept in the report, and
`--strict` makes it an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset import suspicious_boxes, suspicious_classes
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.config import PreprocessConfig

EXAMPLES = 3
"""Maximum number of names that a message lists."""
COUNTED_BY_AP = 100
"""Detections per image that pycocotools counts, and the default of max_detections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One suspicious thing."""

    code: str
    message: str
    """What it is, with the first names or values, and what to do about it."""
    error: bool = False
    """Whether the data cannot mean what it says."""


def of_annotations(
    parsed: Mapping[str, CocoAnnotations], folders: Mapping[str, str], config: PreprocessConfig
) -> list[Finding]:
    """What the annotation files alone show, without opening an image.

    Args:
      parsed: the file of one split or of both, by "train" and "val".
      folders: their image folders.
      config: the `preprocess:` section.
    """
    findings = [*_leak(parsed, folders), *_class_index(parsed, config)]
    for coco in parsed.values():
        findings += [Finding(code=c, message=m, error=e) for c, m, e in suspicious_boxes.found(coco)]
    findings += [Finding(code=c, message=m) for c, m in suspicious_classes.found(parsed)]
    for split, coco in parsed.items():
        findings += [*_repeated_ids(coco), *_crowded(split, coco)]
    return findings


def refuse(findings: Sequence[Finding], *, strict: bool = False) -> None:
    """Ends the work if there is an error, or with `strict` any finding.

    Raises:
      InputError: the first one, and how many more there are.
    """
    worst = [finding for finding in findings if finding.error] or (list(findings) if strict else [])
    if not worst:
        return
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    origin = "" if worst[0].error else "; --strict makes this warning an error"
    raise InputError(f"{worst[0].message}{origin}{more}")


def as_report(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON values."""
    return [asdict(finding) for finding in findings]


def block(messages: Sequence[str]) -> str:
    """The block of warnings for the terminal; "" without warnings."""
    return "\n".join(["warnings:", *(f"  - {message}" for message in messages)]) if messages else ""


def shares_images(train: Mapping[str, tuple[int, int]], val: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Images that are in both splits, byte for byte.

    Args:
      train: (size in bytes, checksum) by file name, of the images that can be used.
      val: likewise.
    """
    name_of = {state: name for name, state in train.items()}
    pairs = [(name, name_of[state]) for name, state in val.items() if state in name_of]
    if not pairs:
        return []
    shown = "; ".join(name if name == other else f"{name} is {other} of train" for name, other in pairs[:EXAMPLES])
    if len(pairs) == len(val):
        message = (
            f"all {len(val)} validation images are training images as well (by checksum: {shown}); the score would "
            "measure memory: give validation images that training does not see"
        )
        return [Finding(code="same_images", message=message, error=True)]
    message = (
        f"{len(pairs)} of {len(val)} validation images are training images as well (by checksum: {shown}); they raise "
        "the score: remove them from one split"
    )
    return [Finding(code="images_in_both_splits", message=message)]


def of_images(split: str, part: Mapping[str, Any], turned: Sequence[str]) -> list[Finding]:
    """What reading the images of one split shows.

    Args:
      split: "train" or "val".
      part: the split's part of the report.
      turned: names of images with an EXIF orientation whose sizes agree with the annotations.
    """
    findings = []
    if turned:
        message = (
            f"{split}: {len(turned)} images have an EXIF orientation, and their sizes agree with the annotations "
            f"({_some(turned)}); pixels are used as stored: if the labelling tool showed them turned, the boxes are "
            "wrong; turn the pixels and remove the tag"
        )
        findings.append(Finding(code="exif_orientation", message=message))
    for code, count in part["rejects"].items():
        if "black" in code:
            first = part["examples"][code][0]
            message = (
                f"{split}: {count} 16-bit images come out nearly black, because only the high byte is kept ({first}); "
                "stretch 10- or 12-bit data to 16 bits, or convert the images to 8 bits"
            )
            findings.append(Finding(code=code, message=message))
    return findings


def _leak(parsed: Mapping[str, CocoAnnotations], folders: Mapping[str, str]) -> list[Finding]:
    if len(parsed) < 2:
        return []
    train, val = parsed["train"], parsed["val"]
    if train.uri == val.uri or train.content_digest == val.content_digest:
        where = train.uri if train.uri == val.uri else f"{train.uri} and {val.uri}"
        message = (
            f"{where}: the same annotation file for train and val; the score would measure memory: give validation "
            "its own images, or split one file with `centernet run --val-fraction 0.2`"
        )
        return [Finding(code="same_file", message=message, error=True)]
    if folders["train"].rstrip("/") != folders["val"].rstrip("/"):
        return []  # the same names in two folders are usually two images; the checksums decide
    names = set(train.file_names)
    common = [name for name in val.file_names if name in names]
    if len(common) < len(val.file_names):
        return []  # a part: the checksums find it as well
    message = (
        f"{val.uri}: all {len(common)} validation images are training images as well ({_some(common)}); the score "
        "would measure memory: give validation images that training does not see"
    )
    return [Finding(code="same_images", message=message, error=True)]


def _class_index(parsed: Mapping[str, CocoAnnotations], config: PreprocessConfig) -> list[Finding]:
    if config.class_index != "id-minus-1":
        return []
    for coco in parsed.values():
        largest, classes = max(category_id for category_id, _ in coco.categories), len(coco.categories)
        if largest >= 1000 and largest > 2 * classes:
            message = (
                f"{coco.uri}: category id {largest} with class_index id-minus-1 makes {largest} heatmap channels for "
                f"{classes} categories; use --class-index rank (preprocess.class_index)"
            )
            return [Finding(code="class_index_ids", message=message, error=True)]
    return []


def _repeated_ids(coco: CocoAnnotations) -> list[Finding]:
    ids, counts = np.unique(coco.annotation_ids, return_counts=True)
    repeated = ids[counts > 1]
    if not len(repeated):
        return []
    extra = int(counts.sum() - len(ids))
    message = (
        f"{coco.uri}: {extra} of {len(coco.annotation_ids)} annotations repeat an id ({_some(repeated.tolist())}); "
        "all of them are used, because nothing here needs the ids, but other tools may drop them: renumber the "
        "annotations"
    )
    return [Finding(code="repeated_annotation_ids", message=message)]


def _crowded(split: str, coco: CocoAnnotations) -> list[Finding]:
    """Images with more objects than AP and the served model count."""
    of_image = Counter(coco.annotation_image_ids[~coco.crowd].tolist())
    crowded = [(count, image_id) for image_id, count in of_image.items() if count > COUNTED_BY_AP]
    if not crowded:
        return []
    most, image_id = max(crowded)
    objects = sum(of_image.values())
    possible = sum(min(count, COUNTED_BY_AP) for count in of_image.values()) / objects
    message = (
        f"{split}: {len(crowded)} images have more than {COUNTED_BY_AP} objects (image {image_id} has {most}). AP, as "
        f"pycocotools defines it, counts the {COUNTED_BY_AP} best detections of an image: at most {possible:.0%} of "
        "these objects can be found. The exported model returns at most "
        "task.model.detection_generator.max_detections (100): raise it for serving, or cut the images into tiles"
    )
    return [Finding(code="more_than_100_objects", message=message)]


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:EXAMPLES]))
    return f"{shown}, …" if len(values) > EXAMPLES else shown
