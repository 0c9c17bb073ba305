"""The files of one shard: detections, images, rejects, and the result that marks it as finished."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.files import write_bytes
from beam_preprocess.format.reasons import Reject, count_by_reason
from trainer.profile.measure import measured
from trainer.profile.rows import Row, stack, to_bytes
from trainer.scoring.job import ScoringJob
from trainer.scoring.manifest import File, ShardResult
from trainer.scoring.problems import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """What a batch adds to the files of its shard."""

    detections: tuple[str, ...]
    """COCO results: one line per detection; JSONL: one per image."""
    images: tuple[str, ...]
    """One line per image that has results."""
    rejects: tuple[Reject, ...]
    found: int
    """Number of detections."""
    rows: tuple[Row, ...] = ()
    """Statistics of the images that have results, if the run measures them."""


def batch_lines(
    job: ScoringJob, images: Sequence[tuple[int, str, bytes]], outputs: Sequence[Mapping[str, Any] | Problem]
) -> Lines:
    """The lines of one batch.

    Args:
      job: the settings.
      images: id, file name and content.
      outputs: by image, what the signature returned, or why there is nothing.
    """
    names = {category.id: category.name for category in job.categories}
    detections, entries, rejects, count = [], [], [], 0
    rows = []
    for (number, name, data), output in zip(images, outputs, strict=True):
        if isinstance(output, tuple):
            rejects.append(Reject(reason=output[0], image_id=number, file_name=name, detail=output[1]))
            continue
        height, width = (int(side) for side in output["image_size"])
        entry = {"id": number, "file_name": name, "width": width, "height": height}
        entries.append(json.dumps(entry))
        found = _detections(job, number, output)
        count += len(found)
        if job.run.format == "coco":
            detections += [json.dumps(detection) for detection in found]
        else:
            for detection in found:
                category = detection["category_id"]
                detection["category"] = names.get(category, str(category))
                del detection["image_id"]
            detections.append(json.dumps({**entry, "detections": found}))
        if job.run.measures is not None:
            rows.append(measured(number, name, data, output, job.run.measures))
    return Lines(
        detections=tuple(detections), images=tuple(entries), rejects=tuple(rejects), found=count, rows=tuple(rows)
    )


def _detections(job: ScoringJob, number: int, output: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One image's detections that reach their class's threshold, in COCO's results format."""
    from trainer.saved_model.inference import to_coco  # imports TensorFlow, which the model has loaded

    scores, classes = output["detection_scores"], output["detection_classes"]
    default = job.run.minimum.default
    minimum = np.array([job.minimums.get(int(category), default) for category in classes], scores.dtype)
    shown = scores >= minimum
    kept = {name: output[name][shown] for name in ("detection_boxes", "detection_scores", "detection_classes")}
    return to_coco(number, {**kept, "image_size": output["image_size"]})


def write_shard(job: ScoringJob, shard: int, batches: Sequence[Lines]) -> ShardResult:
    """Writes the files of a shard; last the result, which says that the others are there."""
    detections = [line for lines in batches for line in lines.detections]
    images = [line for lines in batches for line in lines.images]
    rejects = [reject for lines in batches for reject in lines.rejects]
    contents = {job.detections_name(shard): _list(detections) if job.run.format == "coco" else _lines(detections)}
    if job.run.format == "coco":
        contents[job.images_name(shard)] = _lines(images)
    if rejects:
        contents[job.rejects_name(shard)] = _lines([json.dumps(reject.to_mapping()) for reject in rejects])
    encoded = {name: text.encode() for name, text in contents.items()}
    if rows := [row for lines in batches for row in lines.rows]:
        encoded[job.statistics_name(shard)] = to_bytes(stack(rows))
    files = []
    for name, data in encoded.items():
        write_bytes(f"{job.output.rstrip('/')}/{name}", data)
        files.append(File(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    result = ShardResult(
        shard=shard,
        images=len(images),
        detections=sum(lines.found for lines in batches),
        rejects=count_by_reason(rejects),
        files=tuple(files),
    )
    write_bytes(f"{job.work}/{job.result_name(shard)}", result.to_json().encode())
    return result


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _list(lines: Sequence[str]) -> str:
    """A JSON list with one line per entry."""
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
