"""The only module that reads TensorFlow's objects below its public API.

`tf.train.CheckpointView` finds which object of ours is which node of a checkpoint; the key of a node's value is only in
the protocol buffer. `_trackable_children` names the places of a model's variables, and `_handle_data` has the type of a
variable that a function captured. If a release of TensorFlow moves one of them,
tests/trainer/weights/test_object_graph.py fails and describes what to change here.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"


class NotObjectBased(ValueError):
    """The checkpoint has no object graph, as those of TensorFlow 1."""


def variables_alone(model: Any) -> Any:
    """An object with the model's variables at their places in its object graph, and nothing else.

    TensorFlow saves a Keras model with functions of every layer. This is what a SavedModel needs to be a start for
    another training.
    """
    made: dict[int, Any] = {}

    def bare(found: Any) -> Any:
        if isinstance(found, tf.Variable):
            return found
        if id(found) not in made:
            made[id(found)] = copy = tf.__internal__.tracking.AutoTrackable()
            for name, child in found._trackable_children().items():
                setattr(copy, name, bare(child))
        return made[id(found)]

    return bare(model)


def captured_value(handle: tf.Tensor) -> np.ndarray:
    """Value of a constant or variable that a function captured. Some variables are reached in no other way."""
    if handle.dtype != tf.resource:
        return np.asarray(handle.numpy())
    dtype = handle._handle_data.shape_and_type[0].dtype
    return np.asarray(tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype).numpy())


def keys_of_variables(prefix: str, objects: tf.train.Checkpoint) -> dict[int, str]:
    """Where a checkpoint holds the values of our variables.

    Args:
      prefix: of the checkpoint.
      objects: ours, under the names that they have in the checkpoint.

    Returns:
      id(variable) → key for the checkpoint's reader, for the variables that it holds.

    Raises:
      NotObjectBased: the checkpoint has no object graph.
    """
    reader = tf.train.load_checkpoint(prefix)
    if not reader.has_tensor(_OBJECT_GRAPH):
        raise NotObjectBased(prefix)
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    return {
        id(trackable): attribute.checkpoint_key
        for number, trackable in tf.train.CheckpointView(prefix).match(objects).items()
        for attribute in graph.nodes[number].attributes
        if attribute.name == _VALUE
    }
