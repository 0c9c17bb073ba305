import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import SIZE
from tests.trainer.validation_images import CATEGORIES, SIZES, write_images
from trainer.config.experiment import build_experiment
from trainer.config.sections import ExportConfig, parse_config
from trainer.model import network
from trainer.saved_model import parity, signatures
from trainer.saved_model.inference import load_model
from trainer.saved_model.parity import Detector, Parity, match
from trainer.saved_model.served_pixels import MAX_PIXEL_DELTA, Pixels, ServedPixels, record_pixels
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


@pytest.fixture(scope="module")
def loaded(exported: Path) -> Any:
    """The SavedModel, loaded from its files."""
    return load_model(str(exported))


def detector(model: network.CenterNetModel, pixels: Pixels | None = None) -> Detector:
    pixels = pixels or record_pixels([SIZE])
    return parity.checkpoint_detector(model, pixels=pixels, input_size=SIZE, category_ids=CATEGORIES, flip=False)


def measured(
    images: tuple[Path, Path], one: Detector, other: Detector, pixels: ServedPixels | None = None, **options: float
) -> Parity:
    return parity.measure(
        checkpoint=one,
        exported=other,
        pixels=pixels,
        images=str(images[0]),
        annotations=str(images[1]),
        input_size=SIZE,
        config=ExportConfig(**{"score_threshold": 0.05, **options}),
        data_digest="d1",
    )


def test_the_export_detects_what_its_checkpoint_does(
    images: tuple[Path, Path], model: network.CenterNetModel, loaded: Any
) -> None:
    """Through JPEG, PNG, BMP and GIF, gray, palette and CMYK, of six sizes, on pixels that other libraries confirm."""
    pixels = ServedPixels(loaded, [SIZE])
    found = measured(images, detector(model, pixels), served(loaded), pixels, score_threshold=0.3)
    assert found.passed, found.failures
    assert found.images == len(SIZES)
    assert found.matched >= len(SIZES), "every image's best detection is compared"
    assert found.max_score_delta < 1e-5, "the same pixels"
    assert 0 < found.max_pixel_delta <= MAX_PIXEL_DELTA, "other libraries resize: not bit-equal"
    assert found.data_digest == "d1"
    written = json.loads(found.to_json())
    assert written["bounds"]["max_box_delta"] == 2.0
    assert written["schema_version"] == 3


def served(loaded: Any, **changes: Callable[[tf.Tensor], tf.Tensor]) -> Detector:
    """What the SavedModel detects, with a defect in some of its outputs."""
    signature = loaded.signatures["serving_default"]

    def run(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = signature(image_bytes=image_bytes)
        return outputs | {name: change(outputs[name]) for name, change in changes.items()}

    return parity.export_detector(run)


@pytest.mark.parametrize(
    "defect",
    [
        {"detection_boxes": lambda boxes: boxes * 0.9},  # mapped back with another size
        {"detection_boxes": lambda boxes: tf.gather(boxes, [1, 0, 3, 2], axis=2)},
        {"detection_classes": lambda classes: 40 - classes},  # the label map's order
        {"detection_scores": lambda scores: scores + 0.02},
        {"detection_scores": lambda scores: scores * np.nan},
    ],
)
def test_an_export_that_detects_otherwise_is_refused(
    images: tuple[Path, Path], model: network.CenterNetModel, loaded: Any, defect: dict[str, Any]
) -> None:
    pixels = ServedPixels(loaded, [SIZE])
    found = measured(images, detector(model, pixels), served(loaded, **defect), pixels, score_threshold=0.3)
    assert not found.passed


def test_other_weights_are_refused(
    images: tuple[Path, Path], model: network.CenterNetModel, loaded: Any, trained: Path
) -> None:
    """Parity exists to find an export whose weights are not the checkpoint's."""
    bias = max((v for v in model.trainable_variables if v.shape.as_list() == [3]), key=lambda v: v.name)
    kept = bias.numpy()
    bias.assign_add([0.5, 0.5, 0.5])
    try:
        found = measured(images, detector(model), served(loaded), score_threshold=0.3)
    finally:
        bias.assign(kept)
    assert not found.passed
    assert "detections have no counterpart within the bounds" in found.failures[0]
    assert found.apart > 0.01 * found.matched


def serving(change: Callable[[tf.Tensor], tf.Tensor], resize: str = "") -> SimpleNamespace:
    """A served model whose network gets other pixels."""

    def network_input(encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = signatures.decode_image(encoded)
        pixels, valid = signatures.letterbox(image, SIZE)
        if resize:
            resized = tf.round(tf.image.resize(tf.cast(image, tf.float32), valid, method=resize))
            pixels = tf.image.pad_to_bounding_box(resized, 0, 0, *SIZE)
        return (change(pixels),)

    return SimpleNamespace(network_input=network_input)


@pytest.mark.parametrize(
    ("model", "passes"),
    [
        (serving(lambda pixels: pixels), True),
        (serving(lambda pixels: pixels + 3), False),
        (serving(lambda pixels: pixels[..., ::-1]), False),
        (serving(lambda pixels: tf.roll(pixels, 1, axis=0)), False),
        (serving(lambda pixels: pixels / 255), False),
        (serving(lambda pixels: pixels * np.nan), False),
        (serving(lambda pixels: pixels, "bilinear"), False),  # where the records average
        (serving(lambda pixels: pixels, "nearest"), False),
    ],
)
def test_pixels_that_only_rounding_explains(images: tuple[Path, Path], model: SimpleNamespace, passes: bool) -> None:
    """A network without limits amplifies them in its detections: they are bounded themselves."""

    def amplify(pixels: Pixels) -> Detector:
        def run(encoded: Sequence[bytes], declared: Sequence[tuple[int, int]]) -> list[dict[str, np.ndarray]]:
            sums = [pixels([data], [size])[0].astype(float).sum() for data, size in zip(encoded, declared, strict=True)]
            return [detections((0, 0, 9, 9, 0.6 + 0.3 * np.sin(total), 10)) for total in sums]

        return run

    pixels = ServedPixels(model, [SIZE])
    found = measured(images, amplify(pixels), amplify(ServedPixels(model, [SIZE])), pixels)
    assert found.passed is passes
    if passes:
        assert not measured(images, amplify(record_pixels([SIZE])), amplify(pixels)).passed, "on pixels of their own"
    else:
        assert "its network gets other pixels than the records have" in found.failures[0]


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
    schema_version=3,
    data_digest="",
    images=10,
    matched=100,
    unmatched=2,
    apart=1,
    max_score_delta=0.01,
    max_box_delta=8.0,
    max_box_delta_input=2.0,
    max_pixel_delta=1.0,
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
        ({"max_score_delta": 0.9, "max_box_delta_input": 90.0}, None),  # of one pair: the share is bounded
        ({"max_score_delta": float("nan")}, "max_score_delta is nan"),
        ({"max_pixel_delta": 3.0}, "other pixels than the records have, by up to 3 grey levels; rounding explains 2"),
        ({"max_pixel_delta": float("nan")}, "other pixels than the records have"),
        ({"max_box_delta": float("inf")}, "max_box_delta is inf"),
        ({"unmatched": 3}, "3 of 203 detections have no counterpart within the bounds, more than max_unmatched 0.01"),
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


TIE = ((40.0, 40.0, 64.0, 64.0, 0.47495, 1), (44.07, 40.0, 68.07, 64.0, 0.47484, 1))
"""A detection at two neighbouring cells that have nearly the same value, as each side saw it."""


@pytest.mark.parametrize(
    ("pairs", "tied", "options", "passes"),
    [
        (553, 1, {}, True),  # as it was seen
        (553, 1, {"max_unmatched": 0.0}, False),
        (98, 2, {}, False),  # 2 %
        (0, 1, {}, False),
        (98, 2, {"max_box_delta": 5.0}, True),
        (98, 2, {"max_unmatched": 0.02}, True),
    ],
)
def test_a_tied_peak_is_counted_and_the_share_is_bounded(
    tmp_path: Path, pairs: int, tied: int, options: dict[str, float], passes: bool
) -> None:
    """One image per pair; all other boxes differ by 0.018 pixels."""
    folder, annotations = write_images(tmp_path)
    content = json.loads(annotations.read_text())
    entry = {**content["images"][0], "height": SIZE[0], "width": SIZE[1]}  # at the network's own size
    encoded = (Path(folder) / entry["file_name"]).read_bytes()
    for number in range(pairs + tied):
        (Path(folder) / f"{number}.copy.jpeg").write_bytes(encoded)
    content["images"] = [{**entry, "id": i, "file_name": f"{i}.copy.jpeg"} for i in range(pairs + tied)]
    annotations.write_text(json.dumps({**content, "annotations": []}))

    def side(which: int) -> Detector:
        calls = iter(range(pairs + tied))

        def run(encoded: Sequence[bytes], declared: Sequence[tuple[int, int]]) -> list[dict[str, np.ndarray]]:
            close = (40.0 + 0.018 * which, 40.0, 64.0, 64.0, 0.5, 1)
            return [detections(TIE[which] if next(calls) < tied else close) for _ in declared]

        return run

    found = measured((folder, annotations), side(0), side(1), parity_images=10_000, **options)
    assert found.passed is passes, found.failures
    apart = tied if options.get("max_box_delta", 2.0) < 4.07 else 0
    assert (found.apart, found.matched, found.unmatched) == (apart, pairs + tied - apart, 2 * apart)
    assert found.max_box_delta == found.max_box_delta_input == pytest.approx(4.07), "reported, whatever the bounds"
    if not passes:
        assert f"{2 * tied} of {2 * (pairs + tied)} detections have no counterpart" in found.failures[0]
        assert "4.07 pixels" in found.failures[0]
