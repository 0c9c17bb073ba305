"""Scoring a folder in this process: what is written, in which bytes, and what a later run does with it."""

import json
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from tests.trainer.scoring.made_images import BAD, contents, write_images
from trainer.profile.columns import Measures, measures_of
from trainer.profile.measure import measure
from trainer.saved_model.inference import load_signature, read_label_map, to_coco
from trainer.scoring.fixed_batch import PLACEHOLDER
from trainer.scoring.images import list_images
from trainer.scoring.manifest import read_manifest
from trainer.scoring.output import WORK, ResultsFolder
from trainer.scoring.results import read_results, read_rows
from trainer.scoring.run import _job, _label_map, score
from trainer.scoring.transforms import ScoreImages

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

COUNT = 75


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 pictures and 4 that can't be used: 10 batches, the last one of 7."""
    return write_images(tmp_path_factory.mktemp("images"), COUNT)


@pytest.fixture(scope="module")
def measures(exported: Path) -> Measures:
    return measures_of(read_label_map(str(exported)))


@pytest.fixture(scope="module")
def whole(exported: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All detections, as COCO results, by one thread."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    score(model=str(exported), images=str(images), output=str(folder), threshold=0, num_threads=1)
    return folder


def test_the_results_are_those_of_the_signature(exported: Path, images: Path, whole: Path) -> None:
    signature = load_signature(str(exported))
    names = [name for name in list_images(str(images)).names if name not in BAD]
    expected: list[dict[str, Any]] = []
    ids = {name: place for place, name in enumerate(list_images(str(images)).names, start=1)}
    every = list(ids)
    for start in range(0, len(every), 8):
        batch = every[start : start + 8]
        data = [PLACEHOLDER if name in BAD else (images / name).read_bytes() for name in batch]
        outputs = signature(image_bytes=tf.constant([*data, *[PLACEHOLDER] * (8 - len(data))]))
        for place, name in enumerate(batch):
            if name not in BAD:
                expected += to_coco(ids[name], {key: value.numpy()[place] for key, value in outputs.items()})
    found = [entry for path in sorted(whole.glob("detections-*.json")) for entry in json.loads(path.read_text())]
    assert found == expected
    assert len(found) > COUNT
    entries = [json.loads(line) for path in sorted(whole.glob("images-*")) for line in path.read_text().splitlines()]
    assert [(entry["id"], entry["file_name"]) for entry in entries] == [(ids[name], name) for name in names]
    assert (entries[0]["height"], entries[0]["width"]) == (20, 30)


def test_bad_images_are_counted_with_reasons(whole: Path) -> None:
    manifest = read_manifest(str(whole))
    assert manifest.rejects == dict.fromkeys(sorted(BAD.values(), key=[*manifest.rejects].index), 1)
    assert (manifest.images, manifest.run.num_images) == (COUNT, COUNT + len(BAD))
    lines = [json.loads(line) for path in whole.glob("rejects-*") for line in path.read_text().splitlines()]
    assert {line["file_name"]: line["reason"] for line in lines} == BAD
    assert {line["action"] for line in lines} == {"dropped"}
    assert not (whole / WORK).exists()
    named = [file.name for shard in manifest.shards for file in shard.files]
    assert sorted(named) == sorted({path.name for path in whole.iterdir()} - {"manifest.json"})


@pytest.mark.parametrize("how", [{"num_threads": 3}, {"pipeline_args": ["--runner=BundleBasedDirectRunner"]}])
def test_threads_and_another_engine_give_the_same_bytes(
    exported: Path, images: Path, whole: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    score(model=str(exported), images=str(images), output=str(tmp_path / "out"), threshold=0, **how)
    assert contents(tmp_path / "out") == contents(whole)


def test_jsonl_holds_the_same_and_names_images_and_classes(
    exported: Path, images: Path, whole: Path, tmp_path: Path
) -> None:
    score(model=str(exported), images=str(images), output=str(tmp_path / "out"), threshold=0, form="jsonl")
    lines, coco = list(read_results(str(tmp_path / "out"))), list(read_results(str(whole)))
    assert len(lines) == len(coco) == COUNT
    for one, other in zip(lines, coco, strict=True):
        assert (one.id, one.file_name, one.width, one.height) == (other.id, other.file_name, other.width, other.height)
        assert [{k: v for k, v in d.items() if k != "category"} for d in one.detections] == list(other.detections)
    names = {category.id: category.name for category in read_manifest(str(whole)).categories}
    assert all(d["category"] == names[d["category_id"]] for image in lines for d in image.detections)
    assert list((tmp_path / "out").glob("images-*")) == []


def test_the_threshold_is_stated_and_kept(
    exported: Path, images: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = sorted(d["score"] for image in read_results(str(whole)) for d in image.detections)
    middle = scores[len(scores) // 2]
    manifest = score(model=str(exported), images=str(images), output=str(tmp_path / "out"), threshold=middle)
    assert (
        f"score threshold: {middle:.3f} (--threshold); detections below it are not written" in capsys.readouterr().out
    )
    assert manifest.run.minimum.default == middle
    kept = [d["score"] for image in read_results(str(tmp_path / "out")) for d in image.detections]
    assert sorted(kept) == [value for value in scores if value >= middle]
    assert manifest.images == COUNT, "an image without a detection is an image all the same"


def test_statistics_of_each_image_with_the_features_of_the_backbone(
    exported: Path, images: Path, whole: Path, measures: Measures, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"model": str(exported), "images": str(images), "threshold": 0, "measures": measures}
    score(**settings, output=str(tmp_path / "out"))
    found = contents(tmp_path / "out")
    for name, content in contents(whole).items():
        if name.startswith("detections-"):
            assert found[name] == content, "the signature with features detects the same"
    rows, results = read_rows(str(tmp_path / "out")), list(read_results(str(whole)))
    assert rows.ids.tolist() == [image.id for image in results]
    assert rows.names.tolist() == [image.file_name for image in results]
    assert rows.features.shape == (COUNT, 8)
    assert np.ptp(rows.features, axis=0).min() > 0
    data = (images / rows.names[5]).read_bytes()
    outputs = load_signature(str(exported))(image_bytes=tf.constant([data] * 8))
    values, code = measure(data, {name: value.numpy()[0] for name, value in outputs.items()}, measures)
    np.testing.assert_allclose(rows.values[5], values, rtol=1e-4)
    assert rows.fingerprints[5] == code
    with pytest.raises(InputError, match="here: other statistics; give another folder"):
        score(**{**settings, "measures": None}, output=str(tmp_path / "out"))
    with pytest.raises(InputError, match="holds no statistics"):
        read_rows(str(whole))


def begun(exported: Path, images: Path, whole: Path, output: Path, shards: int) -> None:
    """What a run leaves that is killed when it has finished some shards and half of another one."""
    run, folder = read_manifest(str(whole)).run, ResultsFolder(str(output))
    planned = folder.begin(run, list_images(str(images)).names)
    job = _job(run, folder, _label_map(str(exported), 0)[0])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(planned[:shards]) | ScoreImages(job)
    (output / f".{job.detections_name(shards)}.tmp-0a1b").write_text("half")


def test_a_killed_run_is_resumed(
    exported: Path, images: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    begun(exported, images, whole, out, 5)
    assert not (out / "manifest.json").exists()
    damaged = next(out.glob("detections-00002-*"))
    damaged.write_text("cut")
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*-0000[0134]-of-*")}
    capsys.readouterr()
    score(model=str(exported), images=str(images), output=str(out), threshold=0)
    assert "resumed: 40 of 79 images are done\n" in capsys.readouterr().out
    assert contents(out) == contents(whole)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before, "finished shards stay"


def test_a_finished_run_is_reused(exported: Path, images: Path, whole: Path, capsys: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    score(model=str(exported), images=str(images), output=str(whole), threshold=0)
    assert f"reused the results in {whole}" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threshold": 0.5}, "other thresholds"),
        ({"form": "jsonl"}, "another --format"),
        ({"batch_size": 4}, "another --batch-size"),
        ({"names": ["a/000.jpg"]}, "another number of images, images that were added, removed or changed"),
    ],
)
@pytest.mark.parametrize("state", ["finished", "begun"])
def test_a_folder_of_another_run_is_refused_unchanged(
    exported: Path, images: Path, whole: Path, tmp_path: Path, state: str, change: dict[str, Any], says: str
) -> None:
    out = whole
    if state == "begun":
        out = tmp_path / "out"
        ResultsFolder(str(out)).begin(read_manifest(str(whole)).run, list_images(str(images)).names)
    before = contents(out)
    settings = {"model": str(exported), "images": str(images), "output": str(out), "threshold": 0, **change}
    with pytest.raises(InputError, match=f"holds the results of another run: 79 images of .*; here: {says}; give"):
        score(**settings)
    assert contents(out) == before


def test_results_without_their_manifest_are_refused(exported: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "detections-00000-of-00008.json").write_text("[]")
    with pytest.raises(InputError, match=r"holds detections-00000-of-00008\.json of a run that is not known any more"):
        score(model=str(exported), images=str(images), output=str(tmp_path))
    assert os.listdir(tmp_path) == ["detections-00000-of-00008.json"]


def test_nothing_but_bad_images_is_an_error_that_a_rerun_forgets(exported: Path, images: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": str(exported), "images": str(images), "output": str(tmp_path / "out")}
    with pytest.raises(InputError, match=r"none of the 2 images can be scored \(zero_size 1, missing_image 1\); see"):
        score(**settings, names=["bad/empty.png", "bad/gone.jpg"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejects-00000-of-00001.jsonl"]
    assert score(**settings, names=["a/000.jpg"]).images == 1
    assert "rejects-00000-of-00001.jsonl" not in os.listdir(tmp_path / "out")


def test_a_damaged_model_is_refused_before_anything_is_written(exported: Path, images: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(exported, tmp_path / "model")
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"torn")
    with pytest.raises(InputError, match="can't be loaded"):
        score(model=str(tmp_path / "model"), images=str(images), output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
