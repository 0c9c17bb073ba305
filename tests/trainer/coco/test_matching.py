"""Our arrays against COCOeval's: equal bit for bit."""

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.coco import matching
from trainer.coco.metrics import Scored, score_arrays

IMAGES, CATEGORIES = (5, 2, 9, 4), (7, 3, 11)
COCO_EVAL = Path(__file__).parents[4] / "shared" / "data" / "coco_eval" / "val2014_100"


def dataset_of(objects: list[tuple]) -> dict[str, Any]:
    """Objects are (image, category, box, crowd, area or None for the box's)."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 500, "height": 500} for i in IMAGES],
        "categories": [{"id": k, "name": str(k)} for k in CATEGORIES],
        "annotations": [
            {
                "id": i + 1,
                "image_id": image,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3] if area is None else area,
                "iscrowd": int(crowd),
            }
            for i, (image, category, box, crowd, area) in enumerate(objects)
        ],
    }


def predictions_of(detections: list[tuple]) -> list[dict[str, Any]]:
    return [{"image_id": i, "category_id": k, "bbox": list(box), "score": s} for i, k, box, s in detections]


def pycocotools(dataset: dict[str, Any], predictions: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO()
        truths.dataset = copy.deepcopy(dataset)
        truths.createIndex()
        if predictions:
            found = truths.loadRes(copy.deepcopy(predictions))
        else:  # loadRes raises IndexError
            found = COCO()
            found.dataset = {**copy.deepcopy(dataset), "annotations": []}
            found.createIndex()
        evaluator = COCOeval(truths, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def ours(dataset: dict[str, Any], predictions: list[dict[str, Any]], folder: Path) -> Scored:
    path = folder / "instances.json"
    path.write_text(json.dumps(dataset))
    return score_arrays(str(path), predictions, [image["id"] for image in dataset["images"]])


def assert_equal_arrays(dataset: dict[str, Any], predictions: list[dict[str, Any]], folder: Path) -> Any:
    reference = pycocotools(dataset, predictions)
    scored = ours(dataset, predictions, folder)
    for name in ("precision", "recall", "scores"):
        found, wanted = getattr(scored.curves, name), reference.eval[name]
        assert found.dtype == wanted.dtype
        assert found.tobytes() == wanted.tobytes(), f"{name} differs in {np.sum(found != wanted)} entries"
    assert scored.curves.stats == reference.stats.tolist()
    return reference


def test_a_stable_sort() -> None:
    values = np.random.default_rng(0).integers(-9, 9, 3000) / 7
    values[::5] *= 0.0  # zeros of both signs are equal
    assert np.array_equal(matching.stable_argsort(values), np.argsort(values, kind="stable"))
    assert matching.stable_argsort(np.zeros(0)).tolist() == []


def test_the_same_parameters() -> None:
    from pycocotools.cocoeval import Params

    params = Params(iouType="bbox")
    assert matching.IOU_THRESHOLDS.tobytes() == params.iouThrs.tobytes()
    assert matching.RECALL_THRESHOLDS.tobytes() == params.recThrs.tobytes()
    assert matching.AREA_RANGES.tolist() == params.areaRng
    assert list(matching.MAX_DETECTIONS) == params.maxDets


A = (10, 10, 40, 40)
CASES = {
    "nothing at all": ([], []),
    "only objects": ([(5, 7, A, False, None)], []),
    "only detections": ([], [(5, 7, A, 0.5)]),
    "only a crowd": ([(5, 7, A, True, None)], [(5, 7, A, 0.5)]),
    "equal scores in and between images": (
        [(i, 7, A, False, None) for i in IMAGES],
        [(i, 7, box, 0.5) for box in ((200, 200, 9, 9), A, A) for i in IMAGES],
    ),
    "two objects overlap equally: the later one is taken, for which another detection came too late": (
        [(5, 7, A, False, None), (5, 7, A, False, None)],
        [(5, 7, A, 0.9), (5, 7, (10, 10, 40, 30), 0.8), (5, 7, A, 0.7)],
    ),
    "a crowd fits better than an object, and takes any number": (
        [(5, 7, (10, 10, 40, 60), False, None), (5, 7, A, True, None)],
        [(5, 7, A, 0.9 - i / 10) for i in range(4)],
    ),
    "an object outside the area range is taken only when none inside is left": (
        [(5, 7, (0, 0, 32, 33), False, None), (5, 7, (0, 0, 32, 31), False, None)],
        [(5, 7, (0, 0, 32, 33), 0.9), (5, 7, (0, 0, 32, 32), 0.8)],
    ),
    "the annotation's area decides, not the box's, and both ends are inside": (
        [(5, 7, A, False, 32**2), (2, 7, A, False, 96**2), (9, 7, A, False, 5)],
        [(i, 7, A, 0.5) for i in IMAGES],
    ),
    "more than 100 detections of a class in an image": (
        [(5, 7, (4 * i, 0, 4, 4), False, None) for i in range(60)],
        [(5, 7, (4 * (i % 60), 0, 4, 4), 0.5 + (i * 37 % 150) / 1000) for i in range(150)],
    ),
    "IoU exactly at thresholds": (
        [(5, 7, (0, 0, 100, 100), False, None), (2, 7, (0, 0, 100, 100), False, None)],
        [(5, 7, (0, 0, 100, 50), 0.9), (5, 7, (0, 0, 100, 75), 0.8), (2, 7, (0, 0, 100, 95), 0.7)],
    ),
    "boxes without area": ([(5, 7, (3, 3, 0, 0), False, None)], [(5, 7, (3, 3, 0, 0), 0.5)]),
}


@pytest.mark.parametrize("name", CASES)
def test_hand_cases(name: str, tmp_path: Path) -> None:
    objects, detections = CASES[name]
    assert_equal_arrays(dataset_of(objects), predictions_of(detections), tmp_path)


sides = st.sampled_from([1, 8, 10, 30, 32, 33, 60, 95, 96, 97, 150.5])
boxes = st.tuples(st.sampled_from([0, 1, 5, 20]), st.sampled_from([0, 2, 10]), sides, sides)
objects = st.lists(
    st.tuples(
        st.sampled_from(IMAGES),
        st.sampled_from(CATEGORIES[:2]),
        boxes,
        st.sampled_from([False, False, True]),
        st.sampled_from([None, None, 900, 1024, 9216.5]),
    ),
    max_size=14,
)
detections = st.lists(
    st.tuples(
        st.sampled_from(IMAGES[:3]), st.sampled_from(CATEGORIES), boxes, st.sampled_from([0.1, 0.5, 0.5000000001, 0.9])
    ),
    max_size=25,
)


@given(objects, detections)
@example([(5, 7, A, True, None)], [(5, 7, A, 0.5), (5, 7, A, 0.5)])
def test_any_case(tmp_path_factory: pytest.TempPathFactory, objects: list[tuple], detections: list[tuple]) -> None:
    folder = tmp_path_factory.mktemp("coco")
    assert_equal_arrays(dataset_of(objects), predictions_of(detections), folder)


@pytest.mark.parametrize("seed", range(3))
def test_a_crowded_set_with_many_matches(seed: int, tmp_path: Path) -> None:
    """Real-valued boxes, most of them near an object; scores rounded so that some are equal."""
    random = np.random.default_rng(seed)
    objects, detections = [], []
    for image in IMAGES:
        for _ in range(60):
            box = np.r_[random.uniform(0, 200, 2), random.uniform(5, 120, 2)]
            category = CATEGORIES[random.integers(3)]
            objects.append((image, category, tuple(box.tolist()), random.random() < 0.1, None))
            for _ in range(random.integers(0, 4)):
                moved = np.maximum(box + random.normal(0, 6, 4), 0)
                score = round(float(random.random()), 2)
                detections.append((image, category, tuple(moved.tolist()), score))
    reference = assert_equal_arrays(dataset_of(objects), predictions_of(detections), tmp_path)
    assert 0.1 < reference.stats[0] < 0.9, "a set without matches would prove little"


@pytest.mark.skipif(not COCO_EVAL.is_dir(), reason="the COCO API's example is not next to the repository")
def test_the_coco_apis_example(tmp_path: Path) -> None:
    dataset = json.loads((COCO_EVAL / "instances_val2014_100.json").read_text())
    predictions = json.loads((COCO_EVAL / "fakebbox100_results.json").read_text())
    assert_equal_arrays(dataset, predictions, tmp_path)


def test_a_detection_knows_the_object_it_took(tmp_path: Path) -> None:
    dataset = dataset_of([(5, 7, A, False, None), (2, 7, A, True, None), (2, 7, (90, 90, 9, 9), False, None)])
    predictions = predictions_of([(5, 7, A, 0.4), (5, 7, A, 0.9), (2, 7, A, 0.5), (9, 7, A, 0.5)])
    matches = ours(dataset, predictions, tmp_path).matches
    taken = dict(zip(matches.detection.tolist(), matches.taken.tolist(), strict=True))
    assert taken == {0: -1, 1: 0, 2: 1, 3: -1}
