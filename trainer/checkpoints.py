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
LIST = "checkpoint"
"""TensorFlow's list of a folder's checkpoints."""


def read_summary(folder: str) -> dict[str, Any] | None:
    """The content of `train.json`, or None when the folder isn't complete."""
    path = os.path.join(folder, SUMMARY)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return dict(json.loads(file.read()))


def refuse_other(folder: str, digest: str) -> None:
    """Looks, and writes nothing.

    Raises:
      InputError: the folder holds another training: nothing of anybody's is overwritten.
    """
    path = os.path.join(folder, DIGEST)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            found = file.read()
        if found != digest:
            raise InputError(
                f"{folder}: holds a training of other records, configuration or seed; remove it or use another folder"
            )
        return
    if _prefixes(folder)[0]:
        raise InputError(f"{folder}: holds checkpoints of unknown origin; remove them or use another folder")


def start(folder: str, digest: str) -> None:
    """Makes the folder ready for a training of this digest, after `refuse_other`."""
    tf.io.gfile.makedirs(folder)
    _write(os.path.join(folder, DIGEST), digest)


def newest_whole(folder: str, *, repair: bool) -> str | None:
    """Prefix of the newest checkpoint that can be read to its end, or None.

    A machine that dies while it writes leaves a torn one; a warning names what is skipped.

    Args:
      folder: the model folder.
      repair: remove torn ones, so that nothing else finds them; only the process that writes there may.
    """
    prefixes, listed = _prefixes(folder)
    whole = list(prefixes)
    while whole and (reason := _unreadable(whole[-1])):
        print(f"warning: {whole.pop()} is torn and skipped: {reason}", flush=True)
    if repair and (len(whole) < len(prefixes) or not listed):
        # The list first: a crash between leaves files that nothing names.
        if whole:
            tf.compat.v1.train.update_checkpoint_state(folder, whole[-1], all_model_checkpoint_paths=whole)
        else:
            tf.io.gfile.remove(os.path.join(folder, LIST))
        for torn in prefixes[len(whole) :]:
            for file in tf.io.gfile.glob(f"{torn}.*"):
                tf.io.gfile.remove(file)
    return whole[-1] if whole else None


def _prefixes(folder: str) -> tuple[list[str], bool]:
    """(checkpoints, oldest first; whether TensorFlow's list of them is whole: else those whose files are there)."""
    path = os.path.join(folder, LIST)
    if not tf.io.gfile.exists(path):
        return [], True
    try:
        state = tf.train.get_checkpoint_state(folder)
    except ValueError:  # an empty file; of one that is cut elsewhere TensorFlow returns None
        state = None
    if state:
        return list(state.all_model_checkpoint_paths), True
    print(f"warning: {path} is torn: looked for the checkpoints themselves", flush=True)
    names = tf.io.gfile.glob(os.path.join(folder, "ckpt-*.index"))
    return sorted((name.removesuffix(".index") for name in names), key=step_of), False


def step_of(prefix: str | None) -> int:
    """Step of a checkpoint, 0 without one."""
    return int(prefix.rsplit("-", 1)[1]) if prefix else 0


def _unreadable(prefix: str) -> str:
    """Why a checkpoint can't be read; empty when all of it can."""
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (ValueError, RuntimeError, IndexError, tf.errors.OpError) as error:
        return " ".join(str(error).split())[:160]
    return ""


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
