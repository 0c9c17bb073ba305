"""What check counts is what is scored, and what is trained on."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import examine
from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.scored_file import load_scored
from beam_preprocess.job.pipeline import preprocess
from tests.cases.exports import CATEGORIES, HEIGHT, WIDTH, Split, pixels, saved
from trainer.coco.metrics import score

CONFIG = PreprocessConfig(image_size=(32, 32), train_views=1, max_reject_fraction=1.0)

ids = st.sampled_from([int, float])
side = st.one_of(st.integers(-3, WIDTH + 9), st.floats(-3, WIDTH, width=32))
box = st.lists(side, min_size=4, max_size=4)
odd_box = st.one_of(
    st.none(),
    st.lists(side, max_size=3),
    st.just("1, 2, 3, 4"),
    st.lists(st.sampled_from([1, "2", None, math.nan, math.inf, True]), min_size=4, max_size=4),
)


@st.composite
def annotation(draw: st.DrawFn, odd: bool) -> dict[str, Any]:
    unknown = draw(st.integers(0, 9)) == 0 and odd
    row: dict[str, Any] = {
        "image_id": draw(ids)(draw(st.integers(1, 4)) if not unknown else 77),
        "category_id": draw(ids)(draw(st.sampled_from([*CATEGORIES, *([5] if odd else [])]))),
        "bbox": draw(st.one_of(box, odd_box)) if odd else draw(box),
        "iscrowd": draw(st.sampled_from([0, 1, None, False, True, 0.0])),
        "id": draw(st.one_of(st.none(), st.integers(1, 5))),
        "area": draw(st.one_of(st.none(), st.integers(1, 900))),
    }
    return {key: value for key, value in row.items() if value is not None or key == "bbox"}


@st.composite
def split(draw: st.DrawFn, odd: bool) -> Split:
    """Four images, any annotations; `odd` adds such that cannot be used."""
    images = [
        {"id": draw(ids)(i), "file_name": f"{i}.png", "height": draw(ids)(HEIGHT), "width": WIDTH} for i in range(1, 5)
    ]
    rows = draw(st.lists(annotation(odd), min_size=1, max_size=8))
    # A file without any box is refused as a whole, by all.
    rows.append({"image_id": 1, "category_id": CATEGORIES[0], "bbox": [2, 2, 30, 30]})
    categories = [{"id": draw(ids)(c), "name": f"class{c}"} for c in draw(st.permutations(CATEGORIES))]
    return Split({"images": images, "annotations": rows, "categories": categories})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    (folder / "images").mkdir()
    for i in range(1, 5):
        (folder / "images" / f"{i}.png").write_bytes(saved(pixels(i), "PNG"))
    return folder


def report_of(data: Split, folder: Path, name: str) -> tuple[dict[str, Any], str]:
    images, annotations = data.write(folder)
    return examine({name: (images, annotations)}, CONFIG)[name], annotations


def is_box(value: Any) -> bool:
    """Whether these are four finite numbers, with which pycocotools can compute."""
    return isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) and abs(v) < 1e9 for v in value)


def plain_pycocotools(path: str) -> tuple[int, int]:
    """Objects and crowd regions that COCOeval has in its tables. It needs boxes, ids, `area` and `iscrowd`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset = json.loads(Path(path).read_text())
    dataset["annotations"] = [row for row in dataset["annotations"] if is_box(row["bbox"])]
    for i, row in enumerate(dataset["annotations"], start=1):
        row |= {"id": i, "iscrowd": int(row.get("iscrowd") or 0), "area": 9}
    truths, nothing = COCO(), COCO()
    truths.dataset, nothing.dataset = dataset, dataset | {"annotations": []}
    truths.createIndex()
    nothing.createIndex()
    evaluator = COCOeval(truths, nothing, "bbox")
    evaluator._prepare()
    rows = [row for rows in evaluator._gts.values() for row in rows]
    return sum(not row["iscrowd"] for row in rows), sum(bool(row["iscrowd"]) for row in rows)


SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(data=split(odd=False))
def test_what_check_counts_is_what_is_scored(data: Split, folder: Path) -> None:
    report, annotations = report_of(data, folder, "val")
    assert report["over_limit"] is None
    metrics = score(load_scored(annotations), [], [1, 2, 3, 4])
    assert (metrics.objects, metrics.crowds) == (report["objects"], report["crowds"]) == plain_pycocotools(annotations)
    assert metrics.objects_unusable == 0
    assert sum(entry.objects for entry in metrics.per_class) == report["objects"]
    assert sum(report["class_histogram"].values()) == report["objects"]


@SHARED
@given(data=split(odd=True))
def test_check_and_evaluation_refuse_the_same_files(data: Split, folder: Path) -> None:
    report, annotations = report_of(data, folder, "val")
    metrics = score(annotations, [], [1, 2, 3, 4])
    counts = metrics.objects, metrics.crowds
    assert counts == (report["objects"], report["crowds"]) == plain_pycocotools(annotations), "refused or not"
    refused = metrics.objects_unusable > 0
    assert (report["over_limit"] is not None) == refused
    if refused:
        assert f"{metrics.objects_unusable} of {len(data.annotations)} annotations" in report["over_limit"]
        with pytest.raises(InputError, match="cannot be scored"):
            load_scored(annotations)
    else:
        load_scored(annotations)


@settings(SHARED, max_examples=settings().max_examples // 8)
@given(data=split(odd=True), lost=st.sets(st.integers(2, 4), max_size=2))
def test_what_check_counts_is_in_the_records(
    data: Split, lost: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("records")
    data.files = {f"{i}.png": saved(pixels(i), "PNG") if i not in lost else b"no image" for i in range(1, 5)}
    report, annotations = report_of(data, folder, "train")
    manifest = preprocess(
        images=str(folder / "images"), annotations=annotations, split="train", output=str(folder / "out"), config=CONFIG
    )
    assert (manifest.objects, manifest.crowds) == (report["objects"], report["crowds"])
    assert manifest.class_histogram == report["class_histogram"]
    assert manifest.size_histogram == report["size_histogram"]
    assert len(load_annotations(annotations).bboxes) >= manifest.objects
