"""label_errors.json, and the COCO file for a labelling tool."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.format.annotations import CocoAnnotations, load_annotations
from tests.trainer.planted_labels import planted
from trainer.coco.label_errors import label_errors
from trainer.report.label_files import COCO, LIST, write_label_files


def read(folder: Path, dataset: dict[str, Any]) -> CocoAnnotations:
    (folder / "instances.json").write_text(json.dumps(dataset))
    return load_annotations(str(folder / "instances.json"))


def written(folder: Path, findings, coco: CocoAnnotations) -> tuple[dict[str, Any], dict[str, Any]]:
    write_label_files(str(folder), findings, coco)
    return json.loads((folder / LIST).read_text()), json.loads((folder / COCO).read_text())


@pytest.mark.parametrize("ids", ["unique", "repeated", "missing"])
def test_both_files(tmp_path: Path, ids: str) -> None:
    made = planted(images=100, per_kind=8)
    for entry in made.dataset["annotations"]:
        if ids == "repeated":
            entry["id"] = 7
        elif ids == "missing":
            del entry["id"]
        entry["segmentation"] = [[0, 0, 1, 0, 1, 1]]
    read_in = read(tmp_path, made.dataset)
    findings = label_errors(read_in, made.predictions)
    listed, coco = written(tmp_path, findings, read_in)
    assert listed["annotations"] == str(tmp_path / "instances.json")
    assert [entry["suspicion"] for entry in listed["findings"]] == [finding.suspicion for finding in findings]
    assert Counter(finding.kind for finding in findings) == {k: v for k, v in listed["counts"].items() if v}
    assert sum(entry["findings"] for entry in listed["images"]) == len(findings)
    first = listed["findings"][0]
    assert first["file_name"] == f"{first['image_id']:04d}.jpg"

    load_annotations(str(tmp_path / COCO))  # as every reader of COCO files sees it
    images = {image["id"] for image in coco["images"]}
    assert images == {finding.image_id for finding in findings}
    numbers = [entry["id"] for entry in coco["annotations"]]
    assert len({*numbers}) == len(numbers)
    assert all(type(number) is int for number in numbers)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(names) == len(coco["categories"])
    before = [entry for entry in made.dataset["annotations"] if entry["image_id"] in images]
    kept = coco["annotations"][: len(before)]
    assert [{**e, "id": 0} for e in kept] == [{**e, "id": 0} for e in before], "as they are, polygons included"
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
    listed, coco = written(tmp_path, (), read(tmp_path, made.dataset))
    assert (listed["findings"], listed["images"], coco["images"], coco["annotations"]) == ([], [], [], [])
