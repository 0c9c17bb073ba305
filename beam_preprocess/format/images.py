"""Decodes images, renders views, and encodes them as JPEG. OpenCV, Pillow and simplejpeg; no Beam.

Pixels are used as stored: EXIF orientation is not applied. JPEG is decoded with the accurate integer DCT and smooth
chroma upsampling, bit-identical to Pillow, OpenCV and TensorFlow's INTEGER_ACCURATE. The formats are those that the
exported model's `tf.io.decode_image` reads: JPEG, PNG, BMP, GIF (first frame), WebP (still, without alpha). A file that
`decode` accepts, the exported model accepts too, with equal pixels.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from beam_preprocess.format import whole
from beam_preprocess.format.geometry import View, shrinks
from beam_preprocess.format.image_entries import MAX_PIXELS
from beam_preprocess.format.reasons import Reason

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")

_EXIF_ORIENTATION = 0x0112
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF")
_LONGEST_MAGIC = 8
_END_OF_JPEG = b"\xff\xd9"
_TRAILER = 64
"""Number of bytes at the end of a JPEG that are searched for its end marker."""
_BENIGN_JPEG_WARNING = "extraneous bytes before marker"

# Our own check of the header (MAX_PIXELS) rejects images above Pillow's limit.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


NEAR_BLACK = 32
"""16-bit images whose high byte stays below this look black: a camera of 12 bits stores 0 to 4095 of 65535."""


def size_problem(stored: tuple[int, int], declared: tuple[int, int], orientation: int = 1) -> tuple[Reason, str] | None:
    """Compares the size of the stored pixels with the size in the annotations.

    Args:
      stored: (height, width) of the file, without applying the EXIF orientation.
      declared: (height, width) in the annotations.
      orientation: the file's EXIF orientation; 5 to 8 swap the axes.
    """
    text = f"file {stored[0]} x {stored[1]} (height x width), annotations {declared[0]} x {declared[1]}"
    if min(stored) < 1:
        return Reason.ZERO_SIZE, text
    if stored[0] * stored[1] > MAX_PIXELS:
        return Reason.TOO_MANY_PIXELS, f"file {stored[0]} x {stored[1]}; the limit is {MAX_PIXELS}"
    if stored == declared:
        return None
    if orientation in (5, 6, 7, 8) and stored[::-1] == declared:
        return Reason.SIZE_MATCHES_ONLY_AFTER_EXIF, f"{text}, EXIF orientation {orientation}"
    return Reason.SIZE_DIFFERS, text


class ImageProblem(Exception):
    """An image that cannot be used."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An image's pixels."""

    pixels: np.ndarray
    """uint8 [height, width, 3], RGB."""
    conversions: tuple[tuple[Reason, str], ...]
    """The conversions that were needed: (converted_… reason, detail)."""


def check_header(data: bytes | BinaryIO, declared: tuple[int, int]) -> None:
    """Checks the format and the size without decoding pixels.

    Args:
      data: the encoded image, or a file with it.
      declared: (height, width) in the annotations.

    Raises:
      ImageProblem: unreadable, an unsupported format, or a size that differs.
    """
    with _pillow(data) as image:
        _check_pillow_header(image, declared)


def decode(data: bytes, declared: tuple[int, int]) -> Decoded:
    """Decodes an image whose header agrees with the annotations.

    Args:
      data: the encoded image.
      declared: (height, width) in the annotations.

    Raises:
      ImageProblem: unreadable, truncated, an unsupported format, or a size that differs.
    """
    if data.startswith(b"\xff\xd8\xff"):
        decoded = _decode_jpeg(data, declared)
        if decoded is not None:
            return decoded
    with _pillow(data) as image:
        _check_pillow_header(image, declared)
        _check_whole(data, str(image.format))
        return _decode_pillow(image)


def _decode_jpeg(data: bytes, declared: tuple[int, int]) -> Decoded | None:
    """The fast path; None for images that Pillow should check (a size that differs, an unusual header)."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if (height, width) != declared or colorspace not in ("YCbCr", "RGB", "Gray", "CMYK", "YCCK"):
        return None
    inks = colorspace in ("CMYK", "YCCK")
    layout = "CMYK" if inks else "RGB"
    conversions = [(Reason.CONVERTED_GRAY, "gray JPEG")] if colorspace == "Gray" else []
    conversions += [(Reason.CONVERTED_CMYK, "CMYK JPEG")] if inks else []
    try:
        pixels = simplejpeg.decode_jpeg(data, layout, fastdct=False, fastupsample=False)
    except ValueError as error:
        # Stray bytes between segments are common and harmless. Any other warning means that pixels are lost, and
        # decoders that only warn fill them with gray.
        if _BENIGN_JPEG_WARNING not in str(error):
            raise _damage(error, cut=_END_OF_JPEG not in data[-_TRAILER:]) from error
        pixels = simplejpeg.decode_jpeg(data, layout, fastdct=False, fastupsample=False, strict=False)
        conversions.append((Reason.CONVERTED_DAMAGED_JPEG, str(error)))
    if inks:
        with _pillow(data) as image:
            pixels = _without_inks(pixels, image)
    return Decoded(pixels=pixels, conversions=tuple(conversions))


def _without_inks(stored: np.ndarray, image: Image.Image) -> np.ndarray:
    """RGB from the file's CMYK values, as TensorFlow computes it. Adobe stores inks inverted, and marks its files."""
    light = (stored if "adobe_transform" in image.info else 255 - stored).astype(np.int32)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)


def _pillow(data: bytes | BinaryIO) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    except Image.DecompressionBombError as error:
        raise ImageProblem(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Image.UnidentifiedImageError as error:
        # Pillow's message would contain the address of a buffer.
        raise _unidentified(data) from error
    except _PILLOW_ERRORS as error:
        cut = isinstance(data, bytes) and data.startswith(b"RIFF") and whole.problem(data, "WEBP") == whole.TRUNCATED
        raise _damage(error, cut) from error


def _unidentified(data: bytes | BinaryIO) -> ImageProblem:
    """Distinguishes an empty file, the first few bytes of an image, and anything else."""
    if isinstance(data, bytes):
        start = data[:_LONGEST_MAGIC]
    else:
        data.seek(0)
        start = data.read(_LONGEST_MAGIC)
    if not start:
        return ImageProblem(Reason.ZERO_SIZE, "the file has 0 bytes")
    if start.startswith(_MAGIC):
        return ImageProblem(Reason.TRUNCATED_IMAGE, "it begins like an image, but its header is incomplete")
    return ImageProblem(Reason.NOT_AN_IMAGE, f"not an image that Pillow can identify; it begins with {start!r}")


def _damage(error: Exception, cut: bool = False) -> ImageProblem:
    """Truncated if the file is known to be cut or the decoder ran out of bytes, else unreadable."""
    text = str(error)
    cut |= isinstance(error, EOFError) or any(word in text.lower() for word in ("truncated", "premature end"))
    return ImageProblem(Reason.TRUNCATED_IMAGE if cut else Reason.UNREADABLE_IMAGE, text)


def _check_whole(data: bytes, kind: str) -> None:
    """Rejects files that Pillow repairs without a word, and the exported model refuses."""
    problem = whole.problem(data, kind)
    if problem:
        raise ImageProblem(Reason.TRUNCATED_IMAGE if problem == whole.TRUNCATED else Reason.UNREADABLE_IMAGE, problem)


def _check_pillow_header(image: Image.Image, declared: tuple[int, int]) -> None:
    # Phones write MPO: a JPEG with a second picture appended.
    if image.format not in (*FORMATS, "MPO"):
        raise ImageProblem(
            Reason.UNSUPPORTED_FORMAT, f"{image.format}; the exported model only reads {', '.join(FORMATS)}: convert it"
        )
    if image.format == "BMP" and not _plain_bmp(image):
        raise ImageProblem(
            Reason.UNSUPPORTED_FORMAT,
            "BMP with a palette, with 16 bits or compressed; the exported model cannot read it: convert it",
        )
    if image.format == "WEBP" and (image.mode != "RGB" or getattr(image, "is_animated", False)):
        kind = "animated" if getattr(image, "is_animated", False) else "with an alpha channel"
        raise ImageProblem(Reason.UNSUPPORTED_FORMAT, f"WebP, {kind}; the exported model cannot read it: convert it")
    stored = image.height, image.width
    if stored == declared and size_problem(stored, declared) is None:
        return
    try:
        orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except (*_PILLOW_ERRORS, TypeError):
        orientation = 1
    problem = size_problem(stored, declared, orientation)
    if problem:
        raise ImageProblem(*problem)


def _plain_bmp(image: Image.Image) -> bool:
    """Whether TensorFlow reads the same pixels. It takes palette indices for gray values, and refuses other kinds."""
    tiles: list[Any] = getattr(image, "tile", [])
    codec, _, _, arguments = tiles[0]
    layout = arguments[0] if isinstance(arguments, tuple) else arguments
    return codec == "raw" and layout in ("BGR", "BGRX", "BGRA", "L")


def _decode_pillow(image: Image.Image) -> Decoded:
    conversions: list[tuple[Reason, str]] = []
    mode, name = image.mode, image.format
    sixteen = mode.startswith("I") or "16" in str([tile[3] for tile in getattr(image, "tile", ())])
    if sixteen:
        conversions.append((Reason.CONVERTED_16_BIT, f"16-bit {name}"))
    if mode in ("L", "1", "LA", "La") or mode.startswith("I"):
        conversions.append((Reason.CONVERTED_GRAY, f"{name} of mode {mode}"))
    if mode in ("P", "PA"):
        conversions.append((Reason.CONVERTED_PALETTE, f"{name} of mode {mode}"))
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        conversions.append((Reason.CONVERTED_ALPHA, "the alpha channel is ignored"))
    if mode == "CMYK":
        conversions.append((Reason.CONVERTED_CMYK, f"CMYK {name}"))
    try:
        if name in ("GIF", "PNG") and getattr(image, "is_animated", False):
            frames = getattr(image, "n_frames", 0)
            conversions.append((Reason.CONVERTED_ANIMATION, f"the first of {frames} frames is used"))
        if mode.startswith("I"):
            # Keep the high byte, as libpng and TensorFlow do. Pillow's own conversion would clip at 255.
            gray = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            pixels = np.repeat(gray[:, :, None], 3, axis=2)
        elif mode == "CMYK":
            pixels = _without_inks(255 - np.asarray(image), image)  # Pillow takes every file for an inverted one
        else:
            # Drop alpha without blending, as TensorFlow does: the exported model must see the same pixels.
            pixels = np.asarray(image.convert("RGB"))
    except _PILLOW_ERRORS as error:
        raise _damage(error) from error
    if sixteen and pixels.max() < NEAR_BLACK:
        conversions.append((Reason.CONVERTED_NEAR_BLACK_16_BIT, f"the brightest pixel becomes {pixels.max()} of 255"))
    return Decoded(pixels=np.ascontiguousarray(pixels), conversions=tuple(conversions))


def render_view(pixels: np.ndarray, view: View, input_size: tuple[int, int]) -> np.ndarray:
    """Draws a view on a black canvas.

    Args:
      pixels: uint8 [height, width, 3], the original image.
      view: the source and the valid rectangle.
      input_size: (height, width) of the canvas.

    Returns:
      uint8 [input height, input width, 3].
    """
    sy0, sx0, sy1, sx1 = view.source
    vy0, vx0, vy1, vx1 = view.valid
    method = cv2.INTER_AREA if shrinks(view.source, view.valid) else cv2.INTER_LINEAR
    canvas = np.zeros((*input_size, 3), np.uint8)
    canvas[vy0:vy1, vx0:vx1] = cv2.resize(pixels[sy0:sy1, sx0:sx1], (vx1 - vx0, vy1 - vy0), interpolation=method)
    return canvas


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encodes RGB pixels, uint8 [height, width, 3], as JPEG with 4:2:0 chroma."""
    return bytes(simplejpeg.encode_jpeg(pixels, quality, "RGB", "420", fastdct=False))
