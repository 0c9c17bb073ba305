"""The twelve metrics, by hand, as published, and against pycocotools."""

import contextlib
import copy
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from trainer.coco.metrics import METRIC_NAMES, ClassMetrics, score

COCO_EVAL = Path(__file__).parents[4] / "shared" / "data" / "coco_eval" / "val2014_100"

PUBLISHED = {  # pycocotools 2.0.11 on the official COCO API's evaluation example
    "ap": 0.5045806987249628,
    "ap50": 0.6969727247299577,
    "ap75": 0.5729816669904824,
    "ap_small": 0.5856257209410443,
    "ap_medium": 0.5193996948036719,
    "ap_large": 0.5013978986347466,
    "ar_1": 0.38681277964578054,
    "ar_10": 0.5936795762842003,
    "ar_100": 0.595352982877607,
    "ar_small": 0.6398109626113442,
    "ar_medium": 0.5664205978994309,
    "ar_large": 0.5642905982905982,
}


def truth(image: int, category: int, box: list, **fields) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, **fields}


def found(image: int, category: int, box: list, confidence: float) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "score": confidence}


CAT, DOG, BIRD = 3, 7, 9
SMALL_CASE = {
    "images": [{"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 200} for i in (4, 2, 1, 3)],
    "categories": [{"id": DOG, "name": "dog"}, {"id": CAT, "name": "cat"}, {"id": BIRD, "name": "bird"}],
    "annotations": [
        truth(1, CAT, [10, 10, 50, 50], id=1),  # medium
        truth(1, CAT, [100, 100, 80, 80], id=2, iscrowd=1),
        truth(3, DOG, [20, 20, 100, 100], id=3),  # large, on an image without detections
        truth(4, CAT, [0, 0, 20, 20], id=4),  # small
        truth(4, DOG, [50, 50, 40, 40], id=5),  # medium
    ],
}
SMALL_DETECTIONS = [
    found(4, DOG, [50, 50, 40, 40], 0.7),  # exact
    found(4, DOG, [50, 50, 40, 40], 0.7),  # the same again: a tie, and false
    found(4, CAT, [0, 0, 20, 10], 0.8),  # IoU exactly 0.5
    found(2, CAT, [30, 30, 20, 20], 0.9),  # false, on an image without objects; ties with the exact one below
    found(1, CAT, [10, 10, 50, 50], 0.9),  # exact; image 1 comes before image 2 among equal scores
    found(1, CAT, [110, 110, 20, 20], 0.95),  # inside the crowd region: neither right nor wrong
]
# By hand. Cats: 2 objects, in order (ignored, true, false, true at IoU 0.5 only): precision 1 up to recall 0.5 (51
# of the 101 points) and, at IoU 0.5, 2/3 for the other 50. Dogs: 2 objects, one found first: 51 of 101.
HALF = 51 / 101
CAT_50 = (51 + 50 * 2 / 3) / 101
SMALL_EXPECTED = {
    "ap": ((CAT_50 + 9 * HALF) / 10 + HALF) / 2,
    "ap50": (CAT_50 + HALF) / 2,
    "ap75": HALF,
    "ap_small": 0.05,  # one small cat, found at IoU 0.5 behind one false small box
    "ap_medium": 1.0,
    "ap_large": 0.0,
    "ar_1": (0.05 + 0.5) / 2,  # the best box on image 1 is the ignored one
    "ar_10": (0.55 + 0.5) / 2,
    "ar_100": (0.55 + 0.5) / 2,
    "ar_small": 0.1,
    "ar_medium": 1.0,
    "ar_large": 0.0,
}


@pytest.fixture
def small_case(tmp_path: Path) -> str:
    return write(tmp_path, SMALL_CASE)


def write(folder: Path, dataset: dict) -> str:
    path = folder / "instances.json"
    path.write_text(json.dumps(dataset))
    return str(path)


def plain_pycocotools(path: str, detections: list[dict]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(path)
        evaluator = COCOeval(truths, truths.loadRes(copy.deepcopy(detections)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return list(evaluator.stats)


@pytest.mark.skipif(not COCO_EVAL.is_dir(), reason="the COCO API's example is not next to the repository")
def test_published_numbers():
    detections = json.loads((COCO_EVAL / "fakebbox100_results.json").read_text())
    annotations = COCO_EVAL / "instances_val2014_100.json"
    images = [image["id"] for image in json.loads(annotations.read_text())["images"]]
    metrics = score(str(annotations), detections, images)
    assert metrics.values == pytest.approx(PUBLISHED, abs=1e-12, rel=0)
    assert (metrics.images_expected, metrics.images_scored, metrics.detections) == (100, 100, 734)
    assert sum(entry.objects for entry in metrics.per_class) == 839 - 9  # 9 crowd regions
    present = [entry.ap for entry in metrics.per_class if entry.ap is not None]
    assert sum(present) / len(present) == pytest.approx(PUBLISHED["ap"], abs=1e-12)


def test_small_case(small_case, capsys):
    detections = copy.deepcopy(SMALL_DETECTIONS)
    metrics = score(small_case, detections, [1, 2, 3, 4])
    assert tuple(metrics.values) == METRIC_NAMES
    assert metrics.values == pytest.approx(SMALL_EXPECTED, abs=1e-12)
    assert metrics.per_class == (
        ClassMetrics(
            category_id=CAT,
            name="cat",
            ap=pytest.approx((CAT_50 + 9 * HALF) / 10),
            ap50=pytest.approx(CAT_50),
            images=2,
            objects=2,
        ),
        ClassMetrics(
            category_id=DOG, name="dog", ap=pytest.approx(HALF), ap50=pytest.approx(HALF), images=2, objects=2
        ),
        ClassMetrics(category_id=BIRD, name="bird", ap=None, ap50=None, images=0, objects=0),
    )
    assert detections == SMALL_DETECTIONS, "the caller's predictions were written into"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("scored", "missing", "repeated", "different"),
    [
        ([1, 2, 3, 4], (), 0, 4),
        ([4, 1, 2], (3,), 0, 3),  # an image without detections that was never scored: seen all the same
        ([1, 2, 3, 4, 4, 4, 1], (), 2, 4),
        ([], (1, 2, 3, 4), 0, 0),
    ],
)
def test_completeness(small_case, scored, missing, repeated, different):
    detections = SMALL_DETECTIONS if scored else []
    metrics = score(small_case, detections, scored)
    assert metrics.images_expected == 4
    assert (metrics.images_missing, metrics.images_repeated, metrics.images_scored) == (missing, repeated, different)


def test_no_detection_scores_zero_where_there_are_objects(small_case):
    metrics = score(small_case, [], [1, 2, 3, 4])
    assert set(metrics.values.values()) == {0.0}
    assert [entry.ap for entry in metrics.per_class] == [0.0, 0.0, None]


def test_no_objects_at_all_is_null(tmp_path):
    path = write(tmp_path, {**SMALL_CASE, "annotations": []})
    assert set(score(path, [], [1, 2, 3, 4]).values.values()) == {None}
    assert set(score(path, SMALL_DETECTIONS, [1, 2, 3, 4]).values.values()) == {None}


def test_sizes_without_objects_are_null(tmp_path):
    path = write(tmp_path, {**SMALL_CASE, "annotations": SMALL_CASE["annotations"][:1]})
    values = score(path, SMALL_DETECTIONS, [1, 2, 3, 4]).values
    assert values["ap_medium"] == pytest.approx(1.0)
    assert values["ap_small"] is values["ap_large"] is values["ar_small"] is values["ar_large"] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda a: [{**x, "id": i} for i, x in enumerate(a)],  # counted from 0: pycocotools would miss the first
        lambda a: [{**x, "id": 1} for x in a],  # all the same
        lambda a: [{k: v for k, v in x.items() if k != "id"} for x in a],
        lambda a: [{k: v for k, v in x.items() if k != "area"} for x in a],
        lambda a: [{k: v for k, v in x.items() if k != "iscrowd" or v} for x in a],
        lambda a: [x | {k: float(x[k]) for k in ("id", "image_id", "category_id")} for x in a],
        lambda a: [x | {"image_id": float(x["image_id"])} if i % 2 else x for i, x in enumerate(a)],
    ],
    ids=["ids from 0", "equal ids", "no ids", "no area", "no iscrowd", "float ids", "some float ids"],
)
def test_hand_made_annotations_score_the_same(tmp_path, change):
    path = write(tmp_path, {**SMALL_CASE, "annotations": change(SMALL_CASE["annotations"])})
    assert score(path, SMALL_DETECTIONS, [1, 2, 3, 4]).values == pytest.approx(SMALL_EXPECTED, abs=1e-12)


@pytest.mark.parametrize("box", [None, [1, 2, 3], [0, 0, math.nan, 5], ["0", 0, 1, 1], "box"])
def test_unusable_truth_is_counted(tmp_path, box):
    broken = {"id": 9, "image_id": 2, "category_id": CAT, "bbox": box, "area": 1, "iscrowd": 0}
    path = write(tmp_path, {**SMALL_CASE, "annotations": [*SMALL_CASE["annotations"], broken]})
    metrics = score(path, SMALL_DETECTIONS, [1, 2, 3, 4])
    assert (metrics.objects, metrics.crowds, metrics.objects_unusable) == (4, 1, 1)
    assert metrics.values == pytest.approx(SMALL_EXPECTED, abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "scored", "message"),
    [
        (found(5, CAT, [0, 0, 1, 1], 0.5), [1], "image_id 5"),  # unknown image
        (found(2, CAT, [0, 0, 1, 1], 0.5), [1], "image_id 2"),  # known, but never scored
        (found(1, 4, [0, 0, 1, 1], 0.5), [1], "category_id 4"),
        (found(1, CAT, [0, 0, math.nan, 1], 0.5), [1], "not all finite"),
        (found(1, CAT, [0, 0, 1, 1], math.inf), [1], "not all finite"),
        (found(1, CAT, [0, 0, 1], 0.5), [1], "not all finite"),
        (found(1, CAT, [0, 0, -1, 1], 0.5), [1], "negative side"),
        ({"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1.0}, [1], "lacks"),
        (found(1, CAT, [0, 0, 1, 1], 0.5), [1, 77], "no image 77"),
    ],
)
def test_bad_predictions(small_case, prediction, scored, message):
    with pytest.raises(InputError, match=message):
        score(small_case, [prediction], scored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not an object"),
        (json.dumps({**SMALL_CASE, "annotations": None}), "'annotations' is not a list"),
        (json.dumps({**SMALL_CASE, "images": []}), "'images' is empty"),
        (json.dumps({**SMALL_CASE, "categories": []}), "'categories' is empty"),
        (json.dumps({**SMALL_CASE, "images": [{"id": "a"}]}), "not a whole number"),
    ],
)
def test_bad_annotation_files(tmp_path, content, message):
    path = tmp_path / "instances.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        score(str(path), [], [])


def test_missing_annotation_file(tmp_path):
    with pytest.raises(InputError, match="no such annotation file"):
        score(str(tmp_path / "absent.json"), [], [])


boxes = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 120)] * 2).map(list)
truths = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([CAT, DOG]), boxes, st.booleans()), max_size=12)
detected = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([CAT, DOG, BIRD]), boxes, st.sampled_from([0.1, 0.5, 0.9])),
    min_size=1,
    max_size=12,
)


@given(truths, detected)
def test_equals_plain_pycocotools(tmp_path_factory, objects, detections):
    dataset = {
        **SMALL_CASE,
        "annotations": [
            truth(image, category, box, id=i + 1, iscrowd=int(crowd))
            for i, (image, category, box, crowd) in enumerate(objects)
        ],
    }
    path = write(tmp_path_factory.mktemp("coco"), dataset)
    predictions = [found(*entry) for entry in detections]
    ours = score(path, predictions, [1, 2, 3, 4]).values
    assert [-1 if value is None else value for value in ours.values()] == plain_pycocotools(path, predictions)
