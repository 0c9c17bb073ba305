"""What each of the colour changes does, and how much of it; which image gets what is in test_task.py."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.config.experiment import Augmentation
from trainer.data import augmentation
from trainer.data.augmentation import LUMA, augment
from trainer.data.heatmap import Labels

BATCH, SIDE, VALID = 64, 16, 12
OFF = {"flip": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
TO_IQ = augmentation._TO_IQ


def _labels() -> Labels:
    """Labels of images whose last rows are padding; a cell is a pixel, and each image has one object."""
    cell = tf.constant(np.arange(BATCH)[:, None] * 3 % (SIDE * SIDE), tf.int32)
    one, none = tf.ones([BATCH, 1]), tf.zeros([BATCH, 1], tf.int32)
    return Labels(
        image_id=tf.range(BATCH, dtype=tf.int64) * 17 + 3,
        image_weight=tf.ones([BATCH]),
        valid=tf.repeat(tf.constant([[0, 0, VALID, SIDE]]), BATCH, axis=0),
        cell_index=cell,
        cell_class=none,
        cell_value=one,
        object_cell=cell,
        object_class=none,
        object_offset=tf.fill([BATCH, 1, 2], 0.25),
        object_size=tf.ones([BATCH, 1, 2]),
        object_mask=one,
        ignore_mask=tf.zeros([BATCH, 0]),
    )


def _images(low: int = 90, high: int = 140) -> np.ndarray:
    """uint8, muted enough that nothing is clipped; the padding is black."""
    images = np.random.default_rng(0).integers(low, high, (BATCH, SIDE, SIDE, 3)).astype(np.uint8)
    images[:, VALID:] = 0
    return images


def _augmented(**changes: object) -> tuple[np.ndarray, np.ndarray]:
    """(before, after), float32 [B, VALID, SIDE, 3]: without the padding."""
    images = _images()
    config = Augmentation(**(OFF | changes))  # type: ignore[arg-type]
    after, _ = augment(tf.constant(images), _labels(), config, 0, tf.constant(7, tf.int64), SIDE)
    assert not after.numpy()[:, VALID:].any(), "padding stays black"
    return images[:, :VALID].astype(np.float32), after.numpy()[:, :VALID]


def _spread(factors: np.ndarray, low: float, high: float) -> None:
    """Drawn from all of the range, and by image."""
    assert low <= factors.min() < low + 0.15 * (high - low)
    assert high - 0.15 * (high - low) < factors.max() <= high
    assert abs(factors.mean() - (low + high) / 2) < 0.1 * (high - low)
    assert len(np.unique(factors.round(6))) == BATCH


def _grey(images: np.ndarray) -> np.ndarray:
    return images @ np.array(LUMA, np.float32)


def test_without_augmentation_nothing_changes() -> None:
    before, after = _augmented()
    np.testing.assert_allclose(after, before, atol=1e-3)


def test_brightness_is_a_factor() -> None:
    before, after = _augmented(brightness=0.2)
    factors = (after / before).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(after, before * factors[:, None, None, None], rtol=1e-4)
    _spread(factors, 0.8, 1.2)


def test_contrast_is_around_the_mean_of_the_grey_image() -> None:
    before, after = _augmented(contrast=0.3)
    mean = _grey(before).mean(axis=(1, 2))[:, None, None, None]  # of the valid part alone
    factors = ((after - mean) / (before - mean)).mean(axis=(1, 2, 3), where=np.abs(before - mean) > 5)
    np.testing.assert_allclose(after, mean + factors[:, None, None, None] * (before - mean), atol=0.02)
    _spread(factors, 0.7, 1.3)


def test_saturation_is_around_each_pixels_grey() -> None:
    before, after = _augmented(saturation=0.2)
    grey = _grey(before)[..., None]
    np.testing.assert_allclose(_grey(after), grey[..., 0], rtol=1e-4)
    with np.errstate(divide="ignore", invalid="ignore"):  # pixels that are grey already
        factors = ((after - grey) / (before - grey)).mean(axis=(1, 2, 3), where=np.abs(before - grey) > 5)
    np.testing.assert_allclose(after, grey + factors[:, None, None, None] * (before - grey), atol=0.02)
    _spread(factors, 0.8, 1.2)


def test_hue_turns_the_colour_and_keeps_grey_and_strength() -> None:
    before, after = _augmented(hue=0.05)
    np.testing.assert_allclose(_grey(after), _grey(before), rtol=1e-4)
    chroma = [(images @ TO_IQ.T) @ np.array([1, 1j]) for images in (before, after)]
    strong = np.abs(chroma[0]) > 5
    np.testing.assert_allclose(np.abs(chroma[1])[strong], np.abs(chroma[0])[strong], rtol=1e-3)
    turns = np.array([np.angle(b[s] / a[s]).mean() for a, b, s in zip(*chroma, strong, strict=True)]) / (2 * np.pi)
    _spread(turns, -0.05, 0.05)


def test_the_four_together_are_the_four_in_a_row() -> None:
    """One matrix and one constant an image, drawn as the single ones are."""
    strength = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.2, "hue": 0.05}
    before, together = _augmented(**strength)
    draws = 2.0 * augmentation._uniform(_labels().image_id, 0, tf.constant(7, tf.int64), 5).numpy()[:, 1:] - 1.0
    b, c, s = ((1 + draws[:, i] * strength[n])[:, None, None, None] for i, n in enumerate(strength) if n != "hue")
    angle = 2 * np.pi * strength["hue"] * draws[:, 3]
    image = b * before
    chroma = (image @ TO_IQ.T) @ np.array([1, 1j]) * np.exp(1j * angle)[:, None, None]
    yiq = np.stack([_grey(image), chroma.real, chroma.imag], axis=-1)
    image = yiq @ np.linalg.inv(np.vstack([LUMA, TO_IQ])).T
    image = _grey(image)[..., None] + s * (image - _grey(image)[..., None])
    mean = _grey(image).mean(axis=(1, 2))[:, None, None, None]
    np.testing.assert_allclose(together, mean + c * (image - mean), rtol=1e-3)


def test_half_of_the_images_are_mirrored_with_their_targets() -> None:
    images, labels = _images(), _labels()
    config = Augmentation(**(OFF | {"flip": True}))  # type: ignore[arg-type]
    after, moved = augment(tf.constant(images), labels, config, 0, tf.constant(7, tf.int64), SIDE)
    turned = np.array([np.allclose(a, b[:, ::-1], atol=1e-3) for a, b in zip(after.numpy(), images, strict=True)])
    kept = np.array([np.allclose(a, b, atol=1e-3) for a, b in zip(after.numpy(), images, strict=True)])
    assert (turned ^ kept).all()
    assert 0.3 < turned.mean() < 0.7
    y, x = np.divmod(labels.object_cell.numpy()[:, 0], SIDE)
    expected = np.where(turned, y * SIDE + SIDE - 1 - x, y * SIDE + x)
    np.testing.assert_array_equal(moved.object_cell.numpy()[:, 0], expected)


def test_colours_end_at_black_and_white() -> None:
    config = Augmentation(**(OFF | {"brightness": 1.0}))  # type: ignore[arg-type]
    after, _ = augment(tf.constant(_images(200, 256)), _labels(), config, 0, tf.constant(7, tf.int64), SIDE)
    assert after.numpy().min() >= 0.0
    assert after.numpy().max() == pytest.approx(255.0)


def test_draws_of_steps_images_and_kinds_are_independent() -> None:
    """Correlations stay within five standard deviations of 0; half of the flips, of an image and of a step alike."""
    ids = tf.range(1000, 1500, dtype=tf.int64)
    draws = np.stack([augmentation._uniform(ids, 0, tf.constant(s, tf.int64), 5).numpy() for s in range(100)])
    flips = draws[..., 0] < 0.5
    assert np.abs(flips.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(100)
    assert np.abs(flips.mean(axis=1) - 0.5).max() < 5 * 0.5 / np.sqrt(500)
    pairs = [
        (draws[:-1], draws[1:]),  # a step and the next
        (draws[:, :-1], draws[:, 1:]),  # an image and the next
        *((draws[..., i], draws[..., j]) for i in range(5) for j in range(i)),  # flip, brightness, …
    ]
    for one, other in pairs:
        found = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(found) < 5 / np.sqrt(one.size)
