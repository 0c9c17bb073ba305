"""What identifies a training: two trainings with one digest end with the same weights."""

import hashlib
import json

from official.core import config_definitions as cfg

from beam_preprocess.format.manifest import Manifest
from trainer.config.experiment import as_dict

WATCHING_KEYS = (
    "steps_per_loop",
    "checkpoint_interval",
    "max_to_keep",
    "validation_interval",
    "validation_steps",
    "continuous_eval_timeout",
)
"""Keys of the `trainer:` section that don't influence the weights."""

CHOOSING_KEYS = ("validation_interval", "validation_steps")
"""Those of them that do, if `trainer.choose_checkpoint` is best."""


def training_digest(experiment: cfg.ExperimentConfig, manifest: Manifest, seed: int) -> str:
    """Identifies the weights: records, seed, and every key of the experiment that influences them.

    Keys that only watch or save may change between a run and its resumption, for example after a disk was full.
    """
    values = as_dict(experiment)
    values["task"].pop("validation_data")
    values["task"]["train_data"].pop("input_path")
    # Where the best validation is chosen, the validations influence the weights.
    chooses = experiment.trainer.choose_checkpoint == "best"
    for key in WATCHING_KEYS:
        if not (chooses and key in CHOOSING_KEYS):
            values["trainer"].pop(key)
    text = json.dumps([values, manifest.records_digest, seed], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
