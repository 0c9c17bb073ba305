import io
import math
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_preprocess.format import geometry
from beam_preprocess.format.image_entries import MAX_PIXELS
from beam_preprocess.format.images import decode, render_view
from tests.trainer.made_records import SIZE
from tests.trainer.saved_model.test_pixel_count import png_header
from tests.trainer.validation_images import random_jpeg
from trainer.config.sections import parse_config
from trainer.model import network
from trainer.saved_model import signatures
from trainer.saved_model.building import trained_task
from trainer.saved_model.inference import Signature, load_signature, read_label_map
from trainer.saved_model.layout import FEATURES, POOLED
from trainer.weights import finished

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


def _photograph(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (max(2, height // 9), max(2, width // 9), 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _encode(image: np.ndarray | Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(60, 80), (504, 378), (33, 97), (1, 50), (700, 20)])
@pytest.mark.parametrize("target", [(64, 64), (192, 128), (256, 512)])
def test_pixels_are_those_of_the_records(size: tuple[int, int], target: tuple[int, int]) -> None:
    """Serving and preprocessing see the same image: at most one grey level apart, by rounding."""
    encoded = _encode(_photograph(*size), "JPEG")
    image = signatures.decode_image(tf.constant(encoded))
    np.testing.assert_array_equal(image, decode(encoded, size).pixels)
    found, valid = signatures.letterbox(image, target)
    view = geometry.letterbox(size, target)
    assert tuple(valid.numpy()) == view.valid[2:]
    expected = render_view(image.numpy(), view, target)
    assert np.abs(found.numpy() - expected).max() <= 1


@given(
    size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    target=st.tuples(st.integers(1, 256), st.integers(1, 256)).map(lambda t: (4 * t[0], 4 * t[1])),
)
def test_the_resized_size_is_the_records(size: tuple[int, int], target: tuple[int, int]) -> None:
    zoom = tf.reduce_min(tf.constant(target, tf.float64) / tf.constant(size, tf.float64))
    found = tf.maximum(tf.cast(tf.round(tf.constant(size, tf.float64) * zoom), tf.int32), 1)
    assert tuple(found.numpy()) == geometry.letterbox(size, target).valid[2:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_formats(kind: str) -> None:
    image = signatures.decode_image(tf.constant(_encode(_photograph(20, 30), kind)))
    assert image.shape == (20, 30, 3)
    assert image.dtype == tf.uint8


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG")]
)
def test_other_colour_modes_become_rgb(mode: str, kind: str) -> None:
    image = Image.fromarray(_photograph(20, 30)).convert(mode)
    found = signatures.decode_image(tf.constant(_encode(image, kind))).numpy()
    assert found.shape == (20, 30, 3)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), decode(_encode(image, kind), (20, 30)).pixels, atol=1)


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (200, 10)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(signatures.decode_image(tf.constant(buffer.getvalue())), np.full((20, 30, 3), 200))


@pytest.fixture(scope="module")
def signature(exported: Path) -> Signature:
    """`serving_default`, loaded once: as in a server, other requests follow a failed one."""
    return load_signature(str(exported))


def test_images_of_any_sizes_within_one_batch(signature: Signature) -> None:
    sizes = [(32, 64), (100, 50), (17, 200)]
    together = signature(image_bytes=tf.constant([random_jpeg(*size, i) for i, size in enumerate(sizes)]))
    assert together["image_size"].numpy().tolist() == [list(s) for s in sizes]
    boxes = together["detection_boxes"].numpy()
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert set(together["detection_classes"].numpy().ravel()) <= {10, 20, 30}
    for i, size in enumerate(sizes):
        alone = signature(image_bytes=tf.constant([random_jpeg(*size, i)]))
        np.testing.assert_allclose(alone["detection_scores"][0], together["detection_scores"][i], atol=1e-5)


def test_the_signature_with_features_detects_the_same(exported: Path, trained: Path, signature: Signature) -> None:
    """Its features are the mean of the backbone's deepest level over the image, without the padding."""
    images = tf.constant([random_jpeg(60, 60), random_jpeg(32, 64, seed=1)])
    found = dict(load_signature(str(exported), FEATURES)(image_bytes=images))
    features = found.pop(POOLED).numpy()
    served = signature(image_bytes=images)
    assert found.keys() == served.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, served[name], err_msg=name)
    task = trained_task(parse_config((trained / "config.yaml").read_text()), finished.require_summary(str(trained)))
    model = network.build_model(task)
    model(tf.zeros([1, *SIZE, 3]), training=False)
    finished.restore_weights(str(trained), model)
    for image, row in zip(images, features, strict=True):
        pixels, valid = signatures.letterbox(signatures.decode_image(image), SIZE)
        level = list(model.backbone(model.normalize(pixels[None]), training=False).values())[-1][0].numpy()
        height, width = (math.ceil(int(v) * n / side) for v, n, side in zip(valid, level.shape, SIZE, strict=False))
        np.testing.assert_allclose(row, level[:height, :width].mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)
    assert (height, width) == level.shape[:2], "the second image fills the input, the first one half of it"


def test_num_detections_counts_scores_above_the_threshold(exported: Path, signature: Signature) -> None:
    outputs = signature(image_bytes=tf.constant([random_jpeg(32, 64)]))
    threshold = read_label_map(str(exported))["score_threshold"]
    assert int(outputs["num_detections"][0]) == int((outputs["detection_scores"].numpy()[0] >= threshold).sum())


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff broken", "truncated"])
def test_a_corrupt_image_fails_its_request_by_index_and_not_the_process(signature: Signature, bad: bytes | str) -> None:
    broken = random_jpeg(60, 60)[:400] if bad == "truncated" else bad
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"image_bytes\[1 3\]: cannot be decoded as JPEG, PNG, GIF"
    ):
        signature(image_bytes=tf.constant([random_jpeg(32, 64), broken, random_jpeg(20, 20), broken]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[0\]"):
        signature(image_bytes=tf.constant([broken]))
    assert signature(image_bytes=tf.constant([random_jpeg(32, 64)]))["image_size"].numpy().tolist() == [[32, 64]]


def test_an_image_above_the_pixel_limit_of_preprocessing_is_refused_by_its_header(signature: Signature) -> None:
    """Decoding a PNG of 9,400 x 9,400 pixels took 3.4 GB."""
    good, large = random_jpeg(32, 64), png_header(20_000, 20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"image_bytes\[1\]: more than {MAX_PIXELS} pixels"):
        signature(image_bytes=tf.constant([good, large, good]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert signature(image_bytes=tf.constant([good]))["image_size"].numpy().tolist() == [[32, 64]]


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_webp_is_served_as_it_was_trained(signature: Signature, options: dict[str, bool]) -> None:
    pixels = _photograph(40, 70)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", **options)
    found = signature(image_bytes=tf.constant([buffer.getvalue()]))
    records = decode(buffer.getvalue(), (40, 70)).pixels
    same = signature(image_bytes=tf.constant([_encode(records, "PNG")]))
    np.testing.assert_array_equal(found["detection_scores"], same["detection_scores"])


def test_an_empty_batch_is_refused_in_words(signature: Signature) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="image_bytes: is empty; send at least one image"):
        signature(image_bytes=tf.constant([], tf.string))
