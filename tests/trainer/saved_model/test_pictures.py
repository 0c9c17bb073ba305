import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from tests.trainer.made_report import analysis
from trainer.promotion.serving import recommend
from trainer.saved_model import pictures
from trainer.saved_model.pictures import predict
from trainer.saved_model.thresholds import Thresholds, thresholds_of

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A good image, a broken file, and another good image."""
    paths = [tmp_path / name for name in ("first.jpg", "broken.jpg", "second.png")]
    pixels = np.random.default_rng(0).integers(0, 256, (48, 70, 3)).astype(np.uint8)
    paths[0].write_bytes(tf.io.encode_jpeg(pixels).numpy())
    paths[1].write_bytes(b"\xff\xd8\xff broken")
    paths[2].write_bytes(tf.io.encode_png(pixels).numpy())
    return paths


def test_a_broken_file_is_named_and_the_others_are_drawn(
    exported: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drawn"
    (failure,) = predict(model=str(exported), images=[*map(str, images)], output=str(folder), threshold=0)
    assert failure.startswith(f"{images[1]}: not an image")
    printed = capsys.readouterr().out
    assert f"{images[0]}: 70x48" in printed
    assert "class" in printed
    drawn = sorted(p.name for p in folder.iterdir())
    assert drawn == ["first.detections.png", "second.detections.png"]
    picture = tf.io.decode_png((folder / drawn[0]).read_bytes())
    assert picture.shape == (48, 70, 3)


def test_the_threshold_filters(exported: Path, images: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(model=str(exported), images=[str(images[0])], output="", threshold=1) == []
    assert "0 detection(s)" in capsys.readouterr().out


@pytest.mark.parametrize(("threshold", "message"), [(2, "--threshold 2"), (None, "not a SavedModel")])
def test_bad_input(images: list[Path], threshold: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(model="nowhere", images=[str(images[0])], output="", threshold=threshold)


EXPORT = {"score_threshold": 0.3}


def test_the_threshold_is_the_given_one_else_the_models_else_the_exports(tmp_path: Path) -> None:
    assert thresholds_of(str(tmp_path), EXPORT, None) == Thresholds(default=0.3, classes={}, source="the export")
    serving = recommend(analysis())
    assert serving is not None
    (tmp_path / "serving.json").write_text(serving.to_json())
    found = thresholds_of(str(tmp_path), EXPORT, None)
    assert (found.default, found.classes, found.source) == (0.42, {1: 0.42, 2: 0.42, 5: 0.42}, "serving.json")
    assert thresholds_of(str(tmp_path), EXPORT, 0.6).default == 0.6
    (tmp_path / "serving.json").write_text("{}")
    with pytest.raises(InputError, match=r"serving\.json: schema_version"):
        thresholds_of(str(tmp_path), EXPORT, None)
    assert thresholds_of(str(tmp_path), EXPORT, 0.6).default == 0.6, "a given threshold needs no file"


def test_each_class_has_its_threshold() -> None:
    minimum = Thresholds(default=0.5, classes={7: 0.2, 8: 0.9}, source="")
    scores = np.array([0.2, 0.1999, 0.9, 0.8, 0.5, 0.4, 0.0], np.float32)
    classes = np.array([7, 7, 8, 8, 3, 3, 7])
    assert minimum.shown(scores, classes).tolist() == [True, False, True, False, True, False, False]
    assert not Thresholds(default=0.0, classes={}, source="").shown(scores, classes)[-1], "padding is not a detection"


def test_json_folders_and_special_files(exported: Path, images: list[Path], tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    shutil.copy(images[0], folder / "a" / "same.jpg")
    shutil.copy(images[0], folder / "b" / "same.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    failures = predict(
        model=str(exported),
        images=[str(folder), str(images[1]), str(tmp_path / "pipe.jpg"), str(images[2])],
        output=str(tmp_path / "drawn"),
        threshold=0,
        json_file=str(tmp_path / "found.json"),
    )
    assert [failure.partition(": ")[0] for failure in failures] == [str(tmp_path / "pipe.jpg"), str(images[1])]
    assert len([*(tmp_path / "drawn").iterdir()]) == 3, "two files of one name have two pictures"
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["failures"] == failures
    files = [entry["file"] for entry in content["images"]]
    assert files == [str(folder / "a" / "same.jpg"), str(folder / "b" / "same.jpg"), str(images[2])]
    first, second, _ = content["images"]
    assert first["detections"] == second["detections"]
    assert len(first["detections"]) > 3
    for found in first["detections"]:
        assert found.keys() == {"category_id", "category", "score", "bbox"}
        assert all(isinstance(side, float) for side in found["bbox"])
    assert (first["width"], first["height"]) == (70, 48)


def test_serving_json_of_the_model_is_used(exported: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    serving = recommend(analysis())
    assert serving is not None
    (model / "serving.json").write_text(serving.to_json().replace("0.42", "1.0"))
    assert predict(model=str(model), images=[str(images[0])], output="") == []
    printed = capsys.readouterr().out
    assert "score threshold: 1.000 (serving.json)" in printed
    assert "0 detection(s)" in printed


def test_progress(exported: Path, images: list[Path], capsys, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "PROGRESS_SECONDS", 0.0)
    predict(model=str(exported), images=[str(images[0]), str(images[2])], output="", threshold=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("images")[0] for line in lines if line.startswith("progress")] == [
        "progress: predict 1/2 ",
        "progress: predict 2/2 ",
    ]


@pytest.mark.parametrize("flag", ["--output", "--json"])
def test_output_that_cannot_be_written(exported: Path, images: list[Path], tmp_path: Path, flag: str) -> None:
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "below")
    given = {"output": place} if flag == "--output" else {"output": "", "json_file": place}
    with pytest.raises(InputError, match=flag):
        predict(model=str(exported), images=[str(images[0])], **given)
