"""`smoke.json`: a few validation images with what the model found in them when it was evaluated.

The evaluation records it, promotion puts it next to `serving.json` into the published model's folder, and a deployment
sends the images to the server and compares. It is outside the model's digest.
"""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists, read_text, write_text
from beam_preprocess.base.json import read
from beam_preprocess.format import geometry
from trainer.coco.agreement import Detections, match
from trainer.promotion.evaluation import SMOKE, read_part
from trainer.registry.digest import SMOKE_FILE

SMOKE_SCHEMA = 1
SMOKE_IMAGES = 5
IMAGE_BYTES = 1_000_000
"""Largest image: a request to a public endpoint holds at most 1.5 MB, and base64 adds a third."""
PROMOTE_AGAIN = "evaluate the model again, and promote it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeImage:
    """One image, and what the model found in it."""

    file_name: str
    height: int
    width: int
    image_bytes: str
    """The file, as base64."""
    boxes: tuple[tuple[float, float, float, float], ...]
    """ymin, xmin, ymax, xmax in pixels, by descending score."""
    scores: tuple[float, ...]
    categories: tuple[int, ...]
    """The model's own ids."""

    def detections(self) -> Detections:
        """As `agreement.match` takes them."""
        return {
            "boxes": np.array(self.boxes, np.float64).reshape(-1, 4),
            "scores": np.array(self.scores, np.float64),
            "categories": np.array(self.categories, np.int64),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoke:
    """Content of `smoke.json`."""

    model_digest: str
    input_size: tuple[int, int]
    """(height, width) of the network, in whose pixels the bound on boxes is measured."""
    score_threshold: float
    """Detections below it are not compared, except the best one of each image."""
    max_score_delta: float
    max_box_delta: float
    max_unmatched: float
    """The bounds of the export's parity."""
    images: tuple[SmokeImage, ...]

    def to_json(self) -> str:
        """Text of the file."""
        return json.dumps({"schema_version": SMOKE_SCHEMA, **asdict(self)}, allow_nan=False) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How the answers of a server compare with what was recorded."""

    matched: int
    unmatched: int
    """Detections of either side without a counterpart within the bounds."""
    max_score_delta: float
    max_box_delta: float
    """The largest differences of a pair, in pixels of the network's input for boxes."""
    failures: tuple[str, ...]
    """What is wrong, in words; empty if the server answers as recorded."""


def compare(smoke: Smoke, answers: Sequence[Detections]) -> Agreement:
    """Compares a server's answers with the recorded ones, as the export's parity does.

    Args:
      smoke: what was recorded.
      answers: detections of each image, in its order.
    """
    deltas: list[tuple[float, float]] = []
    matched, unmatched, wrong = 0, 0, []
    for image, found in zip(smoke.images, answers, strict=True):
        zoom = geometry.letterbox((image.height, image.width), smoke.input_size).scale
        recorded = image.detections()
        pairs, missing = match(recorded, found, smoke.score_threshold)
        for i, j in pairs:
            box = float((np.abs(recorded["boxes"][i] - found["boxes"][j]) * [*zoom, *zoom]).max())
            score = abs(float(recorded["scores"][i]) - float(found["scores"][j]))
            deltas.append((score, box))
            # Written so that NaN is apart, too.
            agrees = score <= smoke.max_score_delta and box <= smoke.max_box_delta
            matched += agrees
            missing += 0 if agrees else 2
        unmatched += missing
        if missing:
            wrong.append(image.file_name)
    compared = 2 * matched + unmatched
    failures = []
    if not compared:
        failures.append("nothing was compared: neither side has a detection")
    elif not unmatched <= smoke.max_unmatched * compared:
        failures.append(
            f"{unmatched} of {compared} detections have no counterpart within the bounds (score "
            f"{smoke.max_score_delta:g}, box {smoke.max_box_delta:g} pixels of the input), in {', '.join(wrong)}"
        )
    largest = np.array(deltas, np.float64).reshape(-1, 2).max(axis=0, initial=0.0).tolist()
    return Agreement(
        matched=matched,
        unmatched=unmatched,
        max_score_delta=largest[0],
        max_box_delta=largest[1],
        failures=tuple(failures),
    )


def write_smoke(model: str, evaluation: str) -> str:
    """Writes `smoke.json` into the folder of a published model, from the evaluation that it was judged by.

    Args:
      model: URI of the published model's folder.
      evaluation: URI of its evaluation.json.

    Returns:
      What was written, or why nothing was: a promotion does not fail for it, a deployment does.
    """
    try:
        content, smoke = _recorded(evaluation)
    except InputError as error:
        return f"{SMOKE_FILE}: not written ({error}); a deployment of this version can't be tested"
    write_text(f"{model.rstrip('/')}/{SMOKE_FILE}", content)
    return f"{SMOKE_FILE}: {len(smoke.images)} images, to test a deployment with"


def read_smoke(model: str, digest: str) -> Smoke:
    """The recorded images of a published model.

    Args:
      model: URI of its folder.
      digest: the model's, as the registry has it.

    Raises:
      InputError: it has none, or they are damaged or another model's.
    """
    where = f"{model.rstrip('/')}/{SMOKE_FILE}"
    if not exists(where):
        raise InputError(f"{where}: no such file, so a deployment can't be tested; {PROMOTE_AGAIN}")
    smoke = parse_smoke(read_text(where, PROMOTE_AGAIN), where)
    if digest and smoke.model_digest != digest:
        raise InputError(f"{where}: was recorded with another model ({smoke.model_digest[:12]}…); {PROMOTE_AGAIN}")
    return smoke


def parse_smoke(text: str, where: str) -> Smoke:
    """Reads the text of `smoke.json`.

    Raises:
      InputError: it is damaged, or of another schema version.
    """
    smoke = read(Smoke, text, where, PROMOTE_AGAIN, schema_version=SMOKE_SCHEMA)
    if not smoke.images:
        raise InputError(f"{where}: images: is empty; {PROMOTE_AGAIN}")
    for image in smoke.images:
        if not len(image.boxes) == len(image.scores) == len(image.categories):
            raise InputError(f"{where}: {image.file_name}: boxes, scores and categories differ in number")
        if min(image.height, image.width) < 1 or not _is_base64(image.image_bytes):
            raise InputError(f"{where}: {image.file_name}: not an image with its size; {PROMOTE_AGAIN}")
    bounds: list[Any] = [smoke.score_threshold, smoke.max_score_delta, smoke.max_box_delta, smoke.max_unmatched]
    if not all(math.isfinite(bound) and bound >= 0 for bound in bounds) or min(smoke.input_size) < 1:
        raise InputError(f"{where}: a bound or the input's size is out of range; {PROMOTE_AGAIN}")
    return smoke


def _recorded(uri: str) -> tuple[str, Smoke]:
    """The file next to an evaluation.

    Raises:
      InputError: no evaluation was given, it has no such file, or the file is damaged or of another evaluation.
    """
    path = f"{uri.rpartition('/')[0] or '.'}/{SMOKE}"
    text = read_part(uri, SMOKE).decode("utf-8")
    return text, parse_smoke(text, path)


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
