from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.made_records import SIZE, TINY_CONFIG, write_records
from trainer.data import input_pipeline
from trainer.data.augmentation_preview import GAP, preview
from trainer.data.input_pipeline import load_manifest
from trainer.preview_augmentation import main
from trainer.training.run import make_experiment

STILL = "task.augmentation.flip=false" + "".join(
    f",task.augmentation.{name}=0.0" for name in ("brightness", "contrast", "saturation", "hue")
)
CELL = SIZE[0] + GAP, SIZE[1] + GAP


def _columns(sheet: np.ndarray) -> list[np.ndarray]:
    """Without their titles."""
    count, rest = divmod(sheet.shape[1], CELL[1])
    assert rest == 0
    return [column[20 + GAP :] for column in np.split(sheet, count, axis=1)]


def _sheet(records: Path, folder: Path, **changes: object) -> list[np.ndarray]:
    override = str(changes.pop("params_override", ""))
    manifest = load_manifest(str(records))
    task = make_experiment(TINY_CONFIG, override, manifest, str(records), "", 0).task
    values = {"images": 3, "steps": (0, 1)} | changes
    return _columns(preview(task, manifest, output=str(folder / "sheet.png"), **values))  # type: ignore[arg-type]


def test_without_augmentation_every_column_is_the_stored_one(records_folder: Path, tmp_path: Path) -> None:
    stored, *steps = _sheet(records_folder, tmp_path, params_override=STILL)
    assert len(stored) == 3 * 2 * CELL[0], "an image and its heatmap for each of three"
    assert len(steps) == 2
    for column in steps:
        np.testing.assert_array_equal(column, stored)


def test_every_step_draws_its_own_and_again_the_same(records_folder: Path, tmp_path: Path) -> None:
    stored, first, second, again = _sheet(records_folder, tmp_path, steps=(3, 4, 3))
    (_, other) = _sheet(records_folder, tmp_path, steps=(3,), params_override="task.augmentation.hue=0.1")
    for one, another in ((first, stored), (first, second), (first, other)):
        assert (one != another).any()
    np.testing.assert_array_equal(first, again)


def test_flip_takes_boxes_and_heatmap_along(records_folder: Path, tmp_path: Path) -> None:
    """Some of 12 draws mirror: then the darkened picture with its heatmap is the stored one, mirrored."""
    override = STILL.replace("flip=false", "flip=true")
    stored, *steps = _sheet(records_folder, tmp_path, images=4, steps=(0, 1, 2), params_override=override)
    mirrored = 0
    for image in range(4):
        rows = slice((2 * image + 1) * CELL[0], (2 * image + 1) * CELL[0] + SIZE[0])
        before = stored[rows, : SIZE[1]]
        for column in steps:
            after = column[rows, : SIZE[1]]
            same, turned = (after == before).all(), (after == before[:, ::-1]).all()
            assert same or turned
            mirrored += bool(turned and not same)
    assert 0 < mirrored < 12


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-40], "bytes, but its manifest lists"),
        (lambda data: data[:-40] + b"x" * 40, "has another sha256 than its manifest lists"),
        (lambda data: data[:-40] + b"x" * 40, "records: damaged inside a shard"),
    ],
    ids=["cut", "changed", "changed, in large records"],
)
def test_a_damaged_shard_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    if "inside" in message:
        monkeypatch.setattr(input_pipeline, "HASHED_BYTES", 0)
    write_records(tmp_path / "records", images=3, shards=1)
    (shard,) = (tmp_path / "records").glob("*.tfrecord")
    shard.write_bytes(damage(shard.read_bytes()))
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    flags = {"records": tmp_path / "records", "config_file": config, "output": tmp_path / "sheet.png", "images": 3}
    assert main([f"--{name}={value}" for name, value in flags.items()]) == 2
    assert message in capsys.readouterr().err
