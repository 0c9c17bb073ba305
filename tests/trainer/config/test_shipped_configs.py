"""Every shipped configuration trains a few steps on a small network: optimizer, precision and losses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tf_keras
import yaml

from beam_preprocess.base.config_text import resolve
from tests.trainer.families import BACKBONES
from trainer.config.sections import CONFIGS
from trainer.training.run import train
from trainer.weights import finished

SMALL = (
    "task.init_checkpoint='',task.init_checkpoint_modules=backbone,task.model.frozen_level=0,"
    "task.model.num_classes=0,task.train_data.global_batch_size=4,task.validation_data.global_batch_size=4,"
    "trainer.train_steps=3,trainer.steps_per_loop=3,runtime.distribution_strategy=one_device,runtime.num_gpus=0"
)

TINY = {**BACKBONES, "hourglass": {"model_id": 10, "input_channel_dims": 4}}


@pytest.fixture(autouse=True)
def _policy() -> Iterator[None]:
    """Training sets the precision of the whole process; the next test starts from float32."""
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_configuration_trains(
    config: Path, records_folder: Path, val_records_folder: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load(resolve(str(config)).text)
    values["preprocess"] |= {"image_size": [32, 64], "train_views": 2}
    backbone = values["task"]["model"]["backbone"]
    backbone.setdefault(backbone["type"], {}).update(TINY[backbone["type"]])
    train(
        records=str(records_folder),
        output=str(tmp_path),
        config=yaml.safe_dump(values),
        val_records=str(val_records_folder),
        params_override=SMALL,
    )
    summary = finished.read_summary(str(tmp_path))
    assert summary
    assert summary["steps"] == 3
    assert summary["last"]["validation_loss"] > 0
