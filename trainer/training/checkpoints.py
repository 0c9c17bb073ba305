"""The model folder: resumable checkpoints while training, the final weights and `train.json` after it.

ckpt-<step>.*     Orbit's, everything a resumed run needs
weights/model.*   what export reads: backbone and head (averaged weights, where EMA is on)
config.yaml       the run's configuration, as given
train.json        written last: the folder is complete
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import InputError
from trainer.config.experiment import CenterNetTask
from trainer.weights.finished import CONFIG, SUMMARY
from trainer.weights.finished import read_summary as read_summary
from trainer.weights.finished import restore_weights as restore_weights
from trainer.weights.loading import WEIGHTS

DIGEST = "train_digest"
LIST = "checkpoint"
"""TensorFlow's list of a folder's checkpoints."""
_PART = re.compile(r"(ckpt-\d+)(_temp|\.index.*|\.data-.*)")
"""Files of a checkpoint, and the folder in which TensorFlow puts one together."""


class SaveError(RuntimeError):
    """A checkpoint can't be written; those before are whole."""


@contextmanager
def writing(folder: str) -> Iterator[None]:
    """Says in one line what keeps the body from writing: a full disk, a bucket that refuses, a folder that is gone.

    Raises:
      SaveError: that line.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        if "Collective ops" in str(error):  # another worker is gone: not the folder
            raise
        # Without the graph's names that TensorFlow puts around it.
        reason = re.sub(r"{{.*?}}|\[Op:.*?\]", "", str(error))
        raise SaveError(
            f"{folder}: can't be written: {' '.join(reason.split())[:300]}; mend that, then the same command goes on "
            "from the newest checkpoint"
        ) from error


class Manager(tf.train.CheckpointManager):
    """TensorFlow's; a checkpoint is put together beside its place, so one that fails leaves those before it whole."""

    def save(self, *arguments: Any, **options: Any) -> str | None:
        """See base class.

        Raises:
          SaveError: it can't be written.
        """
        with writing(self.directory):
            return super().save(*arguments, **options)


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
    if _listed(folder) != [] or _on_disk(folder):
        raise InputError(f"{folder}: holds checkpoints of unknown origin; remove them or use another folder")


def start(folder: str, digest: str) -> None:
    """Makes the folder ready for a training of this digest, after `refuse_other`."""
    with writing(folder):
        tf.io.gfile.makedirs(folder)
    write(os.path.join(folder, DIGEST), digest)


def newest_whole(folder: str, *, repair: bool) -> str | None:
    """The newest checkpoint that can be read to its end, or None.

    A machine that dies while it writes leaves a torn one; a warning names what is skipped.

    Args:
      folder: the model folder.
      repair: this process alone writes there. Then a checkpoint that was written, but not listed any more, counts too,
        and the list is made to name the whole ones; torn ones, and parts of those that were never finished, are
        removed: every kill could leave gigabytes.
    """
    listed = _listed(folder)
    found = set(listed or [])
    if repair or listed is None:
        found |= set(_on_disk(folder))
    whole = sorted(found, key=step_of)
    while whole and (reason := _unreadable(os.path.join(folder, whole[-1]))):
        print(f"warning: {os.path.join(folder, whole.pop())} is torn and skipped: {reason}", flush=True)
    if repair:
        # The list first: a crash between leaves files that nothing names.
        if whole and whole != listed:
            paths = [os.path.join(folder, name) for name in whole]
            tf.compat.v1.train.update_checkpoint_state(folder, paths[-1], all_model_checkpoint_paths=paths)
        elif not whole and tf.io.gfile.exists(os.path.join(folder, LIST)):
            tf.io.gfile.remove(os.path.join(folder, LIST))
        _sweep(folder, whole)
    return os.path.join(folder, whole[-1]) if whole else None


def _listed(folder: str) -> list[str] | None:
    """Names (ckpt-<step>) in TensorFlow's list of checkpoints, oldest first; None when the list is torn."""
    path = os.path.join(folder, LIST)
    if not tf.io.gfile.exists(path):
        return []
    try:
        state = tf.train.get_checkpoint_state(folder)
    except ValueError:  # an empty file; of one that is cut elsewhere TensorFlow returns None
        state = None
    if state:
        return [os.path.basename(path) for path in state.all_model_checkpoint_paths]
    print(f"warning: {path} is torn: looked for the checkpoints themselves", flush=True)
    return None


def _on_disk(folder: str) -> list[str]:
    """Names of the checkpoints whose index, which is written last, is there."""
    paths = tf.io.gfile.glob(os.path.join(folder, "ckpt-*.index"))
    return [os.path.basename(path).removesuffix(".index") for path in paths]


def _sweep(folder: str, whole: list[str]) -> None:
    """Removes what belongs to no whole checkpoint."""
    if not tf.io.gfile.isdir(folder):
        return
    for name in tf.io.gfile.listdir(folder):
        name = name.rstrip("/")  # as buckets list folders
        path = os.path.join(folder, name)
        if (part := _PART.fullmatch(name)) and (part[1] not in whole or name.endswith("_temp")):
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)


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
    """Writes the final weights and, last, `train.json`.

    Raises:
      SaveError: they can't be written.
    """
    with writing(folder):
        tf.train.Checkpoint(**model.checkpoint_items).write(os.path.join(folder, WEIGHTS))
    write(os.path.join(folder, CONFIG), config)
    write(os.path.join(folder, SUMMARY), json.dumps(summary | {"model": task.model.as_dict()}, indent=1) + "\n")


def write(path: str, text: str) -> None:
    """Writes a small file whole or not at all. Object stores can't append, so even a log is written anew.

    Raises:
      SaveError: it can't be written.
    """
    temporary = f"{path}.tmp"
    with writing(os.path.dirname(path)):
        with tf.io.gfile.GFile(temporary, "w") as file:
            file.write(text)
        tf.io.gfile.rename(temporary, path, overwrite=True)
