import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.sources import whole_digest
from tests.trainer.made_records import SIZE
from trainer.coco.metrics import score
from trainer.profile.columns import columns
from trainer.profile.profile import read_profile
from trainer.promotion.evaluation import Evaluation, read_evaluation
from trainer.promotion.profile import write_profile
from trainer.promotion.smoke import compare, parse_smoke
from trainer.saved_model.accuracy import evaluate, score_table
from trainer.saved_model.inference import load_signature, to_coco
from trainer.saved_model.parity import export_detector

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

SIZES = [SIZE, (100, 50), (17, 200), (64, 64), (30, 30)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set that the test may change."""
    return made_data(tmp_path)


def made_data(folder: Path) -> Path:
    """Five images of five sizes, the last without objects; annotations.json next to images/."""
    (folder / "images").mkdir()
    images, annotations = [], []
    for i, (height, width) in enumerate(SIZES):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3)).astype(np.uint8)
        (folder / "images" / f"{i}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
        images.append({"id": 7 * i, "file_name": f"{i}.jpg", "height": height, "width": width})
        if i < len(SIZES) - 1:
            box = [2, 3, width / 2, height / 2]
            annotations.append({"id": i + 1, "image_id": 7 * i, "category_id": 10 * (i % 3 + 1), "bbox": box})
    for entry in annotations:
        entry |= {"area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}
    categories = [{"id": 10 * (i + 1), "name": f"class{i}"} for i in range(3)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder


def _evaluate(model: Path, data: Path, **changes: Any) -> Evaluation:
    """Without latency and profile, unless they are asked for."""
    return evaluate(
        model=str(model),
        images=str(data / "images"),
        annotations=str(data / "annotations.json"),
        **{"batch_size": 2, "output": str(data / "evaluation"), "latency_calls": 0, "profile": False, **changes},
    )


@pytest.fixture(scope="module")
def scored(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """The evaluation of an unchanged data set with all that it can measure, and the folder of both."""
    folder = made_data(tmp_path_factory.mktemp("scored"))
    return _evaluate(exported, folder, latency_calls=2, profile=True), folder


def test_every_image_goes_through_the_model_exactly_once(exported: Path, scored: tuple[Evaluation, Path]) -> None:
    """The last batch is not full; Model Garden would leave images out, or crash, and score what it saw."""
    evaluation, data = scored
    assert (evaluation.images_expected, evaluation.images_scored) == (5, 5)
    assert (evaluation.images_missing, evaluation.images_repeated) == (0, 0)
    assert read_evaluation(str(data / "evaluation" / "evaluation.json")) == evaluation
    predictions = json.loads((data / "evaluation" / "predictions.json").read_text())
    assert len(predictions) == evaluation.detections > 0
    assert {p["image_id"] for p in predictions} == {0, 7, 14, 21, 28}
    for p in predictions:
        height, width = SIZES[p["image_id"] // 7]
        x, y, w, h = p["bbox"]
        assert min(x, y, w, h) >= 0
        assert x + w <= width + 1e-3
        assert y + h <= height + 1e-3
    recorded = parse_smoke((data / "evaluation" / "smoke.json").read_text(), "smoke.json")
    assert (recorded.model_digest, len(recorded.images)) == (evaluation.model_digest, 5)
    assert {(image.height, image.width) for image in recorded.images} == set(SIZES)
    answers = export_detector(load_signature(str(exported)))  # one batch of one image: what a server answers
    for image in recorded.images:
        found = answers([base64.b64decode(image.image_bytes)], [(image.height, image.width)])
        assert compare(replace(recorded, images=(image,)), found).max_box_delta == 0.0
    other = answers([base64.b64decode(recorded.images[0].image_bytes)], [SIZES[int(recorded.images[0].file_name[0])]])
    assert compare(replace(recorded, images=recorded.images[1:2]), other).failures


def test_the_profile_is_measured_and_published_with_the_model(
    exported: Path, scored: tuple[Evaluation, Path], tmp_path: Path
) -> None:
    evaluation, data = scored[0], tmp_path / "data"
    shutil.copytree(scored[1], data)
    found = read_profile(str(data / "evaluation" / "profile.npz"))
    assert (found.model_digest, found.data_digest) == (evaluation.model_digest, evaluation.data_digest)
    assert found.rows.names.tolist() == [f"{i}.jpg" for i in range(5)]
    assert found.rows.features.shape == (5, 8)
    predictions = json.loads((data / "evaluation" / "predictions.json").read_text())
    counted = [p["image_id"] for p in predictions if p["score"] >= found.measures.threshold]
    column = [column.name for column in columns(found.measures)].index("detections")
    assert found.rows.values[:, column].tolist() == [counted.count(image) for image in found.rows.ids.tolist()]
    published = tmp_path / "published"
    line = write_profile(str(published), str(data / "evaluation" / "evaluation.json"))
    assert line == "profile.npz: 5 images, to compare new images with"
    content = (data / "evaluation" / "profile.npz").read_bytes()
    assert (published / "profile.npz").read_bytes() == content
    (data / "evaluation" / "profile.npz").write_bytes(content[:-1])
    line = write_profile(str(published), str(data / "evaluation" / "evaluation.json"))
    assert line.startswith("profile.npz: not written (")
    assert "is truncated or changed" in line
    again = _evaluate(exported, data, output=str(data / "other"))
    assert "profile.npz" not in again.files
    assert not (data / "other" / "profile.npz").exists()


def test_perfect_detections_in_normalized_boxes_score_one(data: Path) -> None:
    coco = json.loads((data / "annotations.json").read_text())
    predictions = []
    for image in coco["images"]:
        objects = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        size = np.array([image["height"], image["width"]] * 2)
        boxes = [[y, x, y + h, x + w] for x, y, w, h in (a["bbox"] for a in objects)]
        detections = {
            "image_size": np.array([image["height"], image["width"]]),
            "detection_boxes": np.array(boxes).reshape(-1, 4) / size,
            "detection_scores": np.full(len(objects), 0.9),
            "detection_classes": np.array([a["category_id"] for a in objects], int),
        }
        predictions += to_coco(image["id"], detections)
    ids = [image["id"] for image in coco["images"]]
    assert score(str(data / "annotations.json"), predictions, ids).values["ap"] == pytest.approx(1.0)


@pytest.mark.parametrize("edited", ["annotations.json", "images/0.jpg"])
def test_data_that_changed_since_the_data_check_is_not_scored(exported: Path, data: Path, edited: str) -> None:
    """Candidate and champion are scored one after the other: both on the data that the check saw, or not at all."""
    coco = load_annotations(str(data / "annotations.json"))
    digest = whole_digest(str(data / "images"), coco)
    assert _evaluate(exported, data, data_digest=digest).data_digest == digest
    (data / edited).write_bytes((data / edited).read_bytes() + b" ")
    with pytest.raises(InputError, match="changed since the data check; start the run again"):
        _evaluate(exported, data, data_digest=digest)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "images" / "2.jpg").unlink(), r"2\.jpg: no such image"),
        (lambda d: (d / "images" / "3.jpg").write_bytes(b"\xff\xd8 not a jpeg"), r"3\.jpg: not an image"),
        (
            lambda d: (d / "images" / "1.jpg").write_bytes((d / "images" / "0.jpg").read_bytes()),
            r"1\.jpg: is 64x32, but 50x100",
        ),
        (lambda d: (d / "annotations.json").write_text("{}"), "lacks images, annotations, categories"),
    ],
    ids=["missing", "corrupt", "other size", "not COCO"],
)
def test_an_image_that_cannot_be_scored_ends_the_evaluation(exported: Path, data: Path, damage, message) -> None:  # type: ignore[no-untyped-def]
    damage(data)
    with pytest.raises(InputError, match=message):
        _evaluate(exported, data)
    assert not (data / "evaluation" / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("annotations", {"bbox": None}, r"1 of 4 annotations cannot be scored \(annotations\[1\] .*bbox null"),
        ("annotations", {"image_id": 5}, "image_id 5, which is not in the file"),
        ("images", {"file_name": "../annotations.json"}, "path_outside_folder"),
        ("images", {"file_name": "/etc/passwd"}, "path_outside_folder"),
        ("images", {"height": "100"}, "'height' is '100', not a whole number"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_before_the_model_is_loaded(
    data: Path, section: str, change: dict[str, Any], message: str
) -> None:
    path = data / "annotations.json"
    coco = json.loads(path.read_text())
    coco[section][1] |= change
    path.write_text(json.dumps(coco))
    with pytest.raises(InputError, match=message):
        _evaluate(data / "no-model", data)


def test_ids_as_floats_score_the_same(exported: Path, scored: tuple[Evaluation, Path], data: Path) -> None:
    whole = scored[0]
    path = data / "annotations.json"
    coco = json.loads(path.read_text())
    for row in coco["annotations"][::2]:
        row |= {key: float(row[key]) for key in ("id", "image_id", "category_id")}
    for image in coco["images"]:
        image |= {key: float(image[key]) for key in ("id", "height", "width")}
    path.write_text(json.dumps(coco))
    floats = _evaluate(exported, data)
    assert (floats.objects, floats.crowds) == (whole.objects, whole.crowds) == (4, 0)
    assert (floats.metrics, floats.per_class) == (whole.metrics, whole.per_class)


def test_detections_of_foreign_categories_are_counted(
    exported: Path, scored: tuple[Evaluation, Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = scored[0]
    assert whole.classes.to_text() == ""
    coco = json.loads((data / "annotations.json").read_text())
    coco["categories"] = coco["categories"][:2]
    coco["annotations"] = [a for a in coco["annotations"] if a["category_id"] != 30]
    (data / "annotations.json").write_text(json.dumps(coco))
    # Also for a candidate: class_index id-minus-1 allows a validation file to lack classes.
    evaluation = _evaluate(exported, data, all_classes=True)
    printed = capsys.readouterr().out
    assert evaluation.classes.only_in_model == ("class2",)
    assert evaluation.classes.detections_unscored == whole.detections - evaluation.detections > 0
    assert f"only in the model: class2; {evaluation.classes.detections_unscored} detections" in printed
    predictions = json.loads((data / "evaluation" / "predictions.json").read_text())
    assert {p["category_id"] for p in predictions} <= {10, 20}


@pytest.mark.parametrize(
    ("change", "message"), [({"batch_size": 0}, "--batch-size 0"), ({"latency_calls": -1}, "--latency-calls -1")]
)
def test_a_setting_out_of_range(data: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _evaluate(data, data, **change)


def test_latency_is_measured_on_request(exported: Path, scored: tuple[Evaluation, Path], data: Path) -> None:
    for evaluation, measured in ((scored[0], True), (_evaluate(exported, data), False)):
        assert (evaluation.latency_ms is not None) == measured
        assert ("latency" in score_table(evaluation)) == measured


def _rewrite(data: Path, ids: dict[int, int], names: dict[int, str]) -> None:
    coco = json.loads((data / "annotations.json").read_text())
    for entry in coco["categories"]:
        entry["name"] = names.get(entry["id"], entry["name"])
        entry["id"] = ids[entry["id"]]
    for entry in coco["annotations"]:
        entry["category_id"] = ids[entry["category_id"]]
    (data / "annotations.json").write_text(json.dumps(coco))


@pytest.mark.parametrize("ids", [{10: 20, 20: 10, 30: 30}, {10: 3, 20: 1, 30: 2}])
def test_classes_are_matched_by_name(
    exported: Path, scored: tuple[Evaluation, Path], data: Path, ids: dict[int, int]
) -> None:
    """A file that numbers its categories anew: the score stays, and the predictions have the file's ids."""
    before = scored[0]
    rows = json.loads((scored[1] / "evaluation" / "predictions.json").read_text())
    _rewrite(data, ids, {})
    after = _evaluate(exported, data, all_classes=True)
    assert after.metrics == pytest.approx(before.metrics, nan_ok=True)
    assert {c.name: (c.ap, c.objects) for c in after.per_class} == {c.name: (c.ap, c.objects) for c in before.per_class}
    assert {entry.model_id: entry.category_id for entry in after.classes.matched} == ids
    again = json.loads((data / "evaluation" / "predictions.json").read_text())
    assert [row["category_id"] for row in again] == [ids[row["category_id"]] for row in rows]


def test_a_class_that_the_model_does_not_know(exported: Path, data: Path) -> None:
    """An error for a candidate, which was trained for this data; a fact about a champion."""
    _rewrite(data, {10: 10, 20: 20, 30: 30}, {20: "owl"})
    champion = _evaluate(exported, data)
    assert (champion.classes.only_in_model, champion.classes.only_in_data) == (("class1",), ("owl",))
    with pytest.raises(InputError, match=r"only in the annotation file: owl.*train it on these classes"):
        _evaluate(exported, data, all_classes=True)
