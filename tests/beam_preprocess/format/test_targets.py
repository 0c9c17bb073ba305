"""Targets against the dense formula, and against Model Garden's own op."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.targets import (
    SparseTargets,
    assign_targets,
    code_table,
    dense_heatmap,
    gaussian_radius,
    integer_radius,
    manifest_code_table,
    sigma_of,
)

CUTOFF = PreprocessConfig().heatmap_cutoff
CLASSES = 5
SHARED = Path(__file__).parents[4] / "shared"


def boxes_strategy(size: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    """Boxes inside the input: random ones, sub-pixel ones, the whole input, repeated ones."""

    def corners(values: tuple[float, float, float, float]) -> list[float]:
        (y0, y1), (x0, x1) = sorted(values[:2]), sorted(values[2:])
        return [y0 * size[0], x0 * size[1], y1 * size[0], x1 * size[1]]

    unit = st.floats(0, 1, width=32)
    box = st.tuples(unit, unit, unit, unit).map(corners)
    whole = st.just([0.0, 0.0, float(size[0]), float(size[1])])
    return st.lists(st.one_of(box, whole), max_size=8).map(lambda v: np.array(v, np.float64).reshape(-1, 4))


def assign(boxes: np.ndarray, size: tuple[int, int] = (64, 96), stride: int = 4) -> SparseTargets:
    classes = np.arange(len(boxes)) % CLASSES
    return assign_targets(boxes, classes, np.zeros(len(boxes), bool), image_size=size, stride=stride, cutoff=CUTOFF)


def naive_heatmap(targets: SparseTargets, map_size: tuple[int, int]) -> np.ndarray:
    """The formula, cell by cell, without a cut-off."""
    y, x = np.mgrid[: map_size[0], : map_size[1]]
    heatmap = np.zeros((*map_size, CLASSES))
    radius = integer_radius(targets.object_size[:, 0], targets.object_size[:, 1])
    for i, (cell, index) in enumerate(zip(targets.object_cell, targets.object_class, strict=True)):
        cy, cx = divmod(int(cell), map_size[1])
        sigma = (2 * float(radius[i]) + 1) / 6
        gaussian = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
        heatmap[..., index] = np.maximum(heatmap[..., index], gaussian)
    return heatmap


def assert_same_above_cutoff(heatmap: np.ndarray, full: np.ndarray) -> None:
    """Stored cells agree to 1e-6, all others are below the cut-off (values within rounding of it may go either way)."""
    stored = heatmap > 0
    np.testing.assert_allclose(heatmap[stored], full[stored], rtol=0, atol=1e-6)
    assert (full[~stored] < CUTOFF * (1 + 1e-5)).all()
    assert (heatmap[stored] >= np.float32(CUTOFF)).all()


@given(boxes=boxes_strategy((64, 96)))
def test_the_heatmap_is_the_maximum_of_the_gaussians(boxes: np.ndarray) -> None:
    targets = assign(boxes)
    assert_same_above_cutoff(dense_heatmap(targets, (16, 24), CLASSES, CUTOFF), naive_heatmap(targets, (16, 24)))


@given(boxes=boxes_strategy((64, 96)), stride=st.sampled_from([2, 4, 8]))
def test_centre_offset_and_size_give_the_box_back(boxes: np.ndarray, stride: int) -> None:
    targets = assign(boxes, stride=stride)
    cells = np.stack(np.divmod(targets.object_cell, 96 // stride), axis=1)
    centre = (cells + targets.object_offset) * stride
    size = targets.object_size * stride
    np.testing.assert_allclose(np.concatenate([centre - size / 2, centre + size / 2], axis=1), boxes, atol=1e-4)
    assert (targets.object_offset >= 0).all() and (targets.object_offset <= 1).all()


@given(boxes=boxes_strategy((64, 96)))
def test_every_centre_cell_is_exactly_one(boxes: np.ndarray) -> None:
    targets = assign(boxes)
    heatmap = dense_heatmap(targets, (16, 24), CLASSES, CUTOFF).reshape(-1, CLASSES)
    assert (heatmap[targets.object_cell, targets.object_class] == 1.0).all()


def test_cells_are_sorted_and_unique() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (30, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 24, (30, 2))], axis=1)
    targets = assign_targets(
        boxes, np.arange(30) % 3, np.arange(30) % 7 == 0, image_size=(64, 64), stride=4, cutoff=CUTOFF
    )
    keys = list(zip(targets.cell_crowd, targets.cell_class, targets.cell_index, strict=True))
    assert keys == sorted(set(keys))


def test_crowd_regions_stay_out_of_the_objects_heatmap() -> None:
    boxes = np.array([[0, 0, 32, 32], [32, 32, 64, 64]], float)
    targets = assign_targets(boxes, [0, 0], [True, False], image_size=(64, 64), stride=4, cutoff=CUTOFF)
    heatmap = dense_heatmap(targets, (16, 16), 1, CUTOFF)[..., 0]
    assert heatmap[12, 12] == 1
    assert heatmap[4, 4] < 1
    assert targets.object_crowd.tolist() == [True, False]


@pytest.mark.parametrize("count", [0, 1, 200])
def test_any_number_of_boxes(count: int) -> None:
    targets = assign(np.tile([[8.0, 8.0, 24.0, 40.0]], (count, 1)))
    assert len(targets.object_cell) == count
    assert (len(targets.cell_index) > 0) == (count > 0)


@pytest.mark.parametrize(
    ("box", "cell"),
    [
        ([0, 0, 0.1, 0.1], 0),
        ([63.9, 95.9, 64, 96], 16 * 24 - 1),
        ([64, 96, 64, 96], 16 * 24 - 1),  # a centre on the far corner belongs to the last cell
        ([0, 0, 64, 96], 8 * 24 + 12),
    ],
)
def test_boxes_at_the_borders(box: list[float], cell: int) -> None:
    targets = assign(np.array([box]))
    assert targets.object_cell.tolist() == [cell]
    assert len(targets.cell_index) > 0


@given(height=st.floats(0, 300, width=32), width=st.floats(0, 300, width=32))
def test_the_radius_is_the_smallest_of_the_three_roots(height: float, width: float) -> None:
    h, w, iou = float(height), float(width), 0.7

    def root(a: float, b: float, c: float) -> float:
        return (-b + max(b * b - 4 * a * c, 0) ** 0.5) / 2

    smallest = min(
        root(1, -(h + w), w * h * (1 - iou) / (1 + iou)),
        root(4, -2 * (h + w), (1 - iou) * w * h),
        root(4 * iou, 2 * iou * (h + w), (iou - 1) * w * h),
    )
    assert gaussian_radius(np.array([h]), np.array([w]))[0] == pytest.approx(smallest, abs=1e-3)


def test_the_code_table_is_lossless_and_fits_16_bits_for_coco() -> None:
    table = code_table((128, 128), CUTOFF)
    assert len(table.values) <= 1 << 16
    assert table.values.max() == 1.0
    for radius in (0, 5, len(table.stamps) - 1):
        stamp = table.stamps[radius]
        reach = stamp.shape[0] // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        exact = np.exp(-(y**2 + x**2) / (2.0 * float(sigma_of(radius)) ** 2))
        inside = stamp >= 0
        np.testing.assert_allclose(table.values[stamp[inside]], exact[inside], atol=1e-7)
        assert (exact[~inside] < CUTOFF * (1 + 1e-5)).all()


def negative_focal_loss(heatmap: np.ndarray, predicted: np.ndarray) -> float:
    """Equation 1 of "Objects as Points", with both cases; alpha 2, beta 4."""
    centre = heatmap == 1
    positive = (1 - predicted[centre]) ** 2 * -np.log(predicted[centre])
    negative = (1 - heatmap[~centre]) ** 4 * predicted[~centre] ** 2 * -np.log1p(-predicted[~centre])
    return float(positive.sum() + negative.sum())


@given(boxes=boxes_strategy((64, 96)).filter(len), seed=st.integers(0, 999))
def test_the_cut_off_changes_the_focal_loss_by_a_thousandth_at_most(boxes: np.ndarray, seed: int) -> None:
    """In any prediction state, the worst one included: confident exactly where cells were left out."""
    targets = assign(boxes)
    full = naive_heatmap(targets, (16, 24))
    centre_cells = np.stack(np.divmod(targets.object_cell, 24), axis=1)
    stored = dense_heatmap(targets, (16, 24), CLASSES, CUTOFF).astype(np.float64)
    full = np.where(stored > 0, stored, full)  # what is stored is float32: only the cut-off is judged
    rng = np.random.default_rng(seed)
    perfect = np.full(full.shape, 1e-4)
    perfect[centre_cells[:, 0], centre_cells[:, 1], targets.object_class] = 1 - 1e-4
    states = {
        "initial": np.full(full.shape, 0.1),
        "random": rng.uniform(1e-4, 1 - 1e-4, full.shape),
        "trained": np.clip(full, 1e-4, 1 - 1e-4),
        "perfect": perfect,
        "worst": np.where(stored == 1, 1 - 1e-4, np.where((stored == 0) & (full > 0), 1 - 1e-4, 1e-4)),
    }
    for name, predicted in states.items():
        loss, cut = negative_focal_loss(full, predicted), negative_focal_loss(stored, predicted)
        assert abs(cut - loss) <= 1e-3 * loss, name


def original_heatmap(boxes: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The original implementation, after draw_umich_gaussian and gaussian_radius of its utils/image.py."""
    heatmap = np.zeros((size[0] // stride, size[1] // stride, CLASSES), np.float32)
    for i, (y0, x0, y1, x1) in enumerate(np.asarray(boxes, np.float32) / stride):
        h, w = float(np.ceil(y1 - y0)), float(np.ceil(x1 - x0))
        r1 = (h + w + np.sqrt((h + w) ** 2 - 4 * w * h * 0.3 / 1.7)) / 2
        r2 = (2 * (h + w) + np.sqrt((2 * (h + w)) ** 2 - 16 * 0.3 * w * h)) / 2
        r3 = (-1.4 * (h + w) + np.sqrt((1.4 * (h + w)) ** 2 - 4 * 2.8 * -0.3 * w * h)) / 2
        r = max(0, int(min(r1, r2, r3)))
        cy, cx = int((y0 + y1) / 2), int((x0 + x1) / 2)
        dy, dx = np.ogrid[-r : r + 1, -r : r + 1]
        gaussian = np.exp(-(dx * dx + dy * dy) / (2 * ((2 * r + 1) / 6) ** 2))
        top, bottom = min(cy, r), min(heatmap.shape[0] - cy, r + 1)
        left, right = min(cx, r), min(heatmap.shape[1] - cx, r + 1)
        window = heatmap[cy - top : cy + bottom, cx - left : cx + right, i % CLASSES]
        np.maximum(window, gaussian[r - top : r + bottom, r - left : r + right], out=window)
    return heatmap


@pytest.mark.parametrize(("size", "stride"), [((128, 128), 4), ((512, 512), 4), ((96, 256), 8)])
def test_the_variant_of_the_original_implementation(size: tuple[int, int], stride: int) -> None:
    boxes = np.asarray(extreme_boxes(size, np.random.default_rng(3)), np.float32)
    cells = boxes / stride
    sides = np.ceil(cells[:, 2:] - cells[:, :2])
    radius = gaussian_radius(sides[:, 0], sides[:, 1])
    boxes = boxes[np.abs(radius - np.round(radius)) > 1e-4]
    classes, crowd = np.arange(len(boxes)) % CLASSES, np.zeros(len(boxes), bool)
    cutoff = 1e-5  # below the smallest value within a radius, exp(-9)
    found = assign_targets(boxes, classes, crowd, image_size=size, stride=stride, cutoff=cutoff, variant="original")
    map_size = size[0] // stride, size[1] // stride
    heatmap = dense_heatmap(found, map_size, CLASSES, cutoff, variant="original")
    np.testing.assert_allclose(heatmap, original_heatmap(boxes, size, stride), rtol=0, atol=1e-6)
    usual = assign_targets(boxes, classes, crowd, image_size=size, stride=stride, cutoff=cutoff)
    assert len(usual.cell_index) > len(found.cell_index)
    np.testing.assert_array_equal(usual.object_cell, found.object_cell)


@pytest.mark.parametrize("variant", ["model-garden", "original"])
def test_a_manifest_gives_the_table_that_made_its_codes(variant: Any) -> None:
    config = PreprocessConfig(image_size=(64, 96), target_variant=variant)
    table = manifest_code_table(dataclasses.asdict(config))
    assert table is code_table((16, 24), config.heatmap_cutoff, config.gaussian_iou, variant)


@pytest.mark.parametrize("num_classes", [1, 80, 1500])
@pytest.mark.parametrize(("size", "stride"), [((64, 192), 4), ((96, 48), 2), ((128, 64), 16)])
def test_any_shape_stride_and_number_of_classes(num_classes: int, size: tuple[int, int], stride: int) -> None:
    rng = np.random.default_rng(num_classes)
    corner = rng.uniform(0, 0.7, (150, 2)) * size
    boxes = np.concatenate([corner, np.minimum(corner + rng.uniform(1, 30, (150, 2)), size)], axis=1)
    classes = rng.integers(0, num_classes, 150)
    targets = assign_targets(boxes, classes, np.zeros(150, bool), image_size=size, stride=stride, cutoff=CUTOFF)
    heatmap = dense_heatmap(targets, (size[0] // stride, size[1] // stride), num_classes, CUTOFF)
    assert heatmap.shape == (size[0] // stride, size[1] // stride, num_classes)
    assert (heatmap.reshape(-1, num_classes)[targets.object_cell, classes] == 1).all()
    assert set(np.unique(np.nonzero(heatmap)[2])) == set(classes.tolist())


def model_garden(boxes: np.ndarray, classes: np.ndarray, size: tuple[int, int], stride: int) -> dict[str, np.ndarray]:
    """What the shipped op makes of the boxes (in input pixels) of one image."""
    import tensorflow as tf
    from official.projects.centernet.ops import target_assigner

    map_size = (size[0] // stride, size[1] // stride)
    labels = {
        "boxes": tf.constant(boxes, tf.float32),
        "classes": tf.constant(classes, tf.int32),
        "groundtruths": {"num_detections": tf.constant(len(boxes), tf.int32)},
    }
    result = target_assigner.assign_centernet_targets(
        labels=labels,
        output_size=list(map_size),
        input_size=list(size),
        num_classes=CLASSES,
        max_num_instances=len(boxes),
        gaussian_iou=0.7,
    )
    return {key: value.numpy() for key, value in result.items()}


def extreme_boxes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Two in one cell first; the whole input, sub-pixel ones, at each border and corner; 90 random ones of all sizes,
    40 of them twice."""
    height, width = size
    centre = rng.uniform(0, [height, width], (90, 2))
    side = np.exp(rng.uniform(np.log(0.3), np.log(max(size)), (90, 2)))
    boxes = np.clip(np.concatenate([centre - side / 2, centre + side / 2], axis=1), 0, [height, width] * 2)
    border = [
        [13.1, 14.2, 17.5, 16.7],
        [1.1, 2.2, 30.1, 29.3],
        [0, 0, height, width],
        [0, 10, 3, 30],
        [height - 3, 10, height, 30],
        [10, 0, 30, 3],
        [10, width - 3, 30, width],
        [0, 0, 0.2, 0.2],
        [height - 0.2, width - 0.2, height, width],
    ]
    return np.concatenate([np.array(border, float), boxes, boxes[:40]])


EXTREMES = 9
"""Number of fixed boxes in `extreme_boxes`, before the random ones."""


def unambiguous(boxes: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The boxes whose radius and centre are integers or at least 1e-4 away from one. float32 [N, 4].

    Without those on the far edge that have no width or height: Model Garden writes their centres outside of the map.
    """
    boxes = np.asarray(boxes, np.float32)
    boxes = boxes[(boxes[:, :2] < size).all(axis=1)]
    cells = boxes / np.float32(stride)
    radius = gaussian_radius(cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1])
    near = np.stack([radius, (cells[:, 0] + cells[:, 2]) / 2, (cells[:, 1] + cells[:, 3]) / 2], axis=1)
    distance = np.abs(near - np.round(near))
    return boxes[((distance == 0) | (distance > 1e-4)).all(axis=1)]


def assert_equals_model_garden(boxes: np.ndarray, size: tuple[int, int], stride: int = 4) -> None:
    """To 1e-6. Boxes whose radius or centre almost is an integer are left out: there either neighbour counts."""
    boxes = unambiguous(boxes, size, stride)
    # Some boxes twice, so that there are few different numbers of them: TensorFlow traces the op anew for each.
    boxes = np.resize(boxes, (1 << (len(boxes) - 1).bit_length(), 4))
    classes = np.arange(len(boxes)) // 2 % CLASSES
    ours = assign_targets(boxes, classes, np.zeros(len(boxes), bool), image_size=size, stride=stride, cutoff=CUTOFF)
    theirs = model_garden(boxes, classes, size, stride)
    map_size = (size[0] // stride, size[1] // stride)
    assert_same_above_cutoff(dense_heatmap(ours, map_size, CLASSES, CUTOFF), theirs["ct_heatmaps"])
    count = len(boxes)
    np.testing.assert_array_equal(
        theirs["box_indices"][:count], np.stack(np.divmod(ours.object_cell, map_size[1]), axis=1)
    )
    np.testing.assert_allclose(theirs["ct_offset"][:count], ours.object_offset, rtol=0, atol=1e-6)
    np.testing.assert_allclose(theirs["size"][:count], ours.object_size, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "stride"), [((128, 128), 4), ((512, 512), 4), ((128, 256), 4), ((256, 128), 8)])
def test_targets_are_those_of_model_garden(size: tuple[int, int], stride: int) -> None:
    boxes = extreme_boxes(size, np.random.default_rng(1))
    first, second = boxes[:2]
    assert ((first[:2] + first[2:]) // (2 * stride) == (second[:2] + second[2:]) // (2 * stride)).all()
    compared = unambiguous(boxes, size, stride)
    assert len(compared) >= 128
    np.testing.assert_array_equal(compared[:EXTREMES], boxes[:EXTREMES].astype(np.float32))
    assert_equals_model_garden(boxes, size, stride)


@given(boxes=boxes_strategy((64, 96)).filter(len))
def test_targets_are_those_of_model_garden_for_any_boxes(boxes: np.ndarray) -> None:
    boxes = np.concatenate([boxes, [[3.1, 5.3, 22.7, 41.9]]])
    assert_equals_model_garden(boxes, (64, 96))


def test_targets_are_those_of_model_garden_on_coco_annotations() -> None:
    path = SHARED / "data" / "coco_eval" / "val2014_100" / "instances_val2014_100.json"
    if not path.exists():
        pytest.skip("the shared COCO annotations are not here")
    content = json.loads(path.read_text())
    images = {image["id"]: image for image in content["images"]}
    grouped: dict[int, list[list[float]]] = {}
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        image = images[annotation["image_id"]]
        zoom = 512 / max(image["height"], image["width"])
        grouped.setdefault(annotation["image_id"], []).append([y * zoom, x * zoom, (y + h) * zoom, (x + w) * zoom])
    assert len(grouped) == 100
    for boxes in grouped.values():
        assert_equals_model_garden(np.clip(boxes, 0, 512), (512, 512))
