"""Loads the weights that a training starts from: an earlier training's, or those of a Model Garden checkpoint."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
import tf_keras

from beam_preprocess.base.errors import InputError
from trainer.weights.object_graph import NotObjectBased, keys_of_variables

WEIGHTS = os.path.join("weights", "model")
"""Path of the final weights within our model folder."""
_IN_RUN = ("checkpoint", os.path.join("stages", "train"))
"""Where a run's folder has its model folder: once it is finished, and before."""
_EXPORTED = os.path.join("variables", "variables")
"""Path of the weights within a SavedModel."""
_ATTRIBUTES = {"backbone": "_backbone", "head": "_head"}
"""Part to its attribute in Model Garden's CenterNetModel."""
LISTED = 5


@dataclass(frozen=True, slots=True)
class Transfer:
    """Which variables were loaded, by name."""

    loaded: tuple[str, ...]
    absent: tuple[str, ...]
    """Variables that the checkpoint lacks."""
    misfits: tuple[str, ...]
    """Variables whose shape differs; each entry names both shapes."""


def model_folder(path: str) -> str:
    """The model folder that a path means: the folder itself, or that of the training in a run's folder."""
    for below in ("", *_IN_RUN):
        if tf.io.gfile.exists(os.path.join(path, below, f"{WEIGHTS}.index")):
            return os.path.join(path, below)
    return path


def find_checkpoint(path: str) -> str:
    """The prefix of a checkpoint.

    Args:
      path: a run's folder, our finished model folder, an exported model such as a registry's version, a folder of Orbit
        or Model Garden checkpoints, or a prefix.

    Raises:
      InputError: there is no checkpoint.
    """
    prefix: str | None = path.removesuffix(".index")
    folder = model_folder(path)
    if tf.io.gfile.exists(os.path.join(folder, f"{WEIGHTS}.index")):
        prefix = os.path.join(folder, WEIGHTS)
    elif tf.io.gfile.exists(os.path.join(path, f"{_EXPORTED}.index")):
        prefix = os.path.join(path, _EXPORTED)
    elif tf.io.gfile.isdir(path):
        prefix = tf.train.latest_checkpoint(path)
    if prefix is None or not tf.io.gfile.exists(f"{prefix}.index"):
        raise InputError(f"{path}: no checkpoint there; give a folder or a checkpoint's prefix")
    return prefix


def load(path: str, modules: str, model: tf_keras.Model) -> Transfer:
    """Loads the weights that a training starts from.

    Variables are found by their place in the object graph below `backbone`, `decoder` and `head`, which is the same in
    Model Garden's, Orbit's and our checkpoints. Optimizer and step in the checkpoint are not loaded.

    Args:
      path: see `find_checkpoint`.
      modules: one of `experiment.INITIAL_MODULES`.
      model: a built model; it doesn't change if an error is raised.

    Raises:
      InputError: there is no checkpoint, or variables that `modules` requires are missing or have another shape.
    """
    prefix = find_checkpoint(path)
    # Part by part: a missing head must not look like a missing backbone.
    found = {
        name: _match(prefix, {name: part})
        for name, part in model.checkpoint_items.items()
        if name == "backbone" or modules != "backbone"
    }
    required = list(found.values()) if modules == "all" else [found["backbone"]]
    misfits = [m for part in required for m in part.misfits]
    absent = [name for part in required for name in part.absent]
    if misfits or absent:
        raise InputError(f"{prefix}: doesn't fit {modules}: {listed('of another shape', misfits, absent)}")
    reader = tf.train.load_checkpoint(prefix)
    pairs = [pair for part in found.values() for pair in part.pairs]
    try:
        values = [reader.get_tensor(key) for _, key in pairs]
    except (tf.errors.OpError, RuntimeError, IndexError, ValueError) as error:
        raise InputError(
            f"{prefix}: can't be read ({' '.join(str(error).split())[:200]}); is the checkpoint whole?"
        ) from error
    for (variable, _), value in zip(pairs, values, strict=True):
        variable.assign(value)
    transfer = Transfer(
        loaded=tuple(variable.name for variable, _ in pairs),
        absent=tuple(name for part in found.values() for name in part.absent),
        misfits=tuple(misfit for part in found.values() for misfit in part.misfits),
    )
    return transfer


class _Matches:
    """Variables of a part of the model, compared with a checkpoint."""

    def __init__(self) -> None:
        self.pairs: list[tuple[tf.Variable, str]] = []
        self.absent: list[str] = []
        self.misfits: list[str] = []


def _match(prefix: str, parts: dict[str, tf_keras.Model]) -> _Matches:
    try:
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        objects = tf.train.Checkpoint(**parts)
        if prefix.endswith(_EXPORTED):
            # A SavedModel has the names of attributes: the serving module's `model`, and Keras's of the parts.
            named = {_ATTRIBUTES.get(name, name): part for name, part in parts.items()}
            objects = tf.train.Checkpoint(model=tf.train.Checkpoint(**named))
        keys = keys_of_variables(prefix, objects)
    except NotObjectBased as error:
        raise InputError(
            f"{prefix}: not an object-based TensorFlow 2 checkpoint; convert it with centernet init-weights"
        ) from error
    except (tf.errors.OpError, RuntimeError, IndexError) as error:
        raise InputError(
            f"{prefix}: can't be read ({' '.join(str(error).split())[:200]}); is the checkpoint whole?"
        ) from error
    matches = _Matches()
    for part in parts.values():
        for variable in part.weights:
            key = keys.get(id(variable))
            if key is None:
                matches.absent.append(variable.name)
            elif list(shapes[key]) != variable.shape.as_list():
                matches.misfits.append(f"{variable.name} ({list(shapes[key])}, here {variable.shape.as_list()})")
            else:
                matches.pairs.append((variable, key))
    return matches


def listed(what: str, misfits: Sequence[str], absent: Sequence[str]) -> str:
    """Names for people: those of another shape, and those that the checkpoint lacks; the first few of each."""
    parts = []
    for title, names in ((what, misfits), ("not in the checkpoint", absent)):
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            parts.append(f"{title}: {', '.join(names[:LISTED])}{more}")
    return "; ".join(parts)
