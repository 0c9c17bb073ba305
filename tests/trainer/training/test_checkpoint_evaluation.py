"""AP while training, and the modes that only evaluate."""

import gc
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.made_records import CLASSES, MAP, TINY_CONFIG, write_records
from trainer.config.experiment import RecordsConfig
from trainer.data import input_pipeline
from trainer.data.heatmap import Labels
from trainer.train import main
from trainer.training import checkpoint_evaluation, checkpoints, interim_ap, loop
from trainer.training.checkpoint_evaluation import HISTORY


def batches(folder: Path, noise: float) -> list[dict[str, np.ndarray]]:
    """Collected batches of a model that knows the answers; with noise the boxes of the first class are far off."""
    manifest = input_pipeline.load_manifest(str(folder))
    config = RecordsConfig(input_path=str(folder), global_batch_size=4, is_training=False)
    state = None
    for _, labels in input_pipeline.validation_dataset(config, manifest):
        y, x = np.divmod(labels.object_cell.numpy(), MAP[1])
        centre = np.stack([y, x], axis=-1) + labels.object_offset.numpy()
        size = labels.object_size.numpy()
        boxes = 4.0 * np.concatenate([centre - size / 2, centre + size / 2], axis=-1)
        boxes[labels.object_class.numpy() == 0] += noise
        outputs = {"boxes": boxes, "confidence": labels.object_mask, "classes": labels.object_class}
        step = interim_ap.step_outputs({k: tf.convert_to_tensor(v) for k, v in outputs.items()}, labels)
        state = interim_ap.collect(state, {name: (value,) for name, value in step.items()})
    assert state
    return state


def test_ap_is_1_for_the_answers_and_less_by_a_class_that_is_wrong(tmp_path: Path) -> None:
    manifest = write_records(tmp_path, images=10, split="val", shards=1, crowd_every=4)
    size = {"map_width": MAP[1], "stride": 4, "num_classes": CLASSES}
    perfect = batches(tmp_path, 0.0)
    assert sum(len(batch["scores"]) for batch in perfect) == manifest.images == 10, "filled-up images don't count"
    assert interim_ap.score(perfect, **size) == {"ap": 1.0, "ap50": 1.0}
    assert interim_ap.score(batches(tmp_path, 100.0), **size)["ap"] == pytest.approx(2 / 3)


def test_images_without_objects_have_no_ap() -> None:
    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    labels = Labels(
        image_id=zeros(2),
        image_weight=np.ones(2, np.float32),
        valid=zeros(2, 4),
        cell_index=zeros(2, 1),
        cell_class=zeros(2, 1),
        cell_value=zeros(2, 1),
        object_cell=zeros(2, 1).astype(np.int32),
        object_class=zeros(2, 1).astype(np.int32),
        object_offset=zeros(2, 1, 2),
        object_size=zeros(2, 1, 2),
        object_mask=zeros(2, 1),
        ignore_mask=zeros(2, 0),
    )
    outputs = {"boxes": zeros(2, 3, 4), "confidence": zeros(2, 3), "classes": zeros(2, 3)}
    step = interim_ap.step_outputs(outputs, labels)
    state = interim_ap.collect(None, {name: (tf.convert_to_tensor(value),) for name, value in step.items()})
    assert interim_ap.score(state, map_width=4, stride=4, num_classes=2) == {"ap": -1.0, "ap50": -1.0}


@pytest.fixture
def model_dir(trained: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    return folder


@pytest.mark.parametrize("mode", ["eval", "continuous_eval"])
def test_the_newest_checkpoint_is_evaluated_as_while_training(
    model_dir: Path, val_records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    before = (model_dir / "history.jsonl").read_text()
    flags = [f"--mode={mode}", f"--model_dir={model_dir}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("result: ")]
    row = json.loads(line.removeprefix("result: "))
    expected = history.read_history(str(model_dir))[-1]
    assert row["step"] == expected["step"] == 6
    assert row["validation_loss"] == pytest.approx(expected["validation_loss"], rel=1e-4)
    assert row["ap"] == pytest.approx(expected["ap"], abs=1e-6)
    assert history.read_history(str(model_dir), HISTORY) == [row]
    assert (model_dir / "history.jsonl").read_text() == before


def test_each_checkpoint_is_evaluated_as_it_appears_and_read_once(
    model_dir: Path, val_records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training beside it saves steps 2, 4 and 6; between them the mode looks at the list alone."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    to_come, looks, reads = [2, 2, 4, 4, 6], [0], [0]
    (model_dir / "checkpoint").unlink()
    read = checkpoints.newest_whole

    def time_passes(_seconds: float) -> None:
        looks[0] += 1
        prefix = str(model_dir / f"ckpt-{to_come.pop(0)}")
        tf.compat.v1.train.update_checkpoint_state(str(model_dir), prefix)

    def counted(folder: str, **options: bool) -> str | None:
        reads[0] += 1
        return read(folder, **options)

    monkeypatch.setattr(checkpoint_evaluation.time, "sleep", time_passes)
    monkeypatch.setattr(checkpoint_evaluation.checkpoints, "newest_whole", counted)
    flags = ["--mode=continuous_eval", f"--model_dir={model_dir}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}"]) == 0
    assert [row["step"] for row in history.read_history(str(model_dir), HISTORY)] == [2, 4, 6]
    assert not to_come
    assert (looks[0], reads[0]) == (5, 5), "before the first look, at the first, and once for each that came"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=eval", "--val_records=V"], "no checkpoint there; train first"),
        (
            ["--mode=continuous_eval", "--val_records=V", "--params_override=trainer.continuous_eval_timeout=1"],
            "no checkpoint came within 1 s",
        ),
        (["--mode=eval"], "--val_records '': mode eval needs such folder"),
        (["--mode=eval", "--val_records=V", "--records=R"], "--records 'R': mode eval reads no such folder"),
        (["--mode=train", "--records=R", "--val_records=V"], "--val_records"),
        (["--mode=eval", "--val_records=V", "--tpu=local"], "runtime.tpu: local: no TPU there"),
    ],
)
def test_bad_input(
    val_records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    message: str,
) -> None:
    """An empty model folder is an error, never AP 0."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    if "--tpu=local" in flags:
        # TensorFlow collects garbage before it looks for a TPU: a minute, with the graphs of other tests.
        monkeypatch.setattr(gc, "collect", lambda: 0)
        (tmp_path / "empty").mkdir()
        tf.train.CheckpointManager(tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path / "empty"), 1).save(1)
    given = [flag.replace("=V", f"={val_records_folder}") for flag in flags]
    assert main([*given, f"--model_dir={tmp_path / 'empty'}", f"--config_file={config}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        "task.model.backbone.hourglass.input_channel_dims=8",
        "task: {model: {backbone: {hourglass: {num_hourglasses: 2}}, head: {input_levels: ['2_0', '2']}}}",
    ],
)
def test_a_checkpoint_of_another_configuration_is_not_scored_as_initialised(
    model_dir: Path, val_records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    flags = ["--mode=eval", f"--model_dir={model_dir}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}", f"--params_override={change}"]) == 2
    assert "ckpt-6: isn't of this configuration: " in capsys.readouterr().err
    assert not (model_dir / HISTORY).read_text()
