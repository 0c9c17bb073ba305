"""The whole preprocessing of a split, on real files."""

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import check_split
from beam_preprocess.format import fingerprints
from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.annotations import class_map, load_annotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.geometry import to_original
from beam_preprocess.format.images import decode as decode_image
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.format.records import Record, decode
from beam_preprocess.format.targets import code_table
from beam_preprocess.format.tfrecord import read_records
from beam_preprocess.job.code_version import code_version
from beam_preprocess.job.pipeline import _records_digest, preprocess
from beam_preprocess.job.shards import ShardJob
from tests.beam_preprocess.conftest import DataSet, make_data_set

CONFIG = PreprocessConfig(image_size=(64, 64), train_views=3)
CODES = len(code_table(CONFIG.map_size, CONFIG.heatmap_cutoff).values)


def run(data: Any, output: Path, split: Any = "train", config: PreprocessConfig = CONFIG, **options: Any) -> Manifest:
    return preprocess(
        images=str(data.images),
        annotations=str(data.annotations),
        split=split,
        output=str(output),
        config=config,
        **options,
    )


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def records(folder: Path, manifest: Manifest) -> list[Record]:
    found = []
    for shard in manifest.shards:
        with (folder / shard.name).open("rb") as file:
            found += [decode(data, CONFIG.map_size, CODES) for data in read_records(file)]
    return found


def rejects(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("rejects-*")) for line in path.read_text().splitlines()]


Runs = Callable[[Any], tuple[Path, Manifest]]
Copy = Callable[..., tuple[DataSet, Manifest]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The folder of a data set and of its records in `out`, by split, for reading."""

    @functools.cache
    def made(split: Any) -> tuple[Path, Manifest]:
        folder = tmp_path_factory.mktemp(split)
        return folder, run(make_data_set(folder, 12), folder / "out", split)

    return made


@pytest.fixture
def after_a_run(runs: Runs, tmp_path: Path) -> Copy:
    """Copies them to the test's folder, with their times: a data set, and records that are up to date."""

    def copied(split: Any = "train") -> tuple[DataSet, Manifest]:
        folder, manifest = runs(split)
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        annotations = tmp_path / "annotations.json"
        return DataSet(tmp_path / "images", annotations, json.loads(annotations.read_text())), manifest

    return copied


def test_every_image_is_present_once_per_view_with_its_boxes(after_a_run: Copy, tmp_path: Path) -> None:
    data_set, manifest = after_a_run()
    found = records(tmp_path / "out", manifest)
    ids = [image["id"] for image in data_set.content["images"]]
    assert sorted((r.image_id, r.view_number) for r in found) == [(i, v) for i in ids for v in range(3)]
    index_of = {c.id: c.index for c in manifest.categories}
    for record in found:
        assert decode_image(record.image, CONFIG.image_size).pixels.shape == (64, 64, 3)
        if record.view_number:
            continue
        annotations = [a for a in data_set.content["annotations"] if a["image_id"] == record.image_id]
        targets = record.targets
        assert targets.object_class.tolist() == [index_of[a["category_id"]] for a in annotations]
        assert targets.object_crowd.tolist() == [bool(a["iscrowd"]) for a in annotations]
        cells = np.stack(np.divmod(targets.object_cell, 16), axis=1)
        centre, half = (cells + targets.object_offset) * 4, targets.object_size * 2
        boxes = to_original(record.view, np.concatenate([centre - half, centre + half], axis=1))
        x, y, w, h = np.array([a["bbox"] for a in annotations]).reshape(-1, 4).T
        np.testing.assert_allclose(boxes, np.stack([y, x, y + h, x + w], axis=1), atol=1e-3)


def test_a_random_view_holds_the_boxes_that_it_shows(after_a_run: Copy, tmp_path: Path) -> None:
    """Cut at the window by hand, from the annotation file; what is less than a quarter visible is gone."""
    data_set, manifest = after_a_run()
    index_of = {c.id: c.index for c in manifest.categories}
    kept = cut = 0
    for record in records(tmp_path / "out", manifest):
        if not record.view_number:
            continue
        sy0, sx0, sy1, sx1 = record.view.source
        expected = []
        for a in data_set.content["annotations"]:
            x, y, w, h = a["bbox"]
            box = max(y, sy0), max(x, sx0), min(y + h, sy1), min(x + w, sx1)
            sides = max(box[2] - box[0], 0), max(box[3] - box[1], 0)
            visible = sides[0] * sides[1] / (w * h)
            if a["image_id"] == record.image_id and (visible >= 0.25 or (a["iscrowd"] and visible > 0)):
                expected.append((index_of[a["category_id"]], *box))
                cut += visible < 0.999
        targets = record.targets
        cells = np.stack(np.divmod(targets.object_cell, 16), axis=1)
        centre, half = (cells + targets.object_offset) * 4, targets.object_size * 2
        boxes = to_original(record.view, np.concatenate([centre - half, centre + half], axis=1))
        assert targets.object_class.tolist() == [int(e[0]) for e in expected]
        np.testing.assert_allclose(boxes, np.array([e[1:] for e in expected]).reshape(-1, 4), atol=1e-3)
        kept += len(expected)
    assert kept > 20 and cut > 2


def test_the_manifest_describes_the_files(after_a_run: Copy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _, manifest = after_a_run()
    assert Manifest.from_json((out / manifests.NAME).read_text(), "manifest") == manifest
    assert (manifest.images, manifest.views, manifest.objects, manifest.crowds) == (12, 3, 17, 1)
    assert manifest.num_classes == 3
    assert manifest.rejects == {}
    assert sum(manifest.class_histogram.values()) == sum(manifest.size_histogram.values()) == 17
    found = records(out, manifest)
    assert manifest.max_cells == max(len(r.targets.cell_index) for r in found)
    assert manifest.max_objects == max(len(r.targets.object_cell) for r in found)
    for shard in manifest.shards:
        data = (out / shard.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)
    assert sorted(contents(out)) == sorted(
        [manifests.NAME, fingerprints.NAME, *(shard.name for shard in manifest.shards)]
    )


@pytest.mark.parametrize("count", [1, 1200])
def test_any_number_of_classes_a_shape_and_a_stride(data_set: Any, tmp_path: Path, count: int) -> None:
    """Sparse ids, an input that is not square, 8 pixels per cell, 150 objects in one image."""
    ids = [7 * i + 3 for i in range(count)]
    data_set.content["categories"] = [{"id": i, "name": f"class {i}"} for i in reversed(ids)]
    image = data_set.content["images"][2]
    x, y = np.random.default_rng(0).uniform(0, 25, (2, 150)).round(3)
    boxes = np.stack([x, y, 1 + x / 3, 1 + y / 3], axis=1).tolist()
    data_set.content["annotations"] = [
        {"id": i, "image_id": image["id"], "category_id": ids[(i * 8) % count], "bbox": box, "iscrowd": 0}
        for i, box in enumerate(boxes)
    ]
    data_set.save()
    config = PreprocessConfig(image_size=(64, 160), stride=8, train_views=1)
    manifest = run(data_set, tmp_path / "out", config=config, num_shards=1)
    assert (manifest.num_classes, manifest.max_objects) == (count, 150)
    (shard,) = manifest.shards
    codes = len(code_table(config.map_size, config.heatmap_cutoff).values)
    with (tmp_path / "out" / shard.name).open("rb") as file:
        found = {r.image_id: r for r in (decode(data, config.map_size, codes) for data in read_records(file))}
    targets = found[image["id"]].targets
    assert targets.object_class.tolist() == [(i * 8) % count for i in range(150)]
    assert targets.object_cell.max() < 8 * 20 and targets.cell_index.max() < 8 * 20
    height, width = image["height"], image["width"]
    zoom = min(64 / height, 160 / width)
    np.testing.assert_allclose(targets.object_size * 8, np.array(boxes)[:, [3, 2]] * zoom, rtol=0.02)


def test_validation_has_one_plain_view(data_set: Any, tmp_path: Path) -> None:
    manifest = run(data_set, tmp_path / "out", split="val", num_shards=2)
    assert manifest.views == 1
    assert len(manifest.shards) == 2
    assert all(r.view.source == (0, 0, *r.image_size) for r in records(tmp_path / "out", manifest))


def test_the_same_bytes_on_another_engine_and_another_file_order(after_a_run: Copy, tmp_path: Path) -> None:
    data_set, _ = after_a_run()
    (tmp_path / "out").rename(tmp_path / "one")
    run(data_set, tmp_path / "two", pipeline_args=["--runner=BundleBasedDirectRunner"])
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    run(data_set, tmp_path / "threads", num_threads=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "threads")
    data_set.content["images"].reverse()
    data_set.save()
    run(data_set, tmp_path / "three")
    assert _tfrecords(tmp_path / "one") == _tfrecords(tmp_path / "three")
    run(data_set, tmp_path / "four", seed=1)
    assert _tfrecords(tmp_path / "one") != _tfrecords(tmp_path / "four")


def _tfrecords(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in contents(folder).items() if name.endswith(".tfrecord")}


@pytest.mark.slow
def test_the_same_bytes_with_two_processes(data_set: Any, tmp_path: Path) -> None:
    (data_set.images / "photo_002.jpg").unlink()
    config = PreprocessConfig(image_size=(64, 64), train_views=3, max_reject_fraction=0.5)
    run(data_set, tmp_path / "one", config=config)
    run(data_set, tmp_path / "two", config=config, num_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_without_a_number_of_workers_one_is_chosen_and_said_first(data_set: Any, tmp_path: Path, capsys: Any) -> None:
    run(data_set, tmp_path / "out", split="val", num_workers=None, num_threads=None, cores=2)
    assert capsys.readouterr().out.startswith("parallel: --num-threads 2 (0 megapixels of views; cores: 2; ")
    run(data_set, tmp_path / "given", split="val", num_workers=None, num_threads=2)
    assert "parallel:" not in capsys.readouterr().out


def test_workers_without_a_shard_are_reported(data_set: Any, tmp_path: Path, capsys: Any) -> None:
    """The number of shards follows the images and not the workers: the same data always gives the same files."""
    run(data_set, tmp_path / "out", split="val", num_shards=2, num_threads=3)
    assert (
        "note: 2 shards keep only 2 of 3 workers busy; use --num-shards 3 or a multiple of it"
        in capsys.readouterr().out
    )
    run(data_set, tmp_path / "enough", split="val", num_shards=3, num_threads=3)
    assert "note: " not in capsys.readouterr().out


def test_a_second_run_does_nothing_and_says_so(after_a_run: Copy, tmp_path: Path, capsys: Any) -> None:
    data_set, first = after_a_run()
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    capsys.readouterr()
    assert run(data_set, tmp_path / "out") == first
    assert "reused" in capsys.readouterr().out
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == times


def test_force_writes_the_same_bytes_again(after_a_run: Copy, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    data_set, first = after_a_run()
    before, times = contents(out), {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    capsys.readouterr()
    assert run(data_set, out, force=True) == first
    assert "reused" not in capsys.readouterr().out
    assert contents(out) == before
    assert all(p.stat().st_mtime_ns > times[p.name] for p in out.iterdir())


def touch_image(data: Any, out: Path) -> dict[str, Any]:
    path = data.images / "photo_001.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    return {}


def change_annotations(data: Any, out: Path) -> dict[str, Any]:
    data.content["annotations"][0]["bbox"][2] -= 0.5
    data.save()
    return {}


def lose_a_shard(data: Any, out: Path) -> dict[str, Any]:
    next(out.glob("*.tfrecord")).unlink()
    return {}


def damage_the_manifest(data: Any, out: Path) -> dict[str, Any]:
    (out / manifests.NAME).write_text("{")
    return {}


@pytest.mark.parametrize(
    "change",
    [
        touch_image,
        change_annotations,
        lose_a_shard,
        damage_the_manifest,
        lambda data, out: {"seed": 1},
        lambda data, out: {"num_shards": 3},
        lambda data, out: {"config": PreprocessConfig(image_size=(64, 64), train_views=2)},
    ],
)
def test_whatever_shapes_the_records_makes_them_new(
    after_a_run: Copy, tmp_path: Path, change: Callable[[Any, Path], dict[str, Any]]
) -> None:
    out = tmp_path / "out"
    data_set, _ = after_a_run()
    (out / ".plan-0123").mkdir()  # what a killed run leaves
    (out / "train-v00-00000-of-00099.tfrecord.tmp-abc").write_bytes(b"")
    (out / "notes.txt").write_text("the user's own")
    manifest = run(data_set, out, **change(data_set, out))
    assert sorted(contents(out)) == sorted(
        [manifests.NAME, fingerprints.NAME, "notes.txt", *(shard.name for shard in manifest.shards)]
    )


def test_bad_data_is_counted_and_listed(data_set: Any, tmp_path: Path) -> None:
    (data_set.images / "photo_001.jpg").unlink()
    path = data_set.images / "photo_002.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    data_set.content["images"].append({**data_set.content["images"][0], "id": 5})
    data_set.content["annotations"][3]["bbox"] = [1, 2, float("nan"), 4]
    data_set.content["annotations"][4]["bbox"] = [-3, 2, 20, 14]
    data_set.content["annotations"].append({"id": 999, "image_id": 77, "category_id": 3, "bbox": [1, 1, 2, 2]})
    data_set.save()
    config = PreprocessConfig(image_size=(64, 64), train_views=3, max_reject_fraction=0.5)
    manifest = run(data_set, tmp_path / "out", config=config)
    assert manifest.images == 10
    assert manifest.rejects == {
        "duplicate_file_name": 1,
        "missing_image": 1,
        "truncated_image": 1,
        "not_finite": 1,
        "unknown_image": 1,
        "clipped_to_image": 1,
    }
    lines = rejects(tmp_path / "out")
    assert sorted(line["reason"] for line in lines) == sorted(manifest.rejects)
    assert {line["reason"]: line["action"] for line in lines}["clipped_to_image"] == "clipped"
    assert {line["reason"]: line["image_id"] for line in lines}["unknown_image"] == 77


@pytest.mark.parametrize(
    ("split", "message"), [("train", "1 of 12 training images were rejected"), ("val", "1 of 12 validation images")]
)
def test_too_many_rejects_end_the_run_after_the_reject_file(
    after_a_run: Copy, tmp_path: Path, split: str, message: str
) -> None:
    data_set, _ = after_a_run(split)
    (data_set.images / "photo_005.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=message):
        run(data_set, tmp_path / "out", split=split)
    assert [line["reason"] for line in rejects(tmp_path / "out")] == ["truncated_image"]
    assert not (tmp_path / "out" / manifests.NAME).exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_what_is_known_to_be_too_much_ends_the_run_before_an_image_is_opened(
    after_a_run: Copy, tmp_path: Path, split: str
) -> None:
    data_set, _ = after_a_run(split)
    (data_set.images / "photo_005.jpg").unlink()
    (data_set.images / "photo_006.jpg").write_bytes(b"no image")  # which only its opening would show
    data_set.content["annotations"][0]["category_id"] = 1
    data_set.save()
    with pytest.raises(InputError, match=r"1 of 12 .* images .*missing_image 1; listed in .*rejects-\*"):
        run(data_set, tmp_path / "out", split=split)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejects-annotations.jsonl"]
    unknown, missing = rejects(tmp_path / "out")
    assert (unknown["reason"], unknown["annotation_id"]) == ("unknown_category", 1)
    assert (missing["reason"], missing["file_name"]) == ("missing_image", "photo_005.jpg")
    assert missing["detail"] == f"not in {data_set.images}; drops its 1 box"


def test_boxes_that_are_scored_do_not_end_a_validation_run(data_set: Any, tmp_path: Path) -> None:
    """pycocotools counts small boxes as objects; the records leave them out."""
    for annotation in data_set.content["annotations"]:
        annotation["bbox"] = [annotation["id"], 2, 0.5, 0.5]
    data_set.save()
    manifest = run(data_set, tmp_path / "out", split="val")
    assert manifest.rejects == {"box_too_small": 18}
    assert (manifest.objects, manifest.max_cells, manifest.max_objects) == (0, 0, 0)
    with pytest.raises(InputError, match="18 of 18 training boxes"):
        run(data_set, tmp_path / "train")


@pytest.mark.parametrize("change", [{"category_id": 1}, {"image_id": 1}, {"bbox": None}])
def test_a_box_that_cannot_be_scored_ends_a_validation_run(
    data_set: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    data_set.content["annotations"][3] |= change
    data_set.save()
    with pytest.raises(InputError, match=r"1 of 18 annotations cannot be scored \(annotations\[3\]"):
        run(data_set, tmp_path / "out", split="val")
    assert list((tmp_path / "out").glob("rejects-*"))
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "use 'train' or 'val'"),
        ({"seed": -1}, "seed -1"),
        ({"num_shards": 0}, "num_shards 0"),
        ({"num_shards": 100_000}, "num_shards 100000: use 99999 or fewer"),
        ({"num_threads": 0}, "num_threads 0"),
        ({"num_workers": 0}, "num_workers 0"),
        ({"pipeline_args": ["--no-such-flag=1"]}, "unknown arguments: --no-such-flag=1"),
    ],
)
def test_bad_options_are_input_errors(data_set: Any, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(data_set, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("output", "message"), [("file/out", "cannot be written"), ("out[1]", "file systems take .* for patterns")]
)
def test_an_output_that_can_not_be_written(data_set: Any, tmp_path: Path, output: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=message):
        run(data_set, tmp_path / output)


def test_images_and_annotations_may_have_any_name(data_set: Any, tmp_path: Path) -> None:
    images = data_set.images.rename(tmp_path / "ima ges[1]*?#%")
    name = "ph[0]*?#% é.jpg"
    (images / "photo_000.jpg").rename(images / name)
    data_set.content["images"][0]["file_name"] = name
    data_set.images, data_set.annotations = images, tmp_path / "annotations [1]*.json"
    data_set.save()
    manifest = run(data_set, tmp_path / "out", split="val")
    assert (manifest.images, manifest.rejects) == (12, {})


CHANGES: dict[str, Any] = {
    "image_size": (64, 96),
    "stride": 8,
    "train_views": 2,
    "scale_min": 0.7,
    "scale_max": 1.2,
    "crop_border": 0.1,
    "min_visible": 0.5,
    "min_box_side": 2.0,
    "jpeg_quality": 90,
    "gaussian_iou": 0.6,
    "heatmap_cutoff": 1e-3,
    "target_variant": "original",
    "class_index": "id-minus-1",
    "max_reject_fraction": 0.5,
}


def test_the_records_digest_holds_every_parameter_and_the_code() -> None:
    job = ShardJob(
        images="i", output="o", split="train", config=CONFIG, views=3, seed=0, num_shards=4, code=code_version()
    )
    assert set(CHANGES) == {field.name for field in dataclasses.fields(PreprocessConfig)}
    jobs = [replace(job, config=replace(CONFIG, **{name: value})) for name, value in CHANGES.items()]
    jobs += [replace(job, **change) for change in ({"split": "val"}, {"seed": 1}, {"num_shards": 5}, {"code": "0"})]
    digests = {_records_digest("data", changed) for changed in [job, *jobs]} | {_records_digest("other", job)}
    assert len(digests) == len(jobs) + 2
    elsewhere = replace(job, images="gs://bucket/i", output="gs://bucket/o")
    assert _records_digest("data", elsewhere) == _records_digest("data", job)


def test_a_folder_of_another_split_is_not_touched(after_a_run: Copy, tmp_path: Path) -> None:
    data_set, _ = after_a_run("val")
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="holds the records of split 'val'"):
        run(data_set, tmp_path / "out", split="train")
    assert contents(tmp_path / "out") == before


def test_the_data_check_names_the_same_data(data_set: Any, tmp_path: Path) -> None:
    (data_set.images / "photo_001.jpg").unlink()
    data_set.content["images"].append({**data_set.content["images"][0], "id": 5})
    data_set.save()
    config = PreprocessConfig(image_size=(64, 64), train_views=1, max_reject_fraction=0.5)
    coco = load_annotations(str(data_set.annotations))
    report = check_split("train", str(data_set.images), coco, class_map(coco.categories, "rank")[0], config).report
    manifest = run(data_set, tmp_path / "out", config=config)
    assert report["data_digest"] == manifest.data_digest
    assert report["rejects"] == manifest.rejects == {"duplicate_file_name": 1, "missing_image": 1}
    assert report["objects"] == manifest.objects
