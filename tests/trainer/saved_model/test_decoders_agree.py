"""What preprocessing's decoder accepts, the served model's accepts, with equal pixels: whole, cut and damaged files.

Preprocessing may not import TensorFlow. Without this, a damaged image trains, and the exported model refuses it.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_preprocess.format.images import ImageProblem, decode
from trainer.saved_model.pixel_count import LIMIT, announced_pixels
from trainer.saved_model.signatures import decode_image

SIZE = (40, 56)
CUTS = (1, 2, 3, 4, 5, 8, 12, 13, 16, 20, 33, 64)
DAMAGED = 40
"""Copies of each file with one to three changed bits."""


def _pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    return noise, np.kron(rng.integers(0, 256, (5, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def _encoded(pixels: np.ndarray, form: str, mode: str, options: dict[str, Any]) -> bytes:
    if mode == "CMYK":  # with black, which a conversion from RGB leaves empty
        image = Image.fromarray(np.dstack([pixels, pixels[::-1, :, 1]]), "CMYK")
    elif mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    else:
        image = Image.fromarray(pixels).convert(mode)
    if mode == "RGBA":
        image.putalpha(90)
    if options.pop("animate", False):
        options |= {"save_all": True, "append_images": [image.rotate(180), image.rotate(90)]}
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg": ("JPEG", "RGB", {"quality": 90}),
    "jpeg progressive": ("JPEG", "RGB", {"progressive": True}),
    "jpeg gray": ("JPEG", "L", {}),
    "jpeg cmyk": ("JPEG", "CMYK", {}),
    "jpeg 4:4:4": ("JPEG", "RGB", {"subsampling": 0}),
    "png": ("PNG", "RGB", {}),
    "png gray": ("PNG", "L", {}),
    "png palette": ("PNG", "P", {}),
    "png alpha": ("PNG", "RGBA", {}),
    "png 1 bit": ("PNG", "1", {}),
    "png 16 bits": ("PNG", "I;16", {}),
    "png moving": ("PNG", "RGB", {"animate": True}),
    "gif": ("GIF", "P", {}),
    "gif interlaced": ("GIF", "P", {"interlace": 1}),
    "gif transparent": ("GIF", "P", {"transparency": 3}),
    "gif moving": ("GIF", "P", {"animate": True}),
    "bmp": ("BMP", "RGB", {}),
    "bmp gray": ("BMP", "L", {}),
    "bmp alpha": ("BMP", "RGBA", {}),
    "webp": ("WEBP", "RGB", {}),
    "webp lossless": ("WEBP", "RGB", {"lossless": True}),
    "webp alpha": ("WEBP", "RGBA", {}),
    "webp moving": ("WEBP", "RGB", {"animate": True}),
}
REFUSED = {"webp alpha", "webp moving"}
"""Whole files that neither of the two reads."""


@pytest.fixture(scope="module")
def served() -> Callable[[bytes], np.ndarray | None]:
    """The served model's decoder; None where it refuses the file."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def run(encoded: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less_equal(announced_pixels(encoded), tf.constant(LIMIT, tf.int64))
        return decode_image(encoded)

    def call(data: bytes) -> np.ndarray | None:
        try:
            return np.asarray(run(tf.constant(data)))
        except tf.errors.OpError:
            return None

    return call


def ours(data: bytes) -> np.ndarray | None:
    try:
        return decode(data, SIZE).pixels
    except ImageProblem:
        return None


def variants(data: bytes) -> Iterator[tuple[str, bytes]]:
    lengths = {len(data) - cut for cut in CUTS} | {int(len(data) * part) for part in np.linspace(0.05, 0.99, 16)}
    for length in sorted(lengths):
        yield f"cut to {length} of {len(data)}", data[: max(length, 0)]
    for seed in range(DAMAGED):
        rng = np.random.default_rng(seed)
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            # Headers are a small part of a file, and the one where decoders differ.
            end = len(data) if seed % 2 else min(len(data), 64)
            changed[rng.integers(0, end)] ^= 1 << rng.integers(0, 8)
        yield f"damaged {seed}", bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_served_decoder_accepts_what_preprocessing_accepts(
    kind: str, served: Callable[[bytes], np.ndarray | None]
) -> None:
    wrong = []
    for pixels in _pictures():
        form, mode, options = KINDS[kind]
        data = _encoded(pixels, form, mode, dict(options))
        assert (ours(data) is None) == (kind in REFUSED)
        for what, variant in (("whole", data), *variants(data)):
            found = ours(variant)
            if found is None:
                continue
            theirs = served(variant)
            if theirs is None:
                wrong.append(f"{what}: refused")
            elif found.shape != theirs.shape or (found != theirs).any():
                wrong.append(f"{what}: other pixels, {found.shape} and {theirs.shape}")
    assert wrong == []


@pytest.mark.parametrize(("screen", "frame"), [((5, 5), (30, 20)), ((30, 20), (5, 5))])
def test_gifs_whose_frames_have_another_size_than_the_picture_are_refused(
    screen: tuple[int, int], frame: tuple[int, int]
) -> None:
    """Pillow returns the picture's size, TensorFlow the largest frame's."""
    stream = io.BytesIO()
    Image.new("P", frame).save(stream, "GIF")
    data = bytearray(stream.getvalue())
    data[6:10] = b"".join(side.to_bytes(2, "little") for side in screen)
    for declared in (screen[::-1], frame[::-1]):
        with pytest.raises(ImageProblem):
            decode(bytes(data), declared)
