"""Checks a data set before any long work: annotations, folders, images, digests. No Beam, no TensorFlow."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset import near_duplicates, warnings
from beam_preprocess.dataset.foreign import read_annotations
from beam_preprocess.dataset.image_check import ImageChecker, check_images
from beam_preprocess.dataset.sizes import measure
from beam_preprocess.dataset.validate import drop_missing, exceeded_limit, validate_boxes, validate_images
from beam_preprocess.dataset.warnings import Finding
from beam_preprocess.format import fingerprints
from beam_preprocess.format.annotations import CocoAnnotations, area_range, class_map, scorable
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Category
from beam_preprocess.format.reasons import Action, Reason, Reject, count_by_reason
from beam_preprocess.format.scored_file import unscorable
from beam_preprocess.format.sources import data_digest, list_images, usable_names

Depth = Literal["headers", "pixels"]

EXAMPLES = 3
"""Maximum number of rejects that the report lists per reason."""


def check_data(
    *,
    train_images: str,
    train_annotations: str,
    val_images: str,
    val_annotations: str,
    config: PreprocessConfig,
    num_workers: int = 1,
    strict: bool = False,
) -> dict[str, Any]:
    """Validates both splits and refuses data above a reject limit: the first step of a run.

    Prints a line "warning: …" for everything suspicious.

    Reads every image's bytes for the digest. Training images: also the header, for format and size; in a bucket, only
    the listing. Preprocessing finds out whether they can be decoded. No stage before the export reads the validation
    images, so they are decoded here: one that can't be is refused before the training, not after it.

    Args:
      train_images: folder of training images, a path or URI.
      train_annotations: COCO annotation file, a path or URI.
      val_images: folder of validation images.
      val_annotations: COCO annotation file.
      config: the `preprocess:` section.
      num_workers: number of threads that decode.
      strict: makes warnings errors.

    Returns:
      See `examine`.

    Raises:
      InputError: see `examine`; or a reject limit is exceeded (`validate.check_limits`); or, with `strict`, a warning.
    """
    sources = {"train": (train_images, train_annotations), "val": (val_images, val_annotations)}
    report = examine(sources, config, depth={"train": "headers", "val": "pixels"}, num_workers=num_workers)
    for split in sources:
        if report[split]["over_limit"]:
            raise InputError(report[split]["over_limit"])
    warnings.refuse([Finding(**finding) for finding in report["warnings"]], strict=strict)
    for finding in report["warnings"]:
        print(f"warning: {finding['message']}", flush=True)
    return report


def examine(
    sources: Mapping[str, tuple[str, str]],
    config: PreprocessConfig,
    *,
    depth: Depth | Mapping[str, Depth] = "pixels",
    num_workers: int = 1,
) -> dict[str, Any]:
    """Validates one split or both.

    Args:
      sources: (image folder, annotation file) by split: "train", "val" or both; paths or URIs.
      config: the `preprocess:` section.
      depth: of both splits, or by split: "pixels" decodes every image, as preprocessing does; "headers" does not, and
        in a bucket reads only the listing.
      num_workers: number of threads that decode.

    Returns:
      {"categories": [{"index", "id", "name"}], "num_classes": int, "warnings": [{"code", "message", "error"}], whose
      errors were raised instead}, and for each split a mapping of image_folder, annotations, images, boxes, objects and
      crowds (train: those that the records will hold; val: those that are scored), data_digest, depth (what was read:
      "listing", "headers" or "pixels"), rejects (by reason), examples (by reason), over_limit (a message if a reject
      limit is exceeded or a validation annotation cannot be scored, or null), class_histogram, size_histogram,
      sizes (of objects at the network's input, see `sizes.Sizes`, or null), and fingerprints (by file name, where
      pixels were read).

    Raises:
      InputError: a missing or malformed file, no image in common between folder and annotations, categories that
        differ between the splits, no usable box for training or validation, or data that cannot mean what it says
        (see `warnings`).
    """
    parsed, categories, num_classes, findings = examine_annotations(sources, config)
    report: dict[str, Any] = {
        "categories": [{"index": c.index, "id": c.id, "name": c.name} for c in categories],
        "num_classes": num_classes,
    }
    depths = dict.fromkeys(parsed, depth) if isinstance(depth, str) else depth
    checked = {
        split: check_split(
            split,
            sources[split][0],
            coco,
            categories,
            config,
            depths[split],
            num_workers,
        )
        for split, coco in parsed.items()
    }
    if len(checked) == 2:
        findings += _compared(checked["train"], checked["val"])
    for split, part in checked.items():
        report[split] = part.report
        findings += part.findings
    warnings.refuse(findings)
    report["warnings"] = warnings.as_report(findings)
    return report


def examine_annotations(
    sources: Mapping[str, tuple[str, str]], config: PreprocessConfig
) -> tuple[dict[str, CocoAnnotations], tuple[Category, ...], int, list[Finding]]:
    """The part of `examine` that opens no image.

    Returns:
      (the parsed files by split, categories, number of heatmap channels, warnings).

    Raises:
      InputError: a missing or malformed file, categories that differ between the splits, or data that cannot mean what
        it says.
    """
    parsed = {split: read_annotations(annotations) for split, (_, annotations) in sources.items()}
    first = next(iter(parsed.values()))
    categories, num_classes = class_map(first.categories, config.class_index)
    for other in list(parsed.values())[1:]:
        class_map(other.categories, config.class_index)
        _check_categories(first, other, config)
    findings = warnings.of_annotations(parsed, {split: images for split, (images, _) in sources.items()}, config)
    warnings.refuse(findings)
    return parsed, categories, num_classes, findings


def _compared(train: "CheckedSplit", val: "CheckedSplit") -> list[Finding]:
    """Images that are in both splits, or look as if they were."""
    findings = warnings.shares_images(train.states, val.states)
    same = set(train.states.values())
    others = {name: code for name, code in val.fingerprints.items() if val.states.get(name) not in same}
    pairs, compared = fingerprints.near_duplicates(train.fingerprints, others)
    if pairs:
        message = near_duplicates.warning(pairs, compared, others)
        findings.append(Finding(code="near_duplicates", message=message))
    return findings


def _check_categories(train: CocoAnnotations, val: CocoAnnotations, config: PreprocessConfig) -> None:
    known, wanted = dict(train.categories), dict(val.categories)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise InputError(
            f"{val.uri}: the category ids {unknown} are not in {train.uri}; give both files the same categories"
        )
    missing = sorted(set(known) - set(wanted))
    if missing and config.class_index == "rank":
        # Class indices are ranks within a file: with fewer categories they would mean other classes.
        raise InputError(
            f"{val.uri}: lacks the category ids {missing} of {train.uri}; give both files the same categories"
        )
    for category_id, name in sorted(wanted.items()):
        if known[category_id] != name:
            raise InputError(
                f"{val.uri}: category {category_id} is {name!r}, but {known[category_id]!r} in {train.uri}; "
                "give both files the same categories"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSplit:
    """What was found in one split."""

    report: dict[str, Any]
    """The split's part of the report."""
    findings: list[Finding]
    states: dict[str, tuple[int, int]]
    """(size in bytes, checksum) by file name, of the images that can be used."""
    fingerprints: dict[str, str]
    """By file name, where pixels were decoded."""


def check_split(
    split: str,
    images: str,
    coco: CocoAnnotations,
    categories: Sequence[Category],
    config: PreprocessConfig,
    depth: Depth = "headers",
    num_workers: int = 1,
) -> CheckedSplit:
    """One split of `examine`."""
    keep_images, rejects = validate_images(coco)
    names = usable_names(coco, keep_images, rejects, images)
    files = list_images(images, names, coco.uri)
    keep_images, missing = drop_missing(coco, keep_images, files, images)
    rejects += missing
    checker = ImageChecker(images, coco, depth)
    found = check_images(checker, np.flatnonzero(keep_images).tolist(), f"checking {split} images", num_workers)
    rejects += found.rejects
    keep_boxes, boxes, box_rejects = validate_boxes(coco, keep_images, config.min_box_side)
    rejects += box_rejects
    dropped = [reject.image_id for reject in found.rejects if reject.reason.action is Action.DROPPED]
    keep_images &= ~np.isin(coco.image_ids, np.array(dropped, np.int64))
    # The boxes of an unreadable image are dropped with it, after they were validated, as preprocessing does it.
    keep_boxes &= np.isin(coco.annotation_image_ids, coco.image_ids[keep_images])
    counts = count_by_reason(rejects)
    over_limit = exceeded_limit(
        split,
        images=len(coco.image_ids),
        boxes=len(coco.annotation_ids),
        rejects=counts,
        max_fraction=config.max_reject_fraction,
        where=f"first: {_first_dropped(rejects)}",
    )
    used = keep_boxes
    if split == "val":
        # What is scored, not what the records hold: the gate compares this number with the evaluation's.
        used = scorable(coco)
        over_limit = "; ".join(filter(None, (over_limit, unscorable(coco)))) or None
    objects = used & ~coco.crowd
    boxes_to_blame = split == "train" and any(reject.reason.action is Action.DROPPED for reject in box_rejects)
    if not objects.any() and (boxes_to_blame or not over_limit):  # whose message names the images' reasons
        raise InputError(no_objects(split, coco, keep_images, box_rejects))
    of_class = Counter(coco.annotation_category_ids[objects].tolist())
    of_size = Counter(area_range(box) for box in boxes[objects].tolist())
    class_histogram: Counter[str] = Counter()
    for category in categories:
        class_histogram[category.name] += of_class[category.id]
    sizes = measure(coco, objects, boxes, config)
    report = {
        "image_folder": images,
        "annotations": coco.uri,
        "images": len(coco.image_ids),
        "boxes": len(coco.annotation_ids),
        "objects": int(objects.sum()),
        "crowds": int((used & coco.crowd).sum()),
        "data_digest": data_digest(coco.content_digest, names, files),
        "depth": checker.depth,
        "rejects": counts,
        "examples": _examples(rejects),
        "over_limit": over_limit,
        "class_histogram": dict(class_histogram),
        "size_histogram": {name: of_size[name] for name in ("small", "medium", "large")},
        "sizes": sizes.to_mapping() if sizes else None,
        "fingerprints": found.fingerprints,
    }
    findings = warnings.of_images(split, report, found.turned)
    if sizes and sizes.suspicious:
        findings.append(Finding(code="small_objects", message=sizes.warning(split)))
    return CheckedSplit(
        report=report,
        findings=findings,
        states={name: (f.size, f.crc32c) for name, f in files.items() if f.crc32c is not None},
        fingerprints=found.fingerprints,
    )


def no_objects(split: str, coco: CocoAnnotations, keep_images: np.ndarray, rejects: Sequence[Reject]) -> str:
    """The message for a split without a single usable object: which of the causes it is, and what to do."""
    use = "training" if split == "train" else "validation"
    what = f"{coco.uri}: no usable box for {use}"
    total = len(coco.annotation_ids)
    if not total:
        return f"{what}: its 'annotations' are empty; annotate objects, or give another file"
    if coco.crowd.all():
        return f"{what}: all {total} annotations are crowd regions (iscrowd 1); set iscrowd 0 for single objects"
    rejects = [reject for reject in rejects if reject.reason.action is Action.DROPPED]
    counts = count_by_reason(rejects)
    if not counts:
        dropped = int((~keep_images).sum())
        return f"{what}: its boxes are on the {dropped} images that cannot be used; repair those images"
    reasons = ", ".join(f"{code} {count}" for code, count in counts.items())
    fix = _FIXES.get(max(counts, key=lambda code: counts[code]), "correct the boxes, or export them again")
    return f"{what}: its {total} annotations were rejected ({reasons}; first: {rejects[0]}); {fix}"


_FIXES = {
    Reason.UNKNOWN_IMAGE.value: "image_id must be the id of an entry of 'images': export the file again",
    Reason.UNKNOWN_CATEGORY.value: "category_id must be the id of an entry of 'categories': export the file again",
    Reason.WRONG_LENGTH.value: "bbox must be [x, y, width, height], four numbers in pixels",
    Reason.NOT_FINITE.value: "bbox must be [x, y, width, height], four numbers in pixels",
    Reason.NON_POSITIVE_SIDE.value: "width and height must be positive: are these x1, y1, x2, y2 with swapped corners?",
    Reason.OUTSIDE_IMAGE.value: "x and y are pixels from the top left of the image: is this the file of other images?",
    Reason.BOX_TOO_SMALL.value: "are these fractions of the image? COCO's bbox is in pixels",
}
"""Reason code to what to do when it rejected most boxes of a split."""


def _first_dropped(rejects: Sequence[Reject]) -> str:
    return next((str(reject) for reject in rejects if reject.reason.action is Action.DROPPED), "none")


def _examples(rejects: Sequence[Reject]) -> dict[str, list[str]]:
    examples: dict[str, list[str]] = {}
    for reject in rejects:
        of_reason = examples.setdefault(reject.reason.value, [])
        if len(of_reason) < EXAMPLES:
            of_reason.append(str(reject))
    return examples
