"""Decoding, conversions, rendering."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from beam_preprocess.format.geometry import View, letterbox, make_view, shrinks
from beam_preprocess.format.images import ImageProblem, check_header, decode, encode_jpeg, render_view
from beam_preprocess.format.reasons import Reason

HEIGHT, WIDTH = 48, 64
SIZE = (HEIGHT, WIDTH)


def picture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def encoded(mode: str = "RGB", form: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def translucent(form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.dstack([picture(), np.full(SIZE, 40, np.uint8)])).save(stream, form)
    return stream.getvalue()


def sixteen_bit(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes()


JPEG = encoded()
PNG = encoded("RGB", "PNG")
MOVING_GIF = encoded("P", "GIF", save_all=True, append_images=[Image.fromarray(picture(1)).convert("P")])
ALPHA_WEBP = translucent("WEBP")
MOVING_WEBP = encoded("RGB", "WEBP", save_all=True, append_images=[Image.fromarray(picture(1))])


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}])
def test_jpeg_pixels_are_those_of_pillow(options: dict[str, Any]) -> None:
    data = encoded(quality=80, **options)
    np.testing.assert_array_equal(decode(data, SIZE).pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert decode(data, SIZE).conversions == ()


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (encoded("L"), {Reason.CONVERTED_GRAY}),
        (encoded("CMYK"), {Reason.CONVERTED_CMYK}),
        (encoded("RGB", "PNG"), set()),
        (encoded("RGB", "BMP"), set()),
        (encoded("RGBA", "PNG"), {Reason.CONVERTED_ALPHA}),
        (encoded("LA", "PNG"), {Reason.CONVERTED_GRAY, Reason.CONVERTED_ALPHA}),
        (encoded("L", "PNG"), {Reason.CONVERTED_GRAY}),
        (encoded("1", "PNG"), {Reason.CONVERTED_GRAY}),
        (encoded("P", "PNG"), {Reason.CONVERTED_PALETTE}),
        (encoded("RGB", "WEBP"), set()),
        (encoded("RGB", "WEBP", lossless=True), set()),
        (encoded("P", "GIF"), {Reason.CONVERTED_PALETTE}),
        (
            MOVING_GIF,
            {Reason.CONVERTED_PALETTE, Reason.CONVERTED_ANIMATION},
        ),
        (sixteen_bit(picture()), {Reason.CONVERTED_16_BIT}),
        (sixteen_bit(picture()[..., 0]), {Reason.CONVERTED_16_BIT, Reason.CONVERTED_GRAY}),
    ],
)
def test_other_kinds_are_converted_and_counted(data: bytes, reasons: set[Reason]) -> None:
    decoded = decode(data, SIZE)
    assert decoded.pixels.shape == (*SIZE, 3)
    assert decoded.pixels.dtype == np.uint8
    assert {reason for reason, _ in decoded.conversions} == reasons


def test_sixteen_bits_become_the_high_byte() -> None:
    np.testing.assert_array_equal(decode(sixteen_bit(picture()[..., ::-1]), SIZE).pixels, picture())
    np.testing.assert_array_equal(decode(sixteen_bit(picture()[..., 0]), SIZE).pixels[..., 1], picture()[..., 0])


@pytest.mark.parametrize(("brightest", "dark"), [(4095, True), (31 * 256 + 255, True), (32 * 256, False)])
def test_sixteen_bits_that_look_black_are_counted(brightest: int, dark: bool) -> None:
    """A camera of 12 bits writes 0 to 4095 of 65535."""
    pixels = np.zeros(SIZE, np.uint16)
    pixels[3, 4] = brightest
    found = [reason for reason, _ in decode(cv2.imencode(".png", pixels)[1].tobytes(), SIZE).conversions]
    assert (Reason.CONVERTED_NEAR_BLACK_16_BIT in found) == dark


def test_alpha_is_dropped_not_blended() -> None:
    np.testing.assert_array_equal(decode(translucent("PNG"), SIZE).pixels, picture())


ROTATED = Image.Exif()
ROTATED[0x0112] = 6


@pytest.mark.parametrize(
    ("data", "declared", "reason"),
    [
        (b"", SIZE, Reason.ZERO_SIZE),
        (b"<html>404</html>", SIZE, Reason.NOT_AN_IMAGE),
        (JPEG[:20], SIZE, Reason.TRUNCATED_IMAGE),
        (encoded("RGB", "GIF")[:12], SIZE, Reason.TRUNCATED_IMAGE),
        (PNG[:60] + bytes(40) + PNG[100:], SIZE, Reason.UNREADABLE_IMAGE),  # zeros in the middle
        (JPEG[:100], SIZE, Reason.TRUNCATED_IMAGE),
        (JPEG[: len(JPEG) // 2], SIZE, Reason.TRUNCATED_IMAGE),
        (JPEG[: len(JPEG) // 2] + b"\xff\xd9", SIZE, Reason.TRUNCATED_IMAGE),  # cut, with an end marker: Pillow: gray
        (encoded(progressive=True)[:-400], SIZE, Reason.TRUNCATED_IMAGE),
        (encoded(progressive=True)[:-400] + b"\xff\xd9", SIZE, Reason.UNREADABLE_IMAGE),  # damaged, not cut
        (encoded("L")[:-100], SIZE, Reason.TRUNCATED_IMAGE),
        (encoded("CMYK")[:-100], SIZE, Reason.TRUNCATED_IMAGE),
        (encoded("RGB", "PNG")[:-200], SIZE, Reason.TRUNCATED_IMAGE),
        (encoded("RGB", "BMP")[:-200], SIZE, Reason.TRUNCATED_IMAGE),
        (ALPHA_WEBP, SIZE, Reason.UNSUPPORTED_FORMAT),
        (MOVING_WEBP, SIZE, Reason.UNSUPPORTED_FORMAT),
        (encoded("RGB", "WEBP")[:-30], SIZE, Reason.TRUNCATED_IMAGE),
        (PNG[:-2], SIZE, Reason.TRUNCATED_IMAGE),  # cut in IEND, which Pillow accepts
        (encoded("P", "GIF")[:-2], SIZE, Reason.TRUNCATED_IMAGE),
        (MOVING_GIF[:-100], SIZE, Reason.TRUNCATED_IMAGE),  # Pillow: IndexError when it counts the frames
        (PNG[:-20] + bytes([PNG[-20] ^ 1]) + PNG[-19:], SIZE, Reason.UNREADABLE_IMAGE),  # a checksum that is wrong
        (encoded("RGB", "TIFF"), SIZE, Reason.UNSUPPORTED_FORMAT),
        (encoded("P", "BMP"), SIZE, Reason.UNSUPPORTED_FORMAT),
        (encoded("1", "BMP"), SIZE, Reason.UNSUPPORTED_FORMAT),
        (JPEG, (HEIGHT, WIDTH + 1), Reason.SIZE_DIFFERS),
        (encoded("RGB", "PNG"), (WIDTH, HEIGHT), Reason.SIZE_DIFFERS),
        (encoded(exif=ROTATED), (WIDTH, HEIGHT), Reason.SIZE_MATCHES_ONLY_AFTER_EXIF),
    ],
)
def test_unusable_images_have_a_reason(data: bytes, declared: tuple[int, int], reason: Reason) -> None:
    with pytest.raises(ImageProblem) as problem:
        decode(data, declared)
    assert problem.value.reason is reason


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    data = bytearray(encoded("RGB", "BMP"))
    data[18:26] = (30_000).to_bytes(4, "little") * 2
    for check in (lambda: decode(bytes(data), (30_000, 30_000)), lambda: check_header(bytes(data), (30_000, 30_000))):
        with pytest.raises(ImageProblem) as problem:
            check()
        assert problem.value.reason is Reason.TOO_MANY_PIXELS


def test_orientation_is_not_applied() -> None:
    np.testing.assert_array_equal(decode(encoded(exif=ROTATED), SIZE).pixels, decode(JPEG, SIZE).pixels)


def test_stray_bytes_before_the_end_are_survived_and_counted() -> None:
    decoded = decode(JPEG[:-2] + b"\x00\x01\x02" + JPEG[-2:], SIZE)
    np.testing.assert_array_equal(decoded.pixels, decode(JPEG, SIZE).pixels)
    assert [reason for reason, _ in decoded.conversions] == [Reason.CONVERTED_DAMAGED_JPEG]


def test_the_header_check_agrees_with_decoding() -> None:
    check_header(JPEG, SIZE)
    with pytest.raises(ImageProblem, match="size_differs"):
        check_header(io.BytesIO(JPEG), (1, 1))


def test_a_view_of_the_whole_image_at_its_size_is_the_image() -> None:
    view = View(source=(0, 0, *SIZE), valid=(0, 0, *SIZE))
    np.testing.assert_array_equal(render_view(picture(), view, SIZE), picture())


def test_padding_is_black_and_pixels_land_in_the_valid_rectangle() -> None:
    white = np.full((*SIZE, 3), 255, np.uint8)
    view = View(source=(0, 0, 24, 64), valid=(4, 8, 16, 40))
    canvas = render_view(white, view, (32, 48))
    assert canvas.shape == (32, 48, 3)
    assert (canvas[4:16, 8:40] == 255).all()
    canvas[4:16, 8:40] = 0
    assert not canvas.any()


def test_halving_averages_two_by_two_pixels() -> None:
    canvas = render_view(picture(), View(source=(0, 0, *SIZE), valid=(0, 0, 24, 32)), (24, 32))
    mean = picture().reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(canvas - mean).max() <= 0.5


def test_encoding_keeps_the_picture() -> None:
    pixels = cv2.GaussianBlur(picture(), (0, 0), 4)
    data = encode_jpeg(pixels, 95)
    assert np.abs(decode(data, SIZE).pixels.astype(int) - pixels).mean() < 2
    assert encode_jpeg(pixels, 95) == data
    assert len(encode_jpeg(pixels, 50)) < len(data)


def test_pixels_are_those_of_the_exported_model() -> None:
    """Decoding bit for bit; resizing within the rounding of 8 bits (cv2's linear weights have 11 bits)."""
    import tensorflow as tf

    for data in (JPEG, encoded("L"), encoded("CMYK"), encoded(quality=60, subsampling=0), encoded(progressive=True)):
        ours = tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE").numpy()
        np.testing.assert_array_equal(decode(data, SIZE).pixels, ours)
    others = [encoded(mode, "PNG") for mode in ("RGBA", "P", "LA", "L", "1")]
    others += [encoded(mode, "BMP") for mode in ("RGB", "RGBA", "L")]
    others += [sixteen_bit(picture()), sixteen_bit(picture()[..., 0]), encoded("P", "GIF")]
    others.append(encoded("RGB", "PNG", save_all=True, append_images=[Image.fromarray(picture(1))]))
    for data in others:
        ours = tf.io.decode_image(data, 3, expand_animations=False).numpy()
        np.testing.assert_array_equal(decode(data, SIZE).pixels, ours)
    for input_size in ((32, 32), (96, 96), (128, 64)):
        views = [letterbox(SIZE, input_size)]
        views += [
            make_view(seed=0, image_id=1, view=v, image_size=SIZE, input_size=input_size, scale_range=(0.6, 1.3))
            for v in range(1, 8)
        ]
        for view in views:
            (sy0, sx0, sy1, sx1), (vy0, vx0, vy1, vx1) = view.source, view.valid
            shrink = shrinks(view.source, view.valid)
            theirs = tf.image.resize(
                picture()[sy0:sy1, sx0:sx1], (vy1 - vy0, vx1 - vx0), method="area" if shrink else "bilinear"
            )
            ours = render_view(picture(), view, input_size)[vy0:vy1, vx0:vx1]
            assert np.abs(ours - theirs.numpy()).max() <= (0.52 if shrink else 1.0)
