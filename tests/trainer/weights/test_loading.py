"""Starting from other weights: Model Garden's layout, shapes that differ, and the Object Detection API's archives."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.centernet.configs import centernet as shipped_config
from official.projects.centernet.tasks.centernet import CenterNetTask as ShippedTask

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.weights.models import build, drawn, same
from trainer.training.optimizer import create_slots
from trainer.training.run import train
from trainer.weights import finished, loading

DEEPER = TINY_CONFIG.replace("num_hourglasses: 1", "num_hourglasses: 2").replace("['2']", "['2_0', '2']")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """Model Garden's own model of 7 classes, and its checkpoint as Model Garden's trainer writes it."""
    config = shipped_config.CenterNetTask()
    config.model.num_classes, config.model.input_size = 7, [32, 64, 3]
    hourglass = config.model.backbone.hourglass
    hourglass.model_id, hourglass.input_channel_dims, hourglass.num_hourglasses = 10, 4, 1
    config.model.head.input_levels = ["2"]
    model = ShippedTask(config).build_model()
    drawn(model, seed=1)
    optimizer = tf_keras.optimizers.legacy.Adam()
    create_slots(optimizer, model.trainable_variables)
    checkpoint = tf.train.Checkpoint(
        global_step=tf.Variable(5, dtype=tf.int64), model=model, optimizer=optimizer, **model.checkpoint_items
    )
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path_factory.mktemp("garden")), max_to_keep=1)
    return model, str(Path(manager.save(5)).parent)


def test_matching_heads_are_taken_and_others_are_named(coco: tuple[Any, str]) -> None:
    original, folder = coco
    target = build(TINY_CONFIG, 3, seed=2)
    fresh = target.head.get_weights()
    prefix = tf.train.latest_checkpoint(folder)
    assert loading.find_checkpoint(f"{prefix}.index") == loading.find_checkpoint(folder) == prefix
    transfer = loading.load(folder, "matching", target)
    assert all(same(target.backbone, original.backbone))
    taken = [np.array_equal(a, b) for a, b in zip(target.head.get_weights(), fresh, strict=True)]
    assert sum(taken) == len(transfer.misfits) == 2, "kernel and bias of the layer with one channel a class"
    assert all("[1, 1, 8, 7], here [1, 1, 8, 3]" in m or "[7], here [3]" in m for m in transfer.misfits)
    assert len(transfer.loaded) + 2 == len(target.backbone.weights) + len(target.head.weights)
    assert not transfer.absent


def test_a_training_on_other_classes_starts_from_them(
    coco: tuple[Any, str], records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three classes after seven. The learning rate is 0: what the folder holds at the end is what it began with."""
    original, folder = coco
    override = (
        f"task.init_checkpoint={folder},task.init_checkpoint_modules=matching,trainer.train_steps=2,"
        "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=0.0"
    )
    train(records=str(records_folder), output=str(tmp_path), config=TINY_CONFIG, params_override=override)
    assert re.search(r"fresh, because of another shape: .*\[7\], here \[3\]", capsys.readouterr().out)
    started = build(TINY_CONFIG, 3, seed=2)
    finished.restore_weights(str(tmp_path), started)
    for ours, theirs in zip(started.head.weights, original.head.weights, strict=True):
        assert np.array_equal(ours, theirs) == (ours.shape == theirs.shape), ours.name
    # Three channels: the bias that the class layer starts with.
    assert any(np.array_equal(w, np.full(3, -2.19, np.float32)) for w in started.head.get_weights())
    trained, given = started.backbone.trainable_variables, original.backbone.trainable_variables
    assert all(np.array_equal(a, b) for a, b in zip(trained, given, strict=True))


def test_all_refuses_other_shapes_and_changes_nothing(coco: tuple[Any, str]) -> None:
    target = build(TINY_CONFIG, 3, seed=2)
    before = target.backbone.get_weights()
    with pytest.raises(InputError, match=r"doesn't fit all: of another shape: .*\[7\], here \[3\]"):
        loading.load(coco[1], "all", target)
    assert all(np.array_equal(a, b) for a, b in zip(before, target.backbone.get_weights(), strict=True))


def test_another_backbone_is_refused_with_names(coco: tuple[Any, str]) -> None:
    target = build(TINY_CONFIG.replace("input_channel_dims: 4", "input_channel_dims: 8"), 7, seed=2)
    with pytest.raises(InputError, match=r"of another shape: .*kernel.* and \d+ more"):
        loading.load(coco[1], "backbone", target)
    with pytest.raises(InputError, match=r"not in the checkpoint: .* and \d+ more"):
        loading.load(coco[1], "backbone", build(DEEPER, 7, seed=2))
