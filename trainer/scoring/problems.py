"""Why an image has no results, as a reason code. OpenCV, Pillow and simplejpeg; no TensorFlow."""

import io

from PIL import Image, UnidentifiedImageError

from beam_preprocess.format.images import ImageProblem, check_header, decode
from beam_preprocess.format.reasons import Reason

Problem = tuple[Reason, str]
"""Reason code, and the values behind it."""


def explain(data: bytes) -> Problem:
    """What is wrong with an image that the model refuses."""
    try:
        size = _size(data)
        check_header(data, size)
        decode(data, size)
    except ImageProblem as problem:
        return problem.reason, problem.detail
    return Reason.UNREADABLE_IMAGE, "the exported model can't decode it; save it again as JPEG or PNG"


def _size(data: bytes) -> tuple[int, int]:
    """(height, width) in the header; zeros if it can't be read, which `check_header` then explains."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return 0, 0
