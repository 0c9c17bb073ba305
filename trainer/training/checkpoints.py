"""The model folder: resumable checkpoints while training, the final weights and `train.json` after it.

ckpt-<step>.*     everything a resumed run needs
weights.json      where the initial weights came from; absent for a training from scratch
weights/model.*   what export reads: backbone and head (averaged weights if EMA is on)
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

from beam_preprocess.base import files
from beam_preprocess.base.errors import Failure, InputError
from trainer.config.experiment import CenterNetTask
from trainer.training.distribution import CrossWorkerSum
from trainer.weights.finished import CONFIG, SUMMARY
from trainer.weights.loading import WEIGHTS
from trainer.weights.origin import Origin, as_dict, from_dict

DIGEST = "train_digest"
STARTED_FROM = "weights.json"
LIST = "checkpoint"
"""TensorFlow's list of a folder's checkpoints."""
_PART = re.compile(r"(ckpt-\d+)(_temp|\.index.*|\.data-.*)")
"""Files of a checkpoint, and the folder in which TensorFlow assembles one."""


class SaveError(Failure):
    """A checkpoint can't be written; earlier checkpoints are whole."""


@contextmanager
def as_save_error(folder: str) -> Iterator[None]:
    """Turns what keeps the body from writing into one line: a full disk, a bucket that refuses, a missing folder.

    Raises:
      SaveError: that line.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        if "Collective ops" in str(error):  # another worker is gone; the folder is fine
            raise
        # TensorFlow wraps the reason in names of the graph.
        reason = re.sub(r"{{.*?}}|\[Op:.*?\]", "", str(error))
        raise SaveError(
            f"{folder}: can't be written: {' '.join(reason.split())[:300]}; fix that, then rerun the same command to "
            "resume from the newest checkpoint"
        ) from error


class Manager(tf.train.CheckpointManager):
    """TensorFlow's manager. It assembles a checkpoint in a temporary folder, so a failure leaves earlier ones whole."""

    def save(self, *arguments: Any, **options: Any) -> str | None:
        """See base class.

        Raises:
          SaveError: it can't be written.
        """
        with as_save_error(self.directory):
            return super().save(*arguments, **options)


def refuse_other(folder: str, digest: str) -> None:
    """Refuses a folder that holds another training, so that nothing is overwritten; writes nothing.

    Raises:
      InputError: it does.
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
    """Prepares the folder for a training with this digest; call `refuse_other` first."""
    with as_save_error(folder):
        tf.io.gfile.makedirs(folder)
    write_text(os.path.join(folder, DIGEST), digest)


def remember(folder: str, origin: Origin | None) -> Origin | None:
    """Writes down where the initial weights came from, for a resumed run and for people; returns it."""
    if origin:
        write_text(os.path.join(folder, STARTED_FROM), json.dumps(as_dict(origin), indent=1) + "\n")
    return origin


def origin_of(folder: str) -> Origin | None:
    """What `remember` wrote; None for a training from scratch."""
    path = os.path.join(folder, STARTED_FROM)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return from_dict(json.loads(file.read()))


def newest_whole(folder: str, *, repair: bool) -> str | None:
    """The newest checkpoint that can be read to its end, or None.

    A machine that dies while it writes leaves a torn checkpoint; a warning names each one that is skipped.

    Args:
      folder: the model folder.
      repair: only this process writes there. Then a checkpoint that was written but not yet listed counts too, the
        list is rewritten to name the whole ones, and torn or unfinished ones are removed, because every kill could
        leave gigabytes.
    """
    listed = _listed(folder)
    found = set(listed or [])
    if repair or listed is None:
        found |= set(_on_disk(folder))
    whole = sorted(found, key=step_of)
    while whole and (reason := _unreadable(os.path.join(folder, whole[-1]))):
        print(f"warning: {os.path.join(folder, whole.pop())} is torn and skipped: {reason}", flush=True)
    if repair:
        # The list first: after a crash between the two steps, only unlisted files are left over.
        if whole and whole != listed:
            paths = [os.path.join(folder, name) for name in whole]
            tf.compat.v1.train.update_checkpoint_state(folder, paths[-1], all_model_checkpoint_paths=paths)
        elif not whole and tf.io.gfile.exists(os.path.join(folder, LIST)):
            tf.io.gfile.remove(os.path.join(folder, LIST))
        _sweep(folder, whole)
    return os.path.join(folder, whole[-1]) if whole else None


def _listed(folder: str) -> list[str] | None:
    """Names (ckpt-<step>) in TensorFlow's list of checkpoints, oldest first; None if the list is torn."""
    path = os.path.join(folder, LIST)
    if not tf.io.gfile.exists(path):
        return []
    try:
        state = tf.train.get_checkpoint_state(folder)
    except ValueError:  # an empty file; for a file cut elsewhere TensorFlow returns None
        state = None
    if state:
        return [os.path.basename(path) for path in state.all_model_checkpoint_paths]
    print(f"warning: {path} is torn: searched the folder for checkpoints instead", flush=True)
    return None


def _on_disk(folder: str) -> list[str]:
    """Names of the checkpoints whose index is present; TensorFlow writes it last."""
    paths = tf.io.gfile.glob(os.path.join(folder, "ckpt-*.index"))
    return [os.path.basename(path).removesuffix(".index") for path in paths]


def _sweep(folder: str, whole: list[str]) -> None:
    """Removes parts that don't belong to a whole checkpoint."""
    if not tf.io.gfile.isdir(folder):
        return
    for name in tf.io.gfile.listdir(folder):
        name = name.rstrip("/")  # buckets list folders with it
        path = os.path.join(folder, name)
        if (part := _PART.fullmatch(name)) and (part[1] not in whole or name.endswith("_temp")):
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)


def step_of(prefix: str | None) -> int:
    """Step of a checkpoint; 0 if there is none."""
    return int(prefix.rsplit("-", 1)[1]) if prefix else 0


def agreed(output: str, newest: str | None, cross_worker_sum: CrossWorkerSum) -> str | None:
    """The chief's newest checkpoint; the other workers, who pass None, get it from the chief.

    Raises:
      InputError: this worker can't see it.
    """
    step = int(cross_worker_sum([float(step_of(newest))])[0])
    prefix = os.path.join(output, f"ckpt-{step}") if step else None
    if prefix and not tf.io.gfile.exists(f"{prefix}.index"):
        raise InputError(
            f"{output}: the chief has a checkpoint of step {step} there, this worker has none; give all workers one "
            "shared --model_dir, such as a bucket"
        )
    return prefix


def _unreadable(prefix: str) -> str:
    """Why a checkpoint can't be read; empty if all of it can."""
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
    with as_save_error(folder):
        tf.train.Checkpoint(**model.checkpoint_items).write(os.path.join(folder, WEIGHTS))
    write_text(os.path.join(folder, CONFIG), config)
    write_text(os.path.join(folder, SUMMARY), json.dumps(summary | {"model": task.model.as_dict()}, indent=1) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes a small file whole or not at all. Object stores can't append, so even a log is rewritten each time.

    Raises:
      SaveError: it can't be written.
    """
    with as_save_error(os.path.dirname(path)):
        try:
            files.write_text(path, text)
        except (ValueError, RuntimeError) as error:  # how gcsfs reports some refusals of a bucket
            raise OSError(str(error)) from error
