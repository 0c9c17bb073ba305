from pathlib import Path

import pytest

from tests.trainer.made_records import TINY_CONFIG
from trainer.data.input_pipeline import load_manifest
from trainer.training.run import make_experiment
from trainer.training.training_digest import training_digest


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("trainer.checkpoint_interval=1", True),
        ("trainer.max_to_keep=1", True),
        ("trainer.steps_per_loop=3", True),
        ("trainer.validation_interval=3", True),
        ("task.validation_data.global_batch_size=1", True),
        ("trainer.train_steps=7", False),
        ("trainer.holdout_fraction=0.2", False),
        ("task.augmentation.hue=0.0", False),
        ("task.train_data.global_batch_size=2", False),
        ("runtime.enable_xla=true", False),
    ],
)
def test_a_training_is_identified_by_what_shapes_its_weights(records_folder: Path, change: str, same: bool) -> None:
    """A resumed training may only save and validate at other steps."""
    manifest = load_manifest(str(records_folder))
    digests = {
        training_digest(make_experiment(TINY_CONFIG, override, manifest, str(records_folder), "", 0), manifest, 0)
        for override in ("", change)
    }
    assert len(digests) == (1 if same else 2)


@pytest.mark.parametrize(
    ("change", "same"), [("trainer.validation_interval=3", False), ("trainer.checkpoint_interval=1", True)]
)
def test_validations_that_choose_the_weights_shape_them(records_folder: Path, change: str, same: bool) -> None:
    manifest = load_manifest(str(records_folder))
    chooses = "trainer.holdout_fraction=0.2,trainer.choose_checkpoint=best"
    digests = {
        training_digest(make_experiment(TINY_CONFIG, override, manifest, str(records_folder), "", 0), manifest, 0)
        for override in (chooses, f"{chooses},{change}")
    }
    assert len(digests) == (1 if same else 2)
