"""What tests of whole trainings share: the command in a process of its own, and what its folder holds."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.training import checkpoints


def weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / checkpoints.WEIGHTS))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if n.endswith("VARIABLE_VALUE")}


def command(config: Path, folder: Path, records: Path, override: str, *more: str) -> list[str]:
    flags = {"model_dir": folder, "records": records, "config_file": config, "params_override": override}
    return [sys.executable, "-m", "trainer.train", *(f"--{name}={value}" for name, value in flags.items()), *more]


def saved_step(folder: Path) -> int:
    return checkpoints.step_of(tf.train.latest_checkpoint(str(folder)))
