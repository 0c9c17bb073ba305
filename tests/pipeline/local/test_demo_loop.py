"""The demo of the loop: the labels that arrive, and the whole of it (slow)."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from beam_preprocess.format.annotations import load_annotations
from pipeline.local import demo_loop
from pipeline.local.demo_data import CATEGORIES, DemoData, generate
from tests.e2e.tiny_run import REPOSITORY

SMALL = DemoData(
    train_images=6,
    val_images=3,
    height=(96, 128),
    width=(96, 128),
    side=(30.0, 60.0),
    classes=demo_loop.OLD.classes,
)


def test_the_labels_of_the_picked_images_join_the_old_data(tmp_path: Path) -> None:
    old = generate(tmp_path / "old", SMALL)
    new = generate(tmp_path / "new", replace(SMALL, train_images=8, classes=(), light=0.4, seed=1))
    names = sorted(path.name for path in (new / "train2017").iterdir())[:5]
    merged, objects, crosses = demo_loop._labelled(tmp_path, old, new, names)
    train, val = (str(merged / "annotations" / f"instances_{split}2017.json") for split in ("train", "val"))
    found = load_annotations(train)
    assert list(found.categories) == list(CATEGORIES), "the old data don't know the new shape"
    assert len(found.file_names) == len(set(found.image_ids.tolist())) == 6 + 5
    assert len(load_annotations(val).file_names) == 3 + 3
    for split in ("train", "val"):
        file = merged / "annotations" / f"instances_{split}2017.json"
        assert {image["file_name"] for image in json.loads(file.read_text())["images"]} == {
            path.name for path in (merged / f"{split}2017").iterdir()
        }
    added = json.loads(Path(train.replace("2017", "2017-new")).read_text())["annotations"]
    assert len([entry for entry in added if not entry["iscrowd"]]) == objects > crosses > 0
    before = json.loads((old / "annotations" / "instances_train2017.json").read_text())
    assert {category["name"] for category in before["categories"]} == set(demo_loop.OLD.classes)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    assert demo_loop.main(["--folder", str(tmp_path / "mine")]) == 2
    assert "is not an earlier loop's" in capsys.readouterr().err
    demo_loop._make_room(tmp_path / "loop")
    (tmp_path / "loop" / "left").write_text("")
    demo_loop._make_room(tmp_path / "loop")
    assert [path.name for path in (tmp_path / "loop").iterdir()] == [demo_loop.MARKER]


@pytest.mark.slow  # two trainings
def test_the_whole_loop(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "pipeline.local.demo_loop", "--folder", str(tmp_path / "loop")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    told = process.stdout.splitlines()
    assert len(told) <= 14, "a dozen lines and a page"
    text = "\n".join(re.sub(r"^ *[\d.]+ s +(\w+) +", r"\1 ", line) for line in told)
    for words in (
        "train promoted: v0001",
        "watch drifted: ",
        "training none: no new labels since the last completed run: label to_label.json",
        "training due: new labels: the training data changed",
        "decision promoted: v0002 (was v0001)",
    ):
        assert words in text, text
    old, new = (re.search(rf"AP {name} images: champion ([\d.]+), candidate ([\d.]+)", text) for name in ("old", "new"))
    assert old, new
    assert float(new[2]) > float(new[1]), "it learnt what the new images show"
    page = (tmp_path / "loop" / demo_loop.PAGE).read_text()
    for link in re.findall(r'href="([^"]+)"', page):
        assert (tmp_path / "loop" / link).is_file(), link
