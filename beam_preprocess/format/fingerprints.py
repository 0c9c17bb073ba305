"""Fingerprints of images by their looks: copies that were resized or encoded again have nearly the same bits. OpenCV.

128 bits: whether the brightness of a 9 x 9 thumbnail rises from each cell to its right and to its lower neighbour
(a "difference hash" in both directions).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

NAME = "fingerprints.jsonl"
"""File in a folder of records: one line per image."""
MAX_DISTANCE = 6
"""Maximum number of different bits of two images that look the same."""
MAX_PAIRS = 2_000_000_000
"""Maximum number of pairs that are compared: a few seconds. Of larger data sets, the first validation images are."""

_SIDE = 9
_MIN_CONTRAST = 4.0
"""Thumbnails with a smaller standard deviation have no fingerprint: the bits of an empty image are noise."""
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Pair:
    """A validation image that looks like a training image."""

    val: str
    train: str
    distance: int
    """Number of different bits."""


def fingerprint(pixels: np.ndarray) -> str:
    """32 hexadecimal digits; "" for an image that is nearly uniform.

    Args:
      pixels: uint8 [height, width, 3], RGB.
    """
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    gray = small @ np.array([0.299, 0.587, 0.114], np.float32)
    if gray.std() < _MIN_CONTRAST:
        return ""
    bits = np.concatenate([(gray[:-1, 1:] > gray[:-1, :-1]).ravel(), (gray[1:, :-1] > gray[:-1, :-1]).ravel()])
    return np.packbits(bits).tobytes().hex()


def near_duplicates(train: Mapping[str, str], val: Mapping[str, str]) -> tuple[list[Pair], int]:
    """Validation images that look like a training image.

    Args:
      train: fingerprint by file name.
      val: likewise.

    Returns:
      (for each such image the closest training image, number of validation images that were compared).
    """
    if not train or not val:
        return [], 0
    names, others = list(train), list(val)[: max(1, MAX_PAIRS // len(train))]
    known = _bits(train.values())
    pairs = []
    rows = max(1, _CHUNK // len(names))
    for start in range(0, len(others), rows):
        chunk = others[start : start + rows]
        wanted = _bits(val[name] for name in chunk)
        distance = np.bitwise_count(wanted[:, None, :] ^ known[None]).sum(axis=2, dtype=np.uint8)
        closest = distance.argmin(axis=1)
        for row in np.flatnonzero(distance.min(axis=1) <= MAX_DISTANCE).tolist():
            at = int(closest[row])
            pairs.append(Pair(chunk[row], names[at], int(distance[row, at])))
    return pairs, len(others)


def distinct(codes: Sequence[str]) -> np.ndarray:
    """Which images look like none before them that is kept: [N] bool.

    Args:
      codes: fingerprints; an image without one ("") is kept.
    """
    coded = [i for i, code in enumerate(codes) if code]
    bits = _bits(codes[i] for i in coded)
    kept = np.ones(len(codes), bool)
    before = np.zeros(len(coded), bool)
    for place, i in enumerate(coded):
        distance = np.bitwise_count(bits[:place][before[:place]] ^ bits[place]).sum(axis=1)
        before[place] = kept[i] = not (distance <= MAX_DISTANCE).any()
    return kept


def alike(code: str, codes: Sequence[str]) -> np.ndarray:
    """[N] bool: which images look like one.

    Args:
      code: its fingerprint; an image without one ("") is like no other.
      codes: theirs.
    """
    found = np.zeros(len(codes), bool)
    coded = [i for i, other in enumerate(codes) if other]
    if code and coded:
        distance = np.bitwise_count(_bits(codes[i] for i in coded) ^ _bits([code])).sum(axis=1)
        found[coded] = distance <= MAX_DISTANCE
    return found


def to_lines(fingerprints: Mapping[str, str]) -> str:
    """The content of the file `NAME`."""
    return "".join(
        json.dumps({"file_name": name, "fingerprint": code}) + "\n" for name, code in sorted(fingerprints.items())
    )


def from_lines(text: str) -> dict[str, str]:
    """The inverse of `to_lines`."""
    rows = (json.loads(line) for line in text.splitlines())
    return {row["file_name"]: row["fingerprint"] for row in rows}


def _bits(codes: Iterable[str]) -> np.ndarray:
    """uint64 [N, 2]."""
    return np.frombuffer(bytes.fromhex("".join(codes)), np.uint64).reshape(-1, 2)
