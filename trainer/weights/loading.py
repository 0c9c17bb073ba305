"""Where a training starts: the weights of an earlier one, of a Model Garden model, or of our own final folder."""

import os
from dataclasses import dataclass

import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import trackable_object_graph_pb2

from beam_preprocess.base.errors import InputError

WEIGHTS = os.path.join("weights", "model")
"""The final weights in a model folder of ours."""
LISTED = 5


@dataclass(frozen=True, slots=True)
class Transfer:
    """What came over, by variable name."""

    loaded: tuple[str, ...]
    absent: tuple[str, ...]
    """The checkpoint has no such variable."""
    misfits: tuple[str, ...]
    """The shapes differ; each entry names both."""


def find_checkpoint(path: str) -> str:
    """The prefix of a checkpoint.

    Args:
      path: a finished model folder of ours, a folder of Orbit or Model Garden checkpoints, or a prefix.

    Raises:
      InputError: no checkpoint there.
    """
    prefix: str | None = path.removesuffix(".index")
    if tf.io.gfile.exists(os.path.join(path, f"{WEIGHTS}.index")):
        prefix = os.path.join(path, WEIGHTS)
    elif tf.io.gfile.isdir(path):
        prefix = tf.train.latest_checkpoint(path)
    if prefix is None or not tf.io.gfile.exists(f"{prefix}.index"):
        raise InputError(f"{path}: no checkpoint there; give a folder or a checkpoint's prefix")
    return prefix


def load(path: str, modules: str, model: tf_keras.Model) -> Transfer:
    """Loads the weights that a training starts from.

    Variables are found by their place in the object graph below `backbone` and `head`, which Model Garden's
    checkpoints, Orbit's and ours have in common; optimizer and step on the checkpoint's side are left there.

    Args:
      path: see `find_checkpoint`.
      modules: one of `experiment.INITIAL_MODULES`.
      model: a built model; nothing of it changes when an error is raised.

    Raises:
      InputError: no checkpoint there, or variables are absent or of another shape where `modules` asks for them.
    """
    prefix = find_checkpoint(path)
    # Each part by itself: an absent head must not look like an absent backbone.
    backbone = _match(prefix, {"backbone": model.backbone})
    head = _match(prefix, {"head": model.head}) if modules != "backbone" else _Matches()
    required = [backbone] if modules == "matching" else [backbone, head]
    misfits = [m for part in required for m in part.misfits]
    absent = [name for part in required for name in part.absent]
    if misfits or absent:
        raise InputError(f"{prefix}: doesn't fit {modules}: {_listed('of another shape', misfits, absent)}")
    reader = tf.train.load_checkpoint(prefix)
    for variable, key in backbone.pairs + head.pairs:
        variable.assign(reader.get_tensor(key))
    transfer = Transfer(
        loaded=tuple(variable.name for variable, _ in backbone.pairs + head.pairs),
        absent=tuple(backbone.absent + head.absent),
        misfits=tuple(backbone.misfits + head.misfits),
    )
    left = _listed("fresh, because of another shape", transfer.misfits, transfer.absent)
    print(
        f"initial weights: {len(transfer.loaded)} variables from {prefix}" + (f"; {left}" if left else ""), flush=True
    )
    return transfer


class _Matches:
    """Variables of a part of the model against a checkpoint."""

    def __init__(self) -> None:
        self.pairs: list[tuple[tf.Variable, str]] = []
        self.absent: list[str] = []
        self.misfits: list[str] = []


def _match(prefix: str, parts: dict[str, tf_keras.Model]) -> _Matches:
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    if _OBJECT_GRAPH not in shapes:
        raise InputError(f"{prefix}: is no object-based TensorFlow 2 checkpoint; convert it with trainer.init_weights")
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    nodes = tf.train.CheckpointView(prefix).match(tf.train.Checkpoint(**parts))
    keys = {
        id(trackable): attribute.checkpoint_key
        for number, trackable in nodes.items()
        for attribute in graph.nodes[number].attributes
        if attribute.name == _VALUE
    }
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


_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"


def _listed(what: str, misfits: list[str] | tuple[str, ...], absent: list[str] | tuple[str, ...]) -> str:
    parts = []
    for title, names in ((what, misfits), ("not in the checkpoint", absent)):
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            parts.append(f"{title}: {', '.join(names[:LISTED])}{more}")
    return "; ".join(parts)
