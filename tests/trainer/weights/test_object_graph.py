"""The part of TensorFlow's checkpoint format that `trainer/weights/object_graph.py` relies on.

When a test here fails after an update of TensorFlow, the format or `tensorflow.core.protobuf` moved. Read
`python/checkpoint/checkpoint_view.py` and `core/protobuf/trackable_object_graph.proto` of that release, adapt
`keys_of_variables`, and change the assertion here.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer.weights.object_graph import NotObjectBased, captured_value, keys_of_variables, variables_alone


def test_each_variable_has_the_key_of_its_value(tmp_path: Path) -> None:
    saved = tf.train.Checkpoint(a=tf.Variable([1.0, 2.0]), b=tf.train.Checkpoint(c=tf.Variable(3.0)))
    prefix = saved.write(str(tmp_path / "saved"))
    a, c, absent = tf.Variable([0.0, 0.0]), tf.Variable(0.0), tf.Variable(0.0)
    ours = tf.train.Checkpoint(a=a, b=tf.train.Checkpoint(c=c), d=absent)
    keys = keys_of_variables(prefix, ours)
    assert keys.keys() == {id(a), id(c)}
    reader = tf.train.load_checkpoint(prefix)
    np.testing.assert_array_equal(reader.get_tensor(keys[id(a)]), [1.0, 2.0])
    assert reader.get_tensor(keys[id(c)]) == 3.0


def test_a_checkpoint_without_an_object_graph(tmp_path: Path) -> None:
    prefix = str(tmp_path / "old")
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)])
    with pytest.raises(NotObjectBased):
        keys_of_variables(prefix, tf.train.Checkpoint(a=tf.Variable(0.0)))


def test_variables_alone_keep_their_places_without_the_layers(tmp_path: Path) -> None:
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), tf_keras.layers.BatchNormalization()])
    alone = tf.train.Checkpoint(model=variables_alone(model))
    keys = keys_of_variables(alone.write(str(tmp_path / "alone")), tf.train.Checkpoint(model=model))
    assert keys.keys() == {id(variable) for variable in model.variables}
    saved = tf.Module()
    saved.model = alone.model
    tf.saved_model.save(saved, str(tmp_path / "saved"))
    assert not hasattr(tf.saved_model.load(str(tmp_path / "saved")).model, "call_and_return_conditional_losses")


def test_values_that_a_function_captured() -> None:
    """If `_handle_data` has moved: look for what `Tensor.shape` of a resource is made from in this release."""
    variable, constant = tf.Variable([1.0, 2.0]), tf.constant(3)
    made = tf.function(lambda: variable * tf.cast(constant, tf.float32)).get_concrete_function()
    assert sorted(
        captured_value(handle).tolist() for handle in made.captured_inputs if handle.dtype == tf.resource
    ) == [[1.0, 2.0]]
    assert captured_value(constant) == 3
