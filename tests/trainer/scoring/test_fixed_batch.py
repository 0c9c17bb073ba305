"""A fixed batch: places that can't be used are filled, and whoever is refused is refused alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.reasons import Reason
from tests.trainer.validation_images import random_jpeg
from trainer.registry.digest import model_digest
from trainer.saved_model.layout import LABEL_MAP
from trainer.scoring.fixed_batch import FixedBatches

pytestmark = pytest.mark.xdist_group("exported")  # a worker that has loaded TensorFlow

GOOD, OTHER, LONG = (random_jpeg(*size, seed=size[0]) for size in ((8, 9), (9, 8), (60, 60)))


class Picky(tf.Module):
    """A model that refuses long files, although TensorFlow's decoder takes them."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        lengths = tf.strings.length(image_bytes)
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(lengths < len(LONG)), ["no"])]):
            heights = tf.map_fn(_height, image_bytes, fn_output_signature=tf.int32)
            return {"length": lengths, "height": heights, "images": tf.fill(tf.shape(lengths), tf.size(lengths))}


def _height(image: tf.Tensor) -> tf.Tensor:
    return tf.shape(tf.io.decode_image(image, channels=3, expand_animations=False))[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("picky") / "model"
    made = Picky()
    tf.saved_model.save(made, str(folder), signatures={"serving_default": made.serve})
    (folder / LABEL_MAP).write_text(json.dumps({"categories": [], "score_threshold": 0.5}))
    return str(folder)


@pytest.fixture(scope="module")
def batches(model: str) -> FixedBatches:
    return FixedBatches(model, model_digest(model), 4)


def test_a_model_of_an_earlier_version_has_no_signature_with_features(model: str) -> None:
    (answer,) = FixedBatches(model, model_digest(model), 4, features=True)([GOOD])
    assert isinstance(answer, dict)
    assert answer["length"] == len(GOOD)


def test_every_call_has_the_same_number_of_images(batches: FixedBatches) -> None:
    for images in ([GOOD], [GOOD, OTHER], [GOOD, None, OTHER, GOOD]):
        answers = batches(images)
        assert len(answers) == len(images)
        for image, answer in zip(images, answers, strict=True):
            assert isinstance(answer, dict)
            assert answer["images"] == 4
            assert image is None or answer["length"] == len(image)


@pytest.mark.parametrize(
    ("images", "reasons"),
    [
        ([GOOD, b"text", OTHER, b""], [None, Reason.NOT_AN_IMAGE, None, Reason.ZERO_SIZE]),
        ([LONG, GOOD], [Reason.UNREADABLE_IMAGE, None]),
        ([b"text", LONG, GOOD], [Reason.NOT_AN_IMAGE, Reason.UNREADABLE_IMAGE, None]),
    ],
)
def test_an_image_that_is_refused_is_refused_alone(
    batches: FixedBatches, images: list[bytes], reasons: list[Reason | None]
) -> None:
    answers = batches(images)
    assert [None if isinstance(answer, dict) else answer[0] for answer in answers] == reasons
    kept = [answer["length"] for answer in answers if isinstance(answer, dict)]
    assert kept == [np.int32(len(image)) for image, reason in zip(images, reasons, strict=True) if reason is None]


def test_another_model_than_the_driver_saw(model: str) -> None:
    with pytest.raises(InputError, match=f"{Path(model).name}: changed since the job began"):
        FixedBatches(model, "0" * 64, 4)
