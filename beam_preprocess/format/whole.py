"""Is an image file whole? Decoders disagree about files that were cut or changed; these checks accept less than any.

Pillow paints what it has and stops; the exported model's `tf.io.decode_image` (libpng, giflib, libwebp) refuses the
file. An image that passes here and decodes in Pillow is one that the served model reads, too. Standard library only.
"""

import struct
import zlib

TRUNCATED = "the file is truncated"

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B


def problem(data: bytes, kind: str) -> str:
    """Says what is wrong with the file's structure.

    Args:
      data: the whole file.
      kind: Pillow's name of its format.

    Returns:
      One phrase, "" when nothing is wrong or the format has no check here.
    """
    checks = {"PNG": _png, "GIF": _gif, "WEBP": _webp, "BMP": _bmp}
    try:
        return checks[kind](data) if kind in checks else ""
    except (struct.error, IndexError):
        return TRUNCATED


def _png(data: bytes) -> str:
    """Chunks up to IEND, each with its checksum (libpng stops at a wrong one; Pillow only in some chunks)."""
    if not data.startswith(_PNG_SIGNATURE):
        return "the signature is damaged"
    at = len(_PNG_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(data[at + 4 : end]) != checksum:
            return f"the checksum of the chunk {kind.decode('latin-1')!r} is wrong"
        if kind == b"IEND":
            return ""
        at = end + 4


def _gif(data: bytes) -> str:
    """All blocks up to the trailer, or to the end of the last whole block: giflib reads every frame before the first.

    https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    screen = struct.unpack_from("<HH", data, 6)
    at = 13 + _colour_table(data[10])
    frames = 0
    while at < len(data):
        kind = data[at]
        if kind == _GIF_TRAILER:
            break
        if kind == _GIF_EXTENSION:
            at = _after_sub_blocks(data, at + 2)
        elif kind == _GIF_IMAGE:
            left, top, width, height = struct.unpack_from("<HHHH", data, at + 1)
            if (
                width > screen[0]
                or height > screen[1]
                or (not frames and (left, top, width, height) != (0, 0, *screen))
            ):
                # Pillow paints frames on the screen; TensorFlow returns an array of the largest frame's size.
                return "a frame has another size than the picture"
            at = _after_sub_blocks(data, at + 10 + _colour_table(data[at + 9]) + 1)
            frames += 1
        else:
            return f"the block {kind:#04x} is unknown"
    return "" if frames else "it holds no frame"


def _colour_table(flags: int) -> int:
    """Bytes of the colour table that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    """Where a chain of sub-blocks ends.

    Raises:
      IndexError: the file ends within it.
    """
    while size := data[at]:
        at += 1 + size
    return at + 1


def _webp(data: bytes) -> str:
    """RIFF's length; one still picture without alpha, which is all that `tf.io.decode_image` reads as RGB."""
    magic, length, form, first = struct.unpack_from("<4sI4s4s", data)
    if magic != b"RIFF" or form != b"WEBP":
        return "the header is damaged"
    if len(data) < 8 + length:
        return TRUNCATED
    if first == b"VP8X":
        flags = data[20]
        if flags & 0x02:
            return "it is animated"
        if flags & 0x10:
            return "it has an alpha channel"
    if first == b"VP8L" and data[24] & 0x10:
        return "it has an alpha channel"
    return ""


def _bmp(data: bytes) -> str:
    """Enough bytes for all rows, each padded to four bytes."""
    (start,) = struct.unpack_from("<I", data, 10)
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    row = (abs(width) * bits + 31) // 32 * 4
    return "" if len(data) >= start + row * abs(height) else TRUNCATED
