"""The pictures of the report: which are chosen, what they count, and what cannot be read."""

import json

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_report import Run, analysis
from trainer.report.gallery import Scene, gallery


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


def pictures(run: Run, count: int = 12, **paths):
    given = {"images": run.images, "annotations": run.annotations, "predictions": run.predictions} | paths
    scene = Scene.read(**{name: str(path) for name, path in given.items()})
    return gallery(scene, count=count, score_threshold=0.3)[0].pictures


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (2, 2), (12, 12), (15, 15), (100, 15)])
def test_gallery_spreads_over_the_set(run, count, shown):
    ids = [picture.image_id for picture in pictures(run, count)]
    assert len(ids) == shown
    assert ids == sorted(set(ids))
    assert ids[0] == 0
    assert shown == 1 or ids[-1] == 14


def test_gallery_counts(run):
    by_id = {picture.image_id: picture for picture in pictures(run, 15)}
    assert (by_id[0].objects, by_id[0].detections) == (1, 1)  # the detection of score 0.25 is not drawn
    assert (by_id[4].objects, by_id[4].detections) == (0, 0)
    assert (by_id[9].objects, by_id[9].detections) == (0, 1)  # a crowd region is not an object


def test_an_unreadable_image_has_a_problem(run, tmp_path):
    for i in range(15):
        (tmp_path / f"{i:03d}.jpg").write_bytes((run.images / f"{i:03d}.jpg").read_bytes())
    (tmp_path / "000.jpg").write_bytes(b"no image")
    (tmp_path / "014.jpg").unlink()
    shown = pictures(run, 15, images=tmp_path)
    assert [picture.image_id for picture in shown if not picture.data_uri] == [0, 14]
    assert "cannot identify image" in shown[0].problem
    assert shown[14].problem


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "{folder}/secret.jpg", "x::{folder}/secret.jpg", "https://x.example/a"]
)
def test_a_file_outside_the_image_folder_is_not_opened(run, tmp_path, name):
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.jpg").write_bytes((run.images / "000.jpg").read_bytes())
    content = json.loads(run.annotations.read_text())
    content["images"] = [content["images"][0] | {"file_name": name.format(folder=tmp_path)}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    (shown,) = pictures(run, 1, images=tmp_path / "images", annotations=tmp_path / "a.json")
    assert not shown.data_uri
    assert shown.problem


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"image_id": 1}]', "{"])
def test_bad_predictions(run, tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError, match="centernet evaluate"):
        pictures(run, predictions=tmp_path / "p.json")


def test_gallery_chooses_best_worst_missed_and_confused(run):
    scene = Scene.read(images=str(run.images), annotations=str(run.annotations), predictions=str(run.predictions))
    groups = gallery(
        scene,
        count=8,
        score_threshold=0.3,
        analysis=analysis(),
    )
    shown = {group.title: [picture.image_id for picture in group.pictures] for group in groups}
    assert shown == {"Best": [7, 1], "Missed": [2, 5], "Confused": [0]}, "nothing bad is left for the group Worst"
    everything = [image_id for ids in shown.values() for image_id in ids]
    assert len(everything) == len(set(everything)), "no image twice"
