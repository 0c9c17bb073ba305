"""Checks the image files of one split, one at a time: headers or pixels, EXIF orientation, fingerprints."""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from beam_preprocess.base.progress import Progress
from beam_preprocess.base.storage import file_system
from beam_preprocess.dataset.validate import lost_boxes
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.fingerprints import fingerprint
from beam_preprocess.format.images import ImageProblem, check_header, decode
from beam_preprocess.format.reasons import Reason, Reject

_BATCH = 4096
_EXIF_ORIENTATION = 0x0112
_EXIF_ERRORS = (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, struct.error, zlib.error)


@dataclass
class Found:
    """What reading images found."""

    rejects: list[Reject] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    """Names of images that can be used as stored, and have an EXIF orientation."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """File name to fingerprint; only where pixels were decoded."""

    def add(self, other: "Found") -> None:
        """Appends what was found in other images."""
        self.rejects += other.rejects
        self.turned += other.turned
        self.fingerprints |= other.fingerprints


class ImageChecker:
    """Checks one image per call.

    Args:
      images: the image folder, a path or URI.
      coco: the parsed annotations.
      depth: "headers" or "pixels".
    """

    def __init__(self, images: str, coco: CocoAnnotations, depth: str) -> None:
        self._fs, self._root = file_system(images)
        self._coco = coco
        self._boxes_of = Counter(coco.annotation_image_ids.tolist())
        local = isinstance(self._fs, LocalFileSystem)
        self.depth = depth if local or depth == "pixels" else "listing"
        """Headers are only read from local files. In a bucket, they would cost one request per image."""

    def __call__(self, i: int) -> Found:
        """What is found in image i."""
        name = self._coco.file_names[i]
        height, width = self._coco.image_sizes[i].tolist()
        path = f"{self._root.rstrip('/')}/{name}"
        found = Found()
        try:
            if self.depth == "pixels":
                data = self._fs.cat_file(path)
                decoded = decode(data, (height, width))
                found.rejects = [self._reject(i, reason, detail) for reason, detail in decoded.conversions]
                if code := fingerprint(decoded.pixels):
                    found.fingerprints[name] = code
                if _is_turned(io.BytesIO(data)):
                    found.turned = [name]
            elif self.depth == "headers":
                with open(path, "rb") as file:
                    check_header(file, (height, width))
                    if _is_turned(file):
                        found.turned = [name]
        except ImageProblem as problem:
            found.rejects = [self._dropped(i, problem.reason, problem.detail)]
        except FileNotFoundError:
            found.rejects = [self._dropped(i, Reason.MISSING_IMAGE, "removed after the folder was listed")]
        except PermissionError as error:
            found.rejects = [self._dropped(i, Reason.UNREADABLE_IMAGE, str(error.strerror))]
        return found

    def _dropped(self, i: int, reason: Reason, detail: str) -> Reject:
        return self._reject(i, reason, detail + lost_boxes(self._boxes_of[int(self._coco.image_ids[i])]))

    def _reject(self, i: int, reason: Reason, detail: str) -> Reject:
        image_id, name = int(self._coco.image_ids[i]), self._coco.file_names[i]
        return Reject(reason=reason, image_id=image_id, file_name=name, detail=detail)


def check_images(checker: ImageChecker, indices: Sequence[int], label: str, num_workers: int) -> Found:
    """What is found in these images, in their order, with progress lines."""
    progress = Progress(label, total=len(indices), unit="images")
    total = Found()
    with ThreadPoolExecutor(num_workers) as threads:
        for start in range(0, len(indices), _BATCH):  # in batches, because `map` submits all its input at once
            batch = indices[start : start + _BATCH]
            for done, found in enumerate(threads.map(checker, batch), start=start + 1):
                total.add(found)
                progress.update(done, f"{len(total.rejects)} rejects so far")
    return total


def _is_turned(file: BinaryIO) -> bool:
    """Whether an image that was read already has an EXIF orientation other than "as stored"."""
    file.seek(0)
    try:
        with Image.open(file) as image:
            if "exif" not in image.info:
                return False
            orientation: Any = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _EXIF_ERRORS:  # the tag is damaged; the image itself was found to be good
        return False
    return orientation in range(2, 9)
