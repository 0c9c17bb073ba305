"""What can be wrong with the image entries of an annotation file, without opening an image."""

import posixpath
from collections.abc import Iterator

from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.reasons import Reason

MAX_PIXELS = 89_478_485
"""Larger images are rejected before they are decoded. This is Pillow's limit against decompression bombs."""


def image_problems(coco: CocoAnnotations) -> Iterator[tuple[int, Reason, str]]:
    """(position, reason, detail) of each image entry that cannot be used, in file order."""
    seen_ids: set[int] = set()
    seen_names: set[str] = set()
    sizes = coco.image_sizes.tolist()
    for i, (image_id, name) in enumerate(zip(coco.image_ids.tolist(), coco.file_names, strict=True)):
        height, width = sizes[i]
        path = posixpath.normpath(name)
        if image_id in seen_ids:
            yield i, Reason.DUPLICATE_IMAGE_ID, f"images[{i}] repeats the id; the first entry is kept"
        elif path in seen_names:
            yield i, Reason.DUPLICATE_FILE_NAME, f"images[{i}] repeats the file; the first entry is kept"
        elif not inside_folder(name):
            yield i, Reason.PATH_OUTSIDE_FOLDER, "not a path below the image folder"
        elif height <= 0 or width <= 0:
            yield i, Reason.ZERO_SIZE, f"height {height}, width {width} in the annotations"
        elif height * width > MAX_PIXELS:
            detail = f"{height} x {width} in the annotations; the limit is {MAX_PIXELS}"
            yield i, Reason.TOO_MANY_PIXELS, detail
        seen_ids.add(image_id)
        seen_names.add(path)


def inside_folder(file_name: str) -> bool:
    """Whether a file name stays below the image folder: relative, without a scheme, not leading upwards."""
    path = posixpath.normpath(file_name.replace("\\", "/"))
    escapes = path in ("", ".", "..") or path.startswith(("/", "../"))
    return not (escapes or "://" in file_name or "\0" in file_name or (len(path) > 1 and path[1] == ":"))
