"""label_errors.json, and the COCO file for a labelling tool."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.planted_labels import planted
from trainer.coco.label_errors import Finding, label_errors
from trainer.coco.metrics import read_coco
from trainer.report.label_files import COCO, LIST, write_label_files


def written(folder: Path, findings, dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    write_label_files(str(folder), findings, dataset, annotations="instances.json")
    return json.loads((folder / LIST).read_text()), json.loads((folder / COCO).read_text())


@pytest.mark.parametrize("ids", ["unique", "repeated", "missing"])
def test_both_files(tmp_path: Path, ids: str) -> None:
    made = planted(images=100, per_kind=8)
    for entry in made.dataset["annotations"]:
        if ids == "repeated":
            entry["id"] = 7
        elif ids == "missing":
            del entry["id"]
    findings = label_errors(made.dataset, made.predictions)
    listed, coco = written(tmp_path, findings, made.dataset)
    assert listed["annotations"] == "instances.json"
    assert [entry["suspicion"] for entry in listed["findings"]] == [finding.suspicion for finding in findings]
    assert Counter(finding.kind for finding in findings) == {k: v for k, v in listed["counts"].items() if v}
    assert sum(entry["findings"] for entry in listed["images"]) == len(findings)
    first = listed["findings"][0]
    assert first["file_name"] == f"{first['image_id']:04d}.jpg"

    read_coco(str(tmp_path / COCO))  # as every reader of COCO files sees it
    images = {image["id"] for image in coco["images"]}
    assert images == {finding.image_id for finding in findings}
    numbers = [entry["id"] for entry in coco["annotations"]]
    assert len({*numbers}) == len(numbers)
    assert all(type(number) is int for number in numbers)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(names) == len(coco["categories"])
    before = [entry for entry in made.dataset["annotations"] if entry["image_id"] in images]
    kept = coco["annotations"][: len(before)]
    assert [(e["category_id"], e["bbox"]) for e in kept] == [(e["category_id"], e["bbox"]) for e in before]
    if ids == "unique":
        assert [entry["id"] for entry in kept] == [entry["id"] for entry in before]
    suggestions = coco["annotations"][len(before) :]
    assert len(suggestions) == len(findings)
    for finding, entry in zip(findings, suggestions, strict=True):
        assert names[entry["category_id"]].startswith(f"{finding.kind}: ")
        assert entry["bbox"] == pytest.approx(finding.suggested_bbox or finding.bbox, abs=0.01)


def test_nothing_suspicious_replaces_old_files(tmp_path: Path) -> None:
    made = planted(images=10, per_kind=0)
    (tmp_path / LIST).write_text("old")
    listed, coco = written(tmp_path, (), made.dataset)
    assert (listed["findings"], listed["images"], coco["images"], coco["annotations"]) == ([], [], [], [])


def test_a_class_and_an_image_without_a_name(tmp_path: Path) -> None:
    dataset = {
        "images": [{"id": 0}],
        "categories": [{"id": 0}],
        "annotations": [{"image_id": 0, "category_id": 0, "bbox": [0, 0, 5, 5]}],
    }
    finding = Finding(
        kind="spurious",
        suspicion=0.9,
        image_id=0,
        annotation=0,
        category_id=0,
        bbox=[0, 0, 5, 5],
        suggested_category_id=None,
        suggested_bbox=None,
        score=None,
    )
    listed, coco = written(tmp_path, (finding,), dataset)
    assert (listed["findings"][0]["category"], listed["findings"][0]["annotation_id"]) == ("0", None)
    assert coco["categories"][-1] == {"id": 1, "name": "spurious: 0", "supercategory": "check"}
