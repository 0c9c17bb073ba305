"""Scores an exported model on original images, through its own serving signature.

What is measured is what ships: the SavedModel gets the bytes of the image files, and every image of the annotation file
goes through it exactly once.

predictions.json   detections in COCO results format
analysis.json      where AP is lost
matches.npz        what the gate's bootstrap needs
smoke.json         images with their detections, to test a deployment with
profile.npz        what images and detections look like, to compare new images with
evaluation.json    the numbers; written last
"""

import hashlib
import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_bytes
from beam_preprocess.base.json import parse
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.scored_file import load_scored
from beam_preprocess.format.sources import whole_digest
from trainer.coco import match_table
from trainer.coco import metrics as coco_metrics
from trainer.coco.error_kinds import analyse
from trainer.coco.results import Results, joined
from trainer.promotion.classes import Classes, match_classes
from trainer.promotion.evaluation import ANALYSIS, EVALUATION, MATCHES, PREDICTIONS, PROFILE, SMOKE, Evaluation
from trainer.promotion.smoke import IMAGE_BYTES
from trainer.registry.digest import model_digest
from trainer.saved_model.inference import (
    Signature,
    detect,
    load_model,
    read_image,
    read_label_map,
    results_of,
    signature_of,
)
from trainer.saved_model.layout import FEATURES, PARITY, SERVED
from trainer.saved_model.profiling import measure_profile
from trainer.saved_model.smoke_images import record_smoke

PROGRESS_SECONDS = 5.0


def evaluate(
    *,
    model: str,
    images: str,
    annotations: str,
    output: str,
    data_digest: str = "",
    batch_size: int = 8,
    signature_name: str = SERVED,
    latency_calls: int = 10,
    all_classes: bool = False,
    profile: bool = True,
) -> Evaluation:
    """Runs the model over all images of an annotation file and scores it as pycocotools does.

    The model's classes are matched to the file's by name: ids are a file's own affair. Detections of classes that are
    not matched are counted and not scored.

    Args:
      model: SavedModel folder.
      images: folder of the images.
      annotations: COCO annotation file.
      output: folder for PREDICTIONS, ANALYSIS, MATCHES, SMOKE, PROFILE and EVALUATION.
      data_digest: what the data check computed for images and annotations, which must not have changed since; "" if
        there was none.
      batch_size: images per call of the signature.
      signature_name: signature to score. Others than the served one are for experiments: the gate holds them.
      latency_calls: number of single-image calls to time; 0 measures no latency.
      all_classes: a class of the file that the model does not know is an error, as it is for a model that was trained
        for this data.
      profile: write PROFILE, too, which only a model that may be promoted needs.

    Raises:
      InputError: a setting is out of range; the classes do not match; the data is not that of the digest; the
        annotation file has entries that cannot be scored; or an image is missing, unreadable or of another size than in
        the annotation file, so that the score would no longer be comparable.
    """
    if batch_size < 1:
        raise InputError(f"--batch-size {batch_size}: use 1 or more")
    if latency_calls < 0:
        raise InputError(f"--latency-calls {latency_calls}: use 0 or more")
    started = time.monotonic()
    coco = load_scored(annotations)
    classes = _classes(model, coco)
    if all_classes and (classes.only_in_data or classes.ambiguous):
        raise InputError(f"{model}: was not made for {annotations}: {classes.to_text()}; train it on these classes")
    digest = whole_digest(images, coco)
    if data_digest not in ("", digest):
        raise InputError(f"{annotations}: it or its images changed since the data check; start the run again")
    loaded = load_model(model)
    signature = signature_of(loaded, model, signature_name)
    predictions, scored = _predictions(signature, coco, images, batch_size)
    known = predictions.renumbered(classes.to_file)
    classes = replace(classes, detections_unscored=len(predictions) - len(known))
    if text := classes.to_text():
        print(f"warning: classes of {model} and {annotations} are matched by name; {text}", flush=True)
    result = coco_metrics.score_arrays(coco, known, scored)
    files = {
        PREDICTIONS: known.to_json(),
        ANALYSIS: analyse(result).to_json().encode(),
        MATCHES: match_table.to_bytes(match_table.from_scored(result)),
    }
    parity, own_digest = _parity(model), model_digest(model)
    if signature_name == SERVED:
        label_map = read_label_map(model)
        smoke = record_smoke(
            signature, coco, images, predictions, model_digest=own_digest, label_map=label_map, parity=parity
        )
        if smoke is None:
            print(
                f"warning: {SMOKE}: not written: no image is below {IMAGE_BYTES:,} bytes, or all are WebP", flush=True
            )
        else:
            files[SMOKE] = smoke.to_json().encode()
        if profile and coco.file_names:
            measured = measure_profile(
                signature_of(loaded, model, FEATURES, SERVED),
                coco,
                images,
                model_digest=own_digest,
                data_digest=digest,
                label_map=label_map,
                batch_size=batch_size,
            )
            files[PROFILE] = measured.to_bytes()
    evaluation = replace(
        Evaluation.from_metrics(
            result.metrics, model=model, data_digest=digest, seconds=round(time.monotonic() - started, 3)
        ),
        classes=classes,
        signature=signature_name,
        model_digest=own_digest,
        latency_ms=_latency_ms(signature, [_path(images, name) for name in coco.file_names], latency_calls),
        parity=parity,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    for name, content in files.items():
        write_bytes(os.path.join(output, name), content)
    # Last: a reader that finds it finds the others.
    write_bytes(os.path.join(output, EVALUATION), evaluation.to_json().encode())
    ap, ap50 = evaluation.metrics["ap"], evaluation.metrics["ap50"]
    print(
        f"result: AP {_number(ap)}, AP50 {_number(ap50)} on {len(scored)} of {len(coco.file_names)} images",
        flush=True,
    )
    return evaluation


def score_table(evaluation: Evaluation) -> str:
    """One line per metric, and the latency."""
    lines = [f"{name:10s} {_number(value)}" for name, value in evaluation.metrics.items()]
    if evaluation.latency_ms is not None:
        lines.append(f"{'latency':10s} {evaluation.latency_ms:.1f} ms per image")
    return "\n".join(lines)


def _classes(model: str, coco: CocoAnnotations) -> Classes:
    """The model's classes, matched to the annotation file's categories."""
    entries = read_label_map(model).get("categories")
    if not isinstance(entries, list) or not all(isinstance(e, dict) and {"id", "name"} <= set(e) for e in entries):
        raise InputError(f"{model}: its label map lists no categories with id and name; export the model again")
    return match_classes(
        [(entry["id"], str(entry["name"])) for entry in entries],
        coco.categories,
    )


def _predictions(
    signature: Signature, coco: CocoAnnotations, images: str, batch_size: int
) -> tuple[Results, list[int]]:
    """The detections, and the ids of the images that went through the model, each as often as it did."""
    predictions: list[Results] = []
    scored: list[int] = []
    total = len(coco.file_names)
    started = announced = time.monotonic()
    for start in range(0, total, batch_size):
        batch = range(start, min(start + batch_size, total))
        paths = [_path(images, coco.file_names[i]) for i in batch]
        for i, path, detections in zip(batch, paths, detect(signature, paths), strict=True):
            _check_size(path, coco.image_sizes[i].tolist(), detections)
            predictions.append(results_of(int(coco.image_ids[i]), detections))
            scored.append(int(coco.image_ids[i]))
        if time.monotonic() - announced > PROGRESS_SECONDS:
            announced = time.monotonic()
            rate = len(scored) / (announced - started)
            left = (total - len(scored)) / rate
            print(
                f"progress: evaluate {len(scored)}/{total} images  {rate:.1f} img/s  ETA {left:.0f} s",
                flush=True,
            )
    return joined(predictions), scored


def _check_size(path: str, declared: list[int], detections: dict[str, Any]) -> None:
    height, width = (int(v) for v in detections["image_size"])
    if declared != [height, width]:
        raise InputError(
            f"{path}: is {width}x{height}, but {declared[1]}x{declared[0]} in the annotation file; repair the one that "
            "is wrong"
        )


def _latency_ms(signature: Signature, paths: Sequence[str], calls: int) -> float | None:
    """Median milliseconds of a call with one image; files are read, and the shape is warmed up, beforehand."""
    if calls < 1:
        return None
    encoded = [tf.constant([read_image(path)]) for path in paths[:calls]]
    signature(image_bytes=encoded[0])
    seconds = []
    for call in range(calls):
        started = time.perf_counter()
        outputs = signature(image_bytes=encoded[call % len(encoded)])
        outputs["detection_scores"].numpy()  # an accelerator returns before it is done
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1000, 3)


def _parity(model: str) -> dict[str, Any] | None:
    """What the export measured against its checkpoint; None when the model doesn't hold it."""
    path = os.path.join(model, PARITY)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        found = parse(file.read(), path, "export the model again")
    if not isinstance(found, dict):
        raise InputError(f"{path}: is a {type(found).__name__}, not an object; export the model again")
    return found


def _path(images: str, file_name: str) -> str:
    """The path of an image; `load_scored` refuses names that lead out of the folder."""
    return os.path.join(images, file_name)


def _number(value: float | None) -> str:
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.4f}"
