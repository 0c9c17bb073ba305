"""AP while training."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.made_records import CLASSES, MAP, write_records
from trainer.config.experiment import RecordsConfig
from trainer.data import input_pipeline
from trainer.data.heatmap import Labels
from trainer.training import interim_ap


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
