"""A finished model folder: what `centernet train` leaves, and how others read it.

weights/model.*   the final weights of backbone and head (averaged weights, where EMA is on)
config.yaml       the run's configuration, as given
train.json        the summary, written last: the folder is complete
"""

import os
from typing import Any

import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import parse
from trainer.weights.loading import WEIGHTS

SUMMARY = "train.json"
CONFIG = "config.yaml"
_FIX = "the training isn't finished; run `centernet train` again"


def read_summary(folder: str) -> dict[str, Any] | None:
    """The content of `train.json`, or None when the folder isn't complete."""
    path = os.path.join(folder, SUMMARY)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return dict(parse(file.read(), path, "train again"))


def require_summary(folder: str) -> dict[str, Any]:
    """The content of `train.json`.

    Raises:
      InputError: the folder isn't a finished training.
    """
    summary = read_summary(folder)
    if summary is None:
        raise InputError(f"{folder}: no {SUMMARY}; {_FIX}")
    return summary


def read_config(folder: str) -> str:
    """The run's configuration, YAML text.

    Raises:
      InputError: the folder has none.
    """
    try:
        with tf.io.gfile.GFile(os.path.join(folder, CONFIG)) as file:
            return str(file.read())
    except tf.errors.NotFoundError as error:
        raise InputError(f"{folder}: no {CONFIG}; {_FIX}") from error


def restore_weights(folder: str, model: tf_keras.Model) -> None:
    """Loads the final weights into a model of the same configuration.

    Raises:
      InputError: the folder isn't a finished training, or its weights don't fit.
    """
    require_summary(folder)
    try:
        status = tf.train.Checkpoint(**model.checkpoint_items).read(os.path.join(folder, WEIGHTS))
        status.assert_consumed()
    except (AssertionError, tf.errors.OpError, ValueError) as error:
        raise InputError(f"{folder}: weights don't fit the model: {' '.join(str(error).split())[:300]}") from error
