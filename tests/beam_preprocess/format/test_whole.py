"""Whether an image file is whole. `test_decoders_agree` compares the outcome with the exported model's decoder."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_preprocess.format.whole import TRUNCATED, problem

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    image = Image.fromarray(PIXELS).convert(mode)
    if mode == "RGBA":
        image.putalpha(40)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


OTHER = Image.fromarray(PIXELS[::-1])
FILES = {
    "PNG": encoded("PNG"),
    "GIF": encoded("GIF", "P"),
    "BMP": encoded("BMP"),
    "WEBP": encoded("WEBP"),
}


@pytest.mark.parametrize("kind", FILES)
def test_whole_files_have_no_problem_and_bytes_behind_them_do_not_matter(kind: str) -> None:
    assert problem(FILES[kind], kind) == problem(FILES[kind] + b"more", kind) == ""


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("cut", [1, 2, 5, 20, 100])
def test_cut_files_are_truncated(kind: str, cut: int) -> None:
    # A GIF without its last byte, the trailer, is complete for all decoders.
    assert problem(FILES[kind][:-cut], kind) == ("" if (kind, cut) == ("GIF", 1) else TRUNCATED)


@pytest.mark.parametrize("kind", FILES)
def test_a_few_bytes_are_truncated_or_damaged(kind: str) -> None:
    assert all(problem(FILES[kind][:length], kind) for length in range(20))


def test_a_png_chunk_with_a_wrong_checksum() -> None:
    data = bytearray(FILES["PNG"])
    data[-30] ^= 1
    assert problem(bytes(data), "PNG") == "the checksum of the chunk 'IDAT' is wrong"
    assert problem(b"\x89PNG\r\n\x1a\r" + bytes(data[8:]), "PNG") == "the signature is damaged"


def test_a_png_may_hold_any_chunks() -> None:
    chunk = b"teSt" + b"abc"
    extra = struct.pack(">I", 3) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert problem(FILES["PNG"][:-12] + extra + FILES["PNG"][-12:], "PNG") == ""


def test_gif_blocks() -> None:
    data = bytearray(encoded("GIF", "P", save_all=True, append_images=[OTHER.convert("P")]))
    assert problem(bytes(data), "GIF") == ""
    assert problem(bytes(data[:-1]) + b"\x99;", "GIF") == "the block 0x99 is unknown"
    assert problem(bytes(data[: 13 + 768]) + b";", "GIF") == "it holds no frame"
    data[6] += 1
    assert problem(bytes(data), "GIF") == "a frame has another size than the picture"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded("WEBP", "RGBA"), "it has an alpha channel"),
        (encoded("WEBP", "RGBA", lossless=True), "it has an alpha channel"),
        (encoded("WEBP", save_all=True, append_images=[OTHER]), "it is animated"),
        (encoded("WEBP", lossless=True), ""),
        (b"RIFX" + FILES["WEBP"][4:], "the header is damaged"),
    ],
)
def test_webp(data: bytes, message: str) -> None:
    assert problem(data, "WEBP") == message


def test_other_formats_are_left_to_their_decoders() -> None:
    assert problem(encoded("JPEG")[:30], "JPEG") == ""
