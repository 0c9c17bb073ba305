import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import SIZE
from tests.trainer.validation_images import CATEGORIES, SIZES, write_images
from trainer.config.experiment import build_experiment
from trainer.config.sections import ExportConfig, parse_config
from trainer.model import network
from trainer.saved_model import parity
from trainer.saved_model.parity import Detector, Parity, match
from trainer.weights import finished

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_images(tmp_path_factory.mktemp("validation"))


@pytest.fixture(scope="module")
def model(trained: Path) -> network.CenterNetModel:
    """The network of the checkpoint."""
    task = build_experiment(parse_config((trained / "config.yaml").read_text())).task
    task.model.num_classes = 3
    built = network.build_model(task)
    built(tf.zeros([1, *SIZE, 3]), training=False)
    finished.restore_weights(str(trained), built)
    return built


def detector(model: network.CenterNetModel) -> Detector:
    return parity.checkpoint_detector(model, input_sizes=[SIZE], category_ids=CATEGORIES, flip=False)


def measured(images: tuple[Path, Path], one: Detector, other: Detector, **options: float) -> Parity:
    return parity.measure(
        checkpoint=one,
        exported=other,
        images=str(images[0]),
        annotations=str(images[1]),
        input_size=SIZE,
        config=ExportConfig(**{"score_threshold": 0.05, **options}),
        data_digest="d1",
    )


def test_the_export_detects_what_its_checkpoint_does(
    images: tuple[Path, Path], model: network.CenterNetModel, exported: Path
) -> None:
    """Through JPEG, PNG, BMP and GIF, gray, palette and CMYK, of six sizes, on pixels prepared by other libraries."""
    found = measured(images, detector(model), parity.export_detector(str(exported)), score_threshold=0.3)
    assert found.passed, found.failures
    assert found.images == len(SIZES)
    assert found.matched >= len(SIZES), "every image's best detection is compared"
    assert 0 < found.max_score_delta < 0.01, "other libraries resize: not bit-equal"
    assert found.data_digest == "d1"
    written = json.loads(found.to_json())
    assert written["bounds"]["max_box_delta"] == 2.0
    assert written["schema_version"] == 1


def test_other_weights_are_refused(
    images: tuple[Path, Path], model: network.CenterNetModel, exported: Path, trained: Path
) -> None:
    """Parity exists to find an export whose weights are not the checkpoint's."""
    bias = max((v for v in model.trainable_variables if v.shape.as_list() == [3]), key=lambda v: v.name)
    kept = bias.numpy()
    bias.assign_add([0.5, 0.5, 0.5])
    try:
        found = measured(images, detector(model), parity.export_detector(str(exported)), score_threshold=0.3)
    finally:
        bias.assign(kept)
    assert not found.passed
    assert "max_score_delta" in found.failures[0]


def test_as_many_images_as_asked_for_are_compared(images: tuple[Path, Path], model: network.CenterNetModel) -> None:
    same = measured(images, detector(model), detector(model), parity_images=2)
    assert (same.images, same.unmatched, same.max_score_delta, same.max_box_delta) == (2, 0, 0.0, 0.0)
    assert same.ap_checkpoint == same.ap_export


@pytest.mark.parametrize("problem", ["missing", "damaged", "another size"])
def test_an_image_that_cannot_be_used(
    images: tuple[Path, Path], model: network.CenterNetModel, tmp_path: Path, problem: str
) -> None:
    folder, annotations = write_images(tmp_path)
    if problem == "missing":
        (folder / "0.jpeg").unlink()
    elif problem == "damaged":
        (folder / "0.jpeg").write_bytes((folder / "0.jpeg").read_bytes()[:200])
    else:
        (folder / "0.jpeg").write_bytes((folder / "4.jpeg").read_bytes())
    with pytest.raises(InputError, match=r"no such image|can't be used"):
        measured((folder, annotations), detector(model), detector(model))


def detections(*rows: tuple[float, float, float, float, float, int]) -> dict[str, np.ndarray]:
    values = np.array(rows, np.float64).reshape(-1, 6)
    return {"boxes": values[:, :4], "scores": values[:, 4], "categories": values[:, 5].astype(int)}


A = (0, 0, 10, 10, 0.9, 1)
MOVED = (0, 1, 10, 11, 0.8, 1)
FAR = (50, 50, 60, 60, 0.7, 1)


@pytest.mark.parametrize(
    ("one", "other", "pairs", "alone"),
    [
        ([], [], [], 0),
        ([A], [A], [(0, 0)], 0),
        ([A], [MOVED], [(0, 0)], 0),
        ([A], [FAR], [], 2),
        ([A], [], [], 1),
        ([A], [(*A[:5], 2)], [], 2),  # another category
        ([A, FAR], [A], [(0, 0)], 1),
        ([A, MOVED], [MOVED, A], [(0, 1), (1, 0)], 0),  # the nearest, whatever the order
        ([A, A], [A], [(0, 0)], 1),  # each at most once
        ([A, (*FAR[:4], 0.5, 1)], [A, (*FAR[:4], 0.49, 1)], [(0, 0), (1, 1)], 0),  # one side reaches the threshold
        ([A, (*FAR[:4], 0.2, 1)], [A], [(0, 0)], 0),  # too weak to count
        ([(*A[:4], 0.1, 1)], [(*A[:4], 0.1, 1)], [(0, 0)], 0),  # the best one always counts
    ],
)
def test_match(one: list, other: list, pairs: list[tuple[int, int]], alone: int) -> None:
    found, unmatched = match(detections(*one), detections(*other), threshold=0.5)
    assert (sorted(found), unmatched) == (pairs, alone)


PASSING = Parity(
    schema_version=1,
    data_digest="",
    images=10,
    matched=100,
    unmatched=2,
    max_score_delta=0.01,
    max_box_delta=8.0,
    max_box_delta_input=2.0,
    ap_checkpoint=0.5,
    ap_export=0.495,
    bounds={"max_score_delta": 0.01, "max_box_delta": 2.0, "max_ap_delta": 0.0051, "max_unmatched": 0.01},
    passed=True,
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"ap_checkpoint": None, "ap_export": None}, None),  # no objects: AP isn't defined on either side
        ({"max_score_delta": 0.0101}, "max_score_delta 0.0101 > 0.01"),
        ({"max_score_delta": float("nan")}, "max_score_delta nan"),
        ({"max_box_delta_input": 2.1}, "max_box_delta_input 2.1 > 2"),
        ({"unmatched": 3}, "3 of 203 detections have no counterpart"),
        ({"ap_export": 0.49}, "AP 0.4900 instead of 0.5000"),
        ({"ap_export": 0.51}, "AP 0.5100 instead of 0.5000"),  # better is different, too
        ({"ap_export": None}, "AP None instead of 0.5"),
    ],
)
def test_bounds(change: dict[str, float | None], words: str | None) -> None:
    failures = replace(PASSING, **change).failures
    if words is None:
        assert failures == ()
    else:
        assert len(failures) == 1
        assert words in failures[0]
