"""How the benchmark of picked images cuts data sets, and what it counts. Nothing is trained here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_preprocess.format.annotations import load_annotations
from benchmarks import to_label, to_label_pools
from tests.trainer.validation_images import write_images
from trainer.scoring.results import ScoredImage


def made(folder: Path) -> to_label_pools.Data:
    """Six images, in COCO 2017's layout."""
    images, annotations = write_images(folder / "made")
    for split in ("train", "val"):
        (folder / "cards" / f"{split}2017").parent.mkdir(exist_ok=True)
        (folder / "cards" / f"{split}2017").symlink_to(images)
        target = folder / "cards" / "annotations" / f"instances_{split}2017.json"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(annotations.read_bytes())
    return to_label_pools.load(folder / "cards")


def test_a_part_of_a_data_set(tmp_path: Path) -> None:
    data = made(tmp_path)
    names = data.names()
    part = to_label_pools.write_data(data, [names[4], names[1]], tmp_path / "work")
    assert part == to_label_pools.write_data(data, [names[1], names[4]], tmp_path / "work"), "named by its images"
    assert part != to_label_pools.write_data(data, [names[1], names[2]], tmp_path / "work")
    train = load_annotations(str(part / "annotations" / "instances_train2017.json"))
    assert sorted(train.file_names) == [names[1], names[4]]
    assert sorted(train.annotation_image_ids.tolist()) == sorted(train.image_ids.tolist())
    assert len(load_annotations(str(part / "annotations" / "instances_val2017.json")).file_names) == 6
    assert all((part / split / names[1]).is_file() for split in ("train2017", "val2017"))


def test_copies_have_the_labels_of_their_image(tmp_path: Path) -> None:
    data = made(tmp_path)
    names = data.names()
    more, copies = to_label_pools.with_copies(data, names[:2], 3, tmp_path / "copies")
    assert len(copies) == 6
    assert more.names() == sorted([*names, *copies])
    part = to_label_pools.write_data(more, copies, tmp_path / "work")
    train = load_annotations(str(part / "annotations" / "instances_train2017.json"))
    whole = to_label_pools.write_data(data, names[:2], tmp_path / "work")
    one = load_annotations(str(whole / "annotations" / "instances_train2017.json"))
    assert sorted(train.bboxes.tolist()) == sorted(3 * one.bboxes.tolist())
    assert all((part / "train2017" / name).is_file() for name in copies)


def test_nights(tmp_path: Path) -> None:
    data = made(tmp_path)
    names = data.names()
    drifted, pool = to_label_pools.with_nights(data, names[3:5], names[2:], tmp_path / "nights")
    dark = [f"night-{name}" for name in names[3:5]]
    assert pool == [names[2], names[5], *dark], "by day or by night, not both"
    assert [to_label.is_changed(name) for name in pool] == [False, False, True, True]
    part = to_label_pools.write_data(drifted, [*names[:2], *dark], tmp_path / "work")
    train = load_annotations(str(part / "annotations" / "instances_train2017.json"))
    day = load_annotations(str(tmp_path / "cards" / "annotations" / "instances_train2017.json"))
    own = {name: day.bboxes[day.annotation_image_ids == day.image_ids[day.file_names.index(name)]] for name in names}
    boxes = sorted(box for name in (*names[:2], *names[3:5]) for box in own[name].tolist())
    assert sorted(train.bboxes.tolist()) == boxes
    val = load_annotations(str(part / "annotations" / "instances_val2017.json"))
    assert sorted(val.file_names) == sorted([*names, *(f"night-{name}" for name in names)])
    assert sorted(val.bboxes.tolist()) == sorted(2 * day.bboxes.tolist())
    with Image.open(part / "train2017" / names[4]) as light, Image.open(part / "train2017" / dark[1]) as image:
        assert image.size == light.size
        red, green, blue = (np.asarray(band, float) for band in image.split())
        assert abs(red - green).max() < 8 and abs(red - blue).max() < 8, "grey, but for JPEG"
        assert red.mean() < 0.5 * np.asarray(light).mean()


def test_what_labels_would_add() -> None:
    truth = [(3, [10.0, 10.0, 20.0, 20.0]), (3, [50.0, 50.0, 20.0, 20.0]), (7, [10.0, 50.0, 20.0, 20.0])]
    found = [
        (3, [11.0, 10.0, 20.0, 20.0], 0.9),
        (3, [10.0, 11.0, 20.0, 20.0], 0.8),  # the same object again
        (3, [10.0, 50.0, 20.0, 20.0], 0.7),  # another class
        (7, [50.0, 50.0, 20.0, 20.0], 0.3),  # below its threshold
    ]
    detections = tuple({"category_id": category, "bbox": box, "score": score} for category, box, score in found)
    image = ScoredImage(id=1, file_name="a.jpg", width=80, height=80, detections=detections)
    info = {"score_threshold": 0.2, "score_thresholds": {"7": 0.4}}
    assert to_label._errors(image, truth, info) == {"objects": 3, "missed": 2, "wrong": 2}


def test_the_tables() -> None:
    row = {"machine": "here", "date": "today", "load": [0.5, 1.5]}
    objects = {"picked": 9, "random": 7}
    rows = [
        {"picked": {**row, "ap": 0.5 + seed / 10}, "random": {**row, "ap": 0.5}, "objects": objects}
        for seed in range(3)
    ]
    lines = to_label.table([0, 1, 2], rows).splitlines()
    assert lines[3] == "| 1 | 0.600 | 0.500 | 9 | 7 |"
    assert lines[6] == "picked - random: median +0.100, +0.000 to +0.200"
    assert lines[8] == "here, today, load average 0.5 to 1.5"
    errors = {name: {"objects": 2, "missed": i, "wrong": 0} for i, name in enumerate("abcd")}
    added = to_label.gain_table(errors, ["c", "d"]).splitlines()
    assert added[2:] == ["| 2 picked | 4 | 5 | 0 |", "| 2 at random | 4.0 | 3.0 | 0.0 |"]


def test_what_is_finished_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    assert to_label.kept(state, "one", lambda: {"ap": 0.5}) == {"ap": 0.5}
    assert to_label.kept(state, "one", lambda: {"ap": 0.6}) == {"ap": 0.5}
    assert to_label.kept(state, "two", lambda: {"ap": 0.6}) == {"ap": 0.6}


def test_too_few_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path)
    flags = ["--coco-dir", str(tmp_path / "cards"), "--state", str(tmp_path / "state.json"), "--start", "4"]
    assert to_label.main([*flags, "--count", "3"]) == 2
    assert capsys.readouterr().err == "error: --start 4 --count 3: there are 6 training images\n"
