"""`to_label.json`, from a folder of scores made by code."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_preprocess import check
from beam_preprocess.format.annotations import load_annotations
from tests.trainer.made_profile import MEASURES, profile, rows
from trainer.promotion.serving import RULE, ClassThreshold, Serving
from trainer.registry.digest import SERVING_FILE
from trainer.registry.named import NamedModel
from trainer.scoring.manifest import IMAGE_IDS, Category, File, Manifest, Minimum, Run, ShardResult
from trainer.watch.to_label import NAME, write_to_label

FOUND = {
    "0.png": [(3, [10.0, 10.004, 30.0, 20.0], 0.41), (3, [0.0, 0.0, 9.0, 9.0], 0.39), (7, [5.0, 5.0, 9.0, 9.0], 0.21)],
    "1.png": [(7, [1.0, 2.0, 30.0, 40.0], 0.99), (7, [80.0, 60.0, 0.001, 0.0], 0.9)],
    "a/2.png": [],
}


def write_scores(folder: Path) -> None:
    """As `centernet score` does."""
    names = {entry.id: entry.name for entry in MEASURES.classes}
    lines = [
        json.dumps(
            {
                "id": number,
                "file_name": name,
                "width": 80,
                "height": 60,
                "detections": [
                    {"category_id": category, "bbox": box, "score": score, "category": names[category]}
                    for category, box, score in found
                ],
            }
        )
        for number, (name, found) in enumerate(FOUND.items(), start=1)
    ]
    shard = "detections-00000-of-00001.jsonl"
    folder.mkdir()
    (folder / shard).write_text("".join(f"{line}\n" for line in lines))
    run = Run(
        model="model",
        version="v0001",
        model_digest="m" * 64,
        images="images",
        num_images=3,
        images_digest="d" * 64,
        format="jsonl",
        batch_size=8,
        minimum=Minimum(default=0.05, classes={}, source="--threshold"),
        measures=MEASURES,
    )
    file = File(name=shard, bytes=0, sha256="")
    manifest = Manifest(
        run=run,
        categories=tuple(Category(id=number, name=name) for number, name in names.items()),
        images=3,
        detections=5,
        rejects={},
        image_ids=IMAGE_IDS,
        shards=(ShardResult(shard=0, images=3, detections=5, rejects={}, files=(file,)),),
    )
    (folder / "manifest.json").write_text(manifest.to_json())


def write_serving(folder: Path) -> None:
    """0.4 for all classes, 0.2 for the second one."""
    own = ClassThreshold(
        category_id=7, name="king", score_threshold=0.2, own=True, objects=30, precision=0.9, recall=0.9, f1=0.9
    )
    made = Serving(
        model_digest="m" * 64,
        data_digest="",
        rule=RULE,
        min_support=20,
        score_threshold=0.4,
        objects=60,
        precision=0.9,
        recall=0.9,
        f1=0.9,
        classes=(own,),
    )
    folder.mkdir()
    (folder / SERVING_FILE).write_text(made.to_json())


def test_the_file_has_the_detections_from_their_thresholds_on_and_check_accepts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    for place, name in enumerate(FOUND):
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((80, 60), 50 + place).save(path)
    write_scores(tmp_path / "scores")
    write_serving(tmp_path / "model")
    new = dataclasses.replace(rows(3, seed=1), names=np.array([*FOUND]))
    found = write_to_label(
        str(tmp_path / NAME),
        profile=profile(images=20),
        rows=new,
        statistics=(),
        scores=str(tmp_path / "scores"),
        model=NamedModel(folder=str(tmp_path / "model"), version="v0001"),
        images=str(images),
        count=50,
        seed=0,
    )
    coco = load_annotations(str(tmp_path / NAME))
    assert coco.categories == ((3, "ace"), (7, "king"))
    assert sorted(coco.file_names) == [*FOUND]
    assert coco.file_names[0] == "0.png", "two detections near their thresholds, and a third"
    assert coco.image_sizes.tolist() == [[60, 80]] * 3
    content = json.loads((tmp_path / NAME).read_text())
    kept = [(entry["category_id"], entry["bbox"], entry["score"]) for entry in content["annotations"]]
    first, third, sure = (3, [10.0, 10.0, 30.0, 20.0], 0.41), (7, [5.0, 5.0, 9.0, 9.0], 0.21), FOUND["1.png"][0]
    assert sorted(kept) == sorted([first, third, sure])
    assert len({entry["id"] for entry in content["annotations"]}) == 3
    info = content["info"]
    assert (info["score_threshold"], info["score_thresholds"], info["model"]) == (0.4, {"7": 0.2}, "v0001")
    assert (info["candidates"], info["near_duplicates"], info["detections_without_area"]) == (3, 0, 1)
    assert content["images"][0]["attributes"]["reasons"][0] == "uncertain"
    attributes = content["images"][0]["attributes"]
    assert attributes["doubtful_detections"] == 3
    assert (attributes["rarity"], attributes["rarity_in"]) == (None, ""), "no drift"
    assert found.line.startswith("3 images with 3 detections (")
    for split in ("train", "val"):
        assert check.main(["--images", str(images), "--annotations", str(tmp_path / NAME), "--split", split]) == 0
    capsys.readouterr()
