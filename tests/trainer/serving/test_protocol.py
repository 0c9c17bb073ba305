import base64
from typing import Any

import numpy as np
import pytest

from trainer.serving.plan import ServedClass
from trainer.serving.protocol import (
    Answers,
    BadRequest,
    given_threshold,
    v1_answer,
    v1_images,
    v2_images,
    v2_tensors,
)

BYTES = b"\xff\xd8\x00 any bytes"
TEXT = base64.b64encode(BYTES).decode()
CLASSES = (
    ServedClass(category_id=10, name="disc", score_threshold=0.5),
    ServedClass(category_id=20, name="star", score_threshold=0.25),
)


@pytest.mark.parametrize(
    "instances",
    [[{"b64": TEXT}], [{"image_bytes": {"b64": TEXT}}], [TEXT], [{"b64": TEXT}, {"image_bytes": {"b64": TEXT}}]],
)
def test_v1_images(instances: list[Any]) -> None:
    assert v1_images({"instances": instances}) == [BYTES] * len(instances)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\xff\xd8", "body: not a JSON object; send"),
        ([], "Content-Type: application/json"),
        ({}, "instances: not a list"),
        ({"instances": []}, "instances: not a list with at least one image"),
        ({"instances": {"b64": TEXT}}, "instances: not a list"),
        ({"instances": [{"b64": TEXT}, 7]}, r"instances\[1\]: not an image in base64"),
        ({"instances": [{"b64": TEXT, "more": 1}]}, r"instances\[0\]: not an image in base64"),
        ({"instances": [{"b64": "%"}]}, r"instances\[0\]: not base64"),
        ({"instances": [{"b64": "Ä"}]}, r"instances\[0\]: not base64"),
        ({"instances": [{"b64": TEXT[:-1]}]}, r"instances\[0\]: not base64"),
    ],
)
def test_bad_v1_bodies_are_named(body: Any, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        v1_images(body)


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_v2_images(shape: list[int]) -> None:
    assert v2_images("image_bytes", "BYTES", shape, [TEXT, {"b64": TEXT}, BYTES], 0) == [BYTES] * 3


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "image"}, "the model has one input, image_bytes"),
        ({"datatype": "FP32"}, "of type BYTES"),
        ({"others": 1}, "one input"),
        ({"shape": [2]}, r"inputs\[0\].shape: is \[2\], and data has 1 images; use \[1\]"),
        ({"data": []}, "at least one image"),
        ({"data": None}, "at least one image"),
        ({"data": [1.5]}, r"inputs\[0\].data\[0\]: not an image in base64"),
    ],
)
def test_bad_v2_inputs_are_named(changed: dict[str, Any], says: str) -> None:
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [TEXT], "others": 0}
    with pytest.raises(BadRequest, match=says):
        v2_images(**(given | changed))


def test_the_threshold_of_a_request() -> None:
    assert given_threshold(None) is None
    assert given_threshold({}) is None
    assert given_threshold({"score_threshold": 0}) == 0
    assert given_threshold({"score_threshold": 0.4}) == 0.4
    for bad in ({"score_threshold": 1.1}, {"score_threshold": "0.4"}, {"score_threshold": True}, {"top_k": 3}, [1]):
        with pytest.raises(BadRequest, match="parameters"):
            given_threshold(bad)


def found(*detections: tuple[int, float]) -> dict[str, np.ndarray]:
    """The signature's outputs for one image, with two rows of padding."""
    classes, scores = zip(*detections, (10, 0.0), (10, 0.0), strict=True)
    return {
        "detection_boxes": np.arange(4 * len(scores), dtype=np.float32).reshape(-1, 4),
        "detection_scores": np.array(scores, np.float32),
        "detection_classes": np.array(classes, np.int32),
        "num_detections": np.array(1, np.int32),
        "image_size": np.array([30, 40], np.int32),
    }


def test_answers_hold_what_reaches_its_classs_threshold_or_the_requests() -> None:
    answers = Answers(CLASSES)
    image = found((10, 0.6), (10, 0.4), (20, 0.3), (30, 0.3))
    assert v1_answer([answers.of(image, None)]) == {
        "predictions": [
            {
                "detection_boxes": [[0, 1, 2, 3], [8, 9, 10, 11]],
                "detection_scores": [pytest.approx(0.6), pytest.approx(0.3)],
                "detection_classes": [10, 20],
                "detection_names": ["disc", "star"],
                "num_detections": 2,
                "image_size": [30, 40],
            }
        ]
    }
    assert answers.of(image, 0)["detection_names"].tolist() == ["disc", "disc", "star", "30"], "no padding"
    assert answers.of(image, 0.99)["num_detections"] == 0


def test_v2_tensors_of_images_with_different_counts() -> None:
    answers = Answers(CLASSES)
    tensors = {
        name: (datatype, values)
        for name, datatype, values in v2_tensors(
            [
                answers.of(found((10, 0.6), (20, 0.5)), None),
                answers.of(found(), None),
                answers.of(found((20, 0.7)), None),
            ]
        )
    }
    shapes = {name: (datatype, values.shape) for name, (datatype, values) in tensors.items()}
    assert shapes == {
        "detection_boxes": ("FP32", (3, 2, 4)),
        "detection_scores": ("FP32", (3, 2)),
        "detection_classes": ("INT32", (3, 2)),
        "detection_names": ("BYTES", (3, 2)),
        "num_detections": ("INT32", (3,)),
        "image_size": ("INT32", (3, 2)),
    }
    assert tensors["num_detections"][1].tolist() == [2, 0, 1]
    assert tensors["detection_names"][1].tolist() == [["disc", "star"], ["", ""], ["star", ""]]
    assert tensors["detection_classes"][1].tolist() == [[10, 20], [0, 0], [20, 0]]
