"""The model folder: resumable checkpoints while training, the final weights and `train.json` after it.

ckpt-<step>.*     Orbit's, everything a resumed run needs
weights/model.*   what export reads: backbone and head (averaged weights, where EMA is on)
config.yaml       the run's configuration, as given
train.json        written last: the folder is complete
"""

import json
import os
from typing import Any

import tensorflow as tf
import tf_keras

from beam_preprocess.errors import InputError
from trainer.experiment import CenterNetTask
from trainer.initial_weights import WEIGHTS

SUMMARY = "train.json"
DIGEST = "train_digest"


def read_summary(folder: str) -> dict[str, Any] | None:
    """The content of `train.json`, or None when the folder isn't complete."""
    path = os.path.join(folder, SUMMARY)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return dict(json.loads(file.read()))


def start(folder: str, digest: str) -> None:
    """Makes the folder ready for a training of this digest.

    Raises:
      InputError: it holds another training: nothing of anybody's is overwritten.
    """
    tf.io.gfile.makedirs(folder)
    path = os.path.join(folder, DIGEST)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            found = file.read()
        if found != digest:
            raise InputError(
                f"{folder}: holds a training of other records, configuration or seed; remove it or use another folder"
            )
        return
    if tf.train.latest_checkpoint(folder):
        raise InputError(f"{folder}: holds checkpoints of unknown origin; remove them or use another folder")
    _write(path, digest)


def newest_step(folder: str) -> int:
    """Step of the newest checkpoint, 0 when there is none."""
    newest = tf.train.latest_checkpoint(folder)
    return int(newest.rsplit("-", 1)[1]) if newest else 0


def finish(folder: str, model: tf_keras.Model, task: CenterNetTask, config: str, summary: dict[str, Any]) -> None:
    """Writes the final weights and, last, `train.json`."""
    tf.train.Checkpoint(**model.checkpoint_items).write(os.path.join(folder, WEIGHTS))
    _write(os.path.join(folder, "config.yaml"), config)
    _write(os.path.join(folder, SUMMARY), json.dumps(summary | {"model": task.model.as_dict()}, indent=1) + "\n")


def restore_weights(folder: str, model: tf_keras.Model) -> None:
    """Loads the final weights into a model of the same configuration.

    Raises:
      InputError: the folder isn't a finished training, or its weights don't fit.
    """
    if read_summary(folder) is None:
        raise InputError(f"{folder}: no {SUMMARY}; the training isn't finished, run trainer.train again")
    try:
        status = tf.train.Checkpoint(**model.checkpoint_items).read(os.path.join(folder, WEIGHTS))
        status.assert_consumed()
    except (AssertionError, tf.errors.OpError, ValueError) as error:
        raise InputError(f"{folder}: weights don't fit the model: {' '.join(str(error).split())[:300]}") from error


def _write(path: str, text: str) -> None:
    temporary = f"{path}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(text)
    tf.io.gfile.rename(temporary, path, overwrite=True)
