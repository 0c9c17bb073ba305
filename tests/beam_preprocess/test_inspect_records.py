"""`centernet inspect` on the records of a small run."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_preprocess import inspect_records
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.job.pipeline import preprocess


@pytest.fixture
def written(data_set: Any, tmp_path: Path) -> tuple[str, Manifest]:
    """The folder of a small run, and its manifest."""
    out = str(tmp_path / "out")
    config = PreprocessConfig(image_size=(64, 96), train_views=3)
    images, annotations = str(data_set.images), str(data_set.annotations)
    return out, preprocess(images=images, annotations=annotations, split="train", output=out, config=config)


def test_prints_digests_label_map_and_histograms(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, manifest = written
    assert inspect_records.main([folder]) == 0
    text = capsys.readouterr().out
    for part in (manifest.data_digest, manifest.records_digest, "12 x 3 views of 64 x 96", "1 <-    18  eighteen"):
        assert part in text
    for name, count in (manifest.class_histogram | manifest.size_histogram).items():
        line = next(line for line in text.splitlines() if line.split()[:2] == [name, str(count)])
        assert ("#" in line) == (count > 0)
    assert inspect_records.main([f"{folder}/manifest.json"]) == 0  # what a shell completes
    assert capsys.readouterr().out == text
    assert inspect_records.main([folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records_digest"] == manifest.records_digest


def test_verify_finds_damage(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, manifest = written
    assert inspect_records.main([folder, "--verify"]) == 0
    first, second = [Path(folder) / shard.name for shard in manifest.shards if shard.records][:2]
    data = bytearray(first.read_bytes())
    data[40] ^= 1
    first.write_bytes(data)
    second.unlink()
    assert inspect_records.main([folder, "--verify"]) == 1
    text = capsys.readouterr().out
    assert f"damaged: {first.name} has sha256" in text
    assert f"damaged: {second.name} is missing" in text


@pytest.mark.parametrize("name", [".", "nowhere", "photo.jpg"])
def test_no_manifest_is_bad_input(tmp_path: Path, name: str, capsys: Any) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert inspect_records.main([str(tmp_path / name)]) == 2
    assert "no finished records" in capsys.readouterr().err


def test_the_contact_sheet_shows_every_view(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, _ = written
    assert inspect_records.main([folder, "--preview", "4"]) == 0
    assert "preview: " in capsys.readouterr().out
    sheet = np.asarray(Image.open(Path(folder) / "preview.jpg"))
    tile = round(256 * 64 / 96)
    assert sheet.shape == (4 * (tile + 18 + 4), 3 * (256 + 4), 3)
    assert inspect_records.main([folder, "--preview", "0"]) == 2
    assert inspect_records.main([folder, "--preview", "201"]) == 2
    assert "--preview 201: use 1 to 200 images" in capsys.readouterr().err
    assert inspect_records.main([folder, "--preview", "99"]) == 0  # as many as there are
    assert Image.open(Path(folder) / "preview.jpg").height == 12 * (tile + 18 + 4)


@pytest.mark.parametrize("example", inspect_records.EXAMPLES)
def test_examples_parse(example: str) -> None:
    program, verb, *arguments = shlex.split(example)
    assert (program, verb) == ("centernet", "inspect")
    assert inspect_records.parser().parse_args(arguments).folder


def test_a_damaged_shard_is_one_line_for_the_contact_sheet(written: tuple[str, Manifest], capsys: Any) -> None:
    folder, manifest = written
    shard = next(shard for shard in manifest.shards if shard.records)
    path = Path(folder) / shard.name
    path.write_bytes(path.read_bytes()[:-3])
    assert inspect_records.main([folder, "--preview", "12"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    reason = "the file ends inside a record: it is truncated"
    assert line == f"error: {folder}: shard {shard.shard} is damaged ({reason}); see --verify"
