"""The model folder after a crash: torn checkpoints, torn lists, leftovers, a full disk."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.training.runs import weights
from trainer.training import checkpoints
from trainer.training.history import read_history
from trainer.training.run import train


@pytest.mark.parametrize(
    "damage",
    ["data cut", pytest.param("data gone", marks=pytest.mark.slow), pytest.param("index cut", marks=pytest.mark.slow)],
)
def test_a_torn_checkpoint_is_skipped_with_a_warning(
    trained: Path,
    records_folder: Path,
    val_records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    """As after a power cut while the newest was written: the previous one is used, and the curve continues."""
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    undisturbed, curve = weights(folder), read_history(str(folder))
    (folder / "train.json").unlink()
    data, index = folder / "ckpt-6.data-00000-of-00001", folder / "ckpt-6.index"
    if damage == "data gone":
        data.unlink()
    else:
        torn = data if damage == "data cut" else index
        torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    train(
        records=str(records_folder),
        output=str(folder),
        config=TINY_CONFIG,
        val_records=str(val_records_folder),
        params_override="trainer.validation_interval=6",
    )
    output = capsys.readouterr().out
    assert "ckpt-6 is torn and skipped" in output
    assert "steps 4 to 6, resumed" in output
    for name, value in weights(folder).items():
        np.testing.assert_allclose(value, undisturbed[name], rtol=2e-3, atol=2e-4, err_msg=name)
    again = read_history(str(folder))
    assert [row["step"] for row in again] == [row["step"] for row in curve] == [2, 4, 6]
    assert again[-1]["total_loss"] == pytest.approx(curve[-1]["total_loss"], rel=1e-3)


def saved(folder: Path, *steps: int) -> list[str]:
    """Paths of checkpoints of these steps."""
    manager = checkpoints.Manager(tf.train.Checkpoint(x=tf.Variable(tf.ones([1000]))), str(folder), max_to_keep=9)
    return [manager.save(step) or "" for step in steps]


def test_a_checkpoint_that_was_written_but_not_listed_yet_counts(tmp_path: Path) -> None:
    """Killed between the two."""
    first, second = saved(tmp_path, 2, 10)
    listed = tf.train.get_checkpoint_state(str(tmp_path))
    tf.compat.v1.train.update_checkpoint_state(str(tmp_path), first, all_model_checkpoint_paths=[first])
    assert checkpoints.newest_whole(str(tmp_path), repair=False) == first, "a training may be writing it now"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == second
    assert tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths == [first, second]
    assert list(listed.all_model_checkpoint_paths) == [first, second]


def test_what_a_kill_left_of_a_checkpoint_is_removed(tmp_path: Path) -> None:
    """Otherwise every kill during a save would leave gigabytes."""
    (whole,) = saved(tmp_path, 2)
    keep = {path.name for path in tmp_path.iterdir()} | {"ckpt-notes.txt", "tensorboard"}
    for part in ("ckpt-4_temp/part-00000-of-00001.data-00000-of-00001.tempstate123", "ckpt-2_temp/part"):
        (tmp_path / part).parent.mkdir()
        (tmp_path / part).write_bytes(b"half")
    for name in ("ckpt-4.data-00000-of-00001", "ckpt-4.index.tempstate7", "ckpt-notes.txt", "tensorboard"):
        (tmp_path / name).write_bytes(b"half")
    before = {path.name for path in tmp_path.iterdir()}
    assert checkpoints.newest_whole(str(tmp_path), repair=False) == whole
    assert {path.name for path in tmp_path.iterdir()} == before, "who only looks removes nothing"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == whole
    assert {path.name for path in tmp_path.iterdir()} == keep


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """A limit on file sizes replaces the full disk: TensorFlow writes up to it and then fails."""
    (whole,) = saved(tmp_path, 2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(
            checkpoints.SaveError, match=r"can't be written: .*; fix that, then rerun the same"
        ) as error:
            saved(tmp_path, 4)
        with pytest.raises(checkpoints.SaveError, match="can't be written"):
            checkpoints.write_text(str(tmp_path / "history.jsonl"), "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "{{" not in str(error.value)
    assert not (tmp_path / "history.jsonl").exists()
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == whole
    assert not list(tmp_path.glob("ckpt-4*"))


def test_only_torn_checkpoints_are_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tf.train.CheckpointManager(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path), max_to_keep=3)
    prefix = Path(saved.save(2))
    prefix.with_suffix(".data-00000-of-00001").write_bytes(b"")
    assert checkpoints.newest_whole(str(tmp_path), repair=False) is None
    assert prefix.with_suffix(".index").exists(), "who only looks removes nothing"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) is None
    assert not list(tmp_path.glob("ckpt-2*"))
    assert tf.train.latest_checkpoint(str(tmp_path)) is None
    assert capsys.readouterr().out.count("torn and skipped") == 2


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_a_torn_list_of_checkpoints_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: int) -> None:
    """TensorFlow treats such a folder as empty, or raises a ValueError: hours of training would be lost."""
    saved = tf.train.CheckpointManager(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path), max_to_keep=3)
    prefixes = [saved.save(step) for step in (8, 10, 12)]
    torn = tmp_path / "checkpoint"
    torn.write_bytes(torn.read_bytes()[:kept])
    assert checkpoints.newest_whole(str(tmp_path), repair=False) == prefixes[-1]
    assert torn.stat().st_size == kept, "who only looks writes nothing"
    assert checkpoints.newest_whole(str(tmp_path), repair=True) == prefixes[-1]
    assert "checkpoint is torn: searched the folder for checkpoints instead" in capsys.readouterr().out
    assert tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths == prefixes
