"""A folder of small pictures, some of which can't be used."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainer.validation_images import random_jpeg

BAD = {
    "bad/cut.jpg": "truncated_image",
    "bad/empty.png": "zero_size",
    "bad/huge.png": "too_many_pixels",
    "bad/text.jpg": "not_an_image",
}
"""Name to reason code."""


def huge_png() -> bytes:
    """Announces more pixels than the limit, in few bytes."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def write_images(folder: Path, count: int, bad: bool = True) -> Path:
    """`count` JPEGs in two subfolders, and those of `BAD` between them."""
    made = {f"{'az'[i % 2]}/{i:03d}.jpg": random_jpeg(20 + i % 3, 30 + i % 5, seed=i) for i in range(count)}
    if bad:
        made |= {
            "bad/cut.jpg": random_jpeg(20, 30)[:-200],
            "bad/empty.png": b"",
            "bad/huge.png": huge_png(),
            "bad/text.jpg": b"not an image",
        }
    for name, data in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
