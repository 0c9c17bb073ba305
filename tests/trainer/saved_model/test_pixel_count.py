"""The number of pixels in an image's header, read inside the graph."""

import io
import resource
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer.saved_model.pixel_count import LIMIT, announced_pixels

HEIGHT, WIDTH = 37, 53


@pytest.fixture(scope="module")
def count() -> Any:
    traced = tf.function(announced_pixels, input_signature=[tf.TensorSpec([], tf.string)])
    return lambda data: int(traced(tf.constant(data)))


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    if mode == "RGBA":
        image.putalpha(40)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png_header(height: int, width: int) -> bytes:
    """A PNG that announces its size and holds a few bytes."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(64))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def gif_with_frame(height: int, width: int) -> bytes:
    """A GIF of a small screen whose second frame is larger."""
    data = encoded("GIF", "P")
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0) + b"\x08\x02ab\x00"
    return data[:-1] + b"\x21\xfe\x03abc\x00" + frame + b";"


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGB", {}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {}),
        ("WEBP", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (WIDTH, HEIGHT))]}),
    ],
)
def test_each_format(count: Any, form: str, mode: str, options: dict[str, Any]) -> None:
    assert count(encoded(form, mode, **options)) == HEIGHT * WIDTH


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png_header(20_000, 20_000), 400_000_000),
        (png_header((1 << 31) - 1, 1), (1 << 31) - 1),
        (gif_with_frame(30_000, 40_000), 1_200_000_000),
        (b"BM" + bytes(16) + struct.pack("<ii", 3, -5), 15),  # rows from top to bottom
        (b"", 0),
        (b"GIF89a", 0),
        (b"no image at all, of any kind", 0),
    ],
)
def test_crafted_headers(count: Any, data: bytes, pixels: int) -> None:
    assert count(data) == pixels


def test_a_header_that_cannot_be_parsed_is_an_error_of_its_own_image(count: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        count(b"\xff\xd8\xff broken")


def test_nothing_is_allocated_for_a_large_announcement(count: Any) -> None:
    count(png_header(10, 10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert count(png_header(60_000, 60_000)) > LIMIT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB; the pixels take 10 GB
