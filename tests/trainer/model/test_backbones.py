"""Model Garden's other backbones with its FPN: what holds for the Hourglass holds for them."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.modeling.backbones import factory, mobilenet, resnet
from official.vision.ops import preprocess_ops

from tests.trainer.families import BACKBONES, family_config
from tests.trainer.made_records import CLASSES, MAP, SIZE
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.networks import IMAGENET_PIXELS, LITE_PIXELS, MODEL_IDS, pixels_of
from trainer.config.sections import parse_config
from trainer.model import network, tta
from trainer.weights import loading


def made_task(kind: str) -> CenterNetTask:
    task: CenterNetTask = build_experiment(parse_config(family_config(kind))).task
    task.model.num_classes = CLASSES
    return task


def made_image() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3)), tf.uint8)


def whole_backbone(task: CenterNetTask) -> tf_keras.Model:
    """Model Garden's own, classifier's end included."""
    return factory.build_backbone(
        input_specs=tf_keras.layers.InputSpec(shape=[None, *SIZE, 3]),
        backbone_config=task.model.backbone,
        norm_activation_config=task.model.norm_activation,
    )


@functools.cache
def built(kind: str) -> network.CenterNetModel:
    """One for all tests that don't look at the weights' values; batch norm has settings that nothing defaults to."""
    task = made_task(kind)
    norm = task.model.norm_activation
    norm.use_sync_bn, norm.norm_momentum, norm.norm_epsilon = True, 0.83, 0.02
    return network.build_model(task)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_family_builds_and_trains_all_its_weights(kind: str) -> None:
    model = built(kind)
    norms = [m for m in model.submodules if isinstance(m, tf_keras.layers.BatchNormalization)]
    assert {(m.momentum, m.epsilon, m.synchronized) for m in norms} == {(0.83, 0.02, True)}
    assert list(model.checkpoint_items) == ["backbone", "decoder", "head"]

    image = made_image()
    with tf.GradientTape() as tape:
        raw = model(model.normalize(image), training=True)["raw_output"]
        loss = tf.add_n([tf.reduce_mean(tf.square(maps[0])) for maps in raw.values()])
    assert {name: maps[0].shape.as_list() for name, maps in raw.items()} == {
        "ct_heatmaps": [2, *MAP, CLASSES],
        "ct_offset": [2, *MAP, 2],
        "ct_size": [2, *MAP, 2],
    }
    unused = [
        variable.name
        for variable, gradient in zip(
            model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
        )
        if gradient is None
    ]
    assert unused == [], "a weight that no output depends on"


@pytest.mark.parametrize(
    ("kind", "level"), [("resnet", 3), ("mobilenet", 2), pytest.param("efficientnet", 2, marks=pytest.mark.slow)]
)
def test_frozen_layers_keep_weights_and_statistics(kind: str, level: int) -> None:
    """Those up to the level, and no others."""
    task = made_task(kind)
    task.model.frozen_level = level
    model = network.build_model(task)
    kept = {
        variable.ref() for variable in tf_keras.Model(model.backbone.input, model.backbone.output[str(level)]).weights
    }
    assert 0 < len(kept) < len(model.backbone.weights)
    assert len(built(kind).trainable_variables) - len(model.trainable_variables) > len(kept) // 3
    before = [variable.numpy() for variable in model.weights]
    with tf.GradientTape() as tape:
        raw = model(model.normalize(made_image()), training=True)["raw_output"]
        loss = tf.add_n([tf.reduce_mean(tf.square(maps[0])) for maps in raw.values()])
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert variable.ref() not in kept
        assert gradient is not None
        variable.assign_sub(gradient + 0.01)
    same = {v.ref() for v, old in zip(model.weights, before, strict=True) if np.array_equal(v.numpy(), old)}
    assert same == kept


@pytest.mark.parametrize(
    "kind", ["resnet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mobilenet", "efficientnet"))]
)
def test_a_bare_checkpoint_of_model_garden_starts_a_family_which_runs_at_other_scales(
    kind: str, tmp_path: Path
) -> None:
    """As its classifiers leave it (`resnet50_imagenet/ckpt-28080`), with weights that no initialiser makes."""
    task, image = made_task(kind), made_image()
    model = network.build_model(task)
    whole = whole_backbone(task)
    rng = np.random.default_rng(1)
    whole.set_weights([rng.uniform(0.1, 0.6, w.shape).astype(np.float32) for w in whole.get_weights()])
    prefix = tf.train.Checkpoint(backbone=whole, global_step=tf.Variable(3)).write(str(tmp_path / "ckpt-3"))
    transfer = loading.load(prefix, "backbone", model)
    assert len(transfer.loaded) == len(model.backbone.weights)
    expected = whole(model.normalize(image), training=False)
    for level, features in model.backbone(model.normalize(image), training=False).items():
        np.testing.assert_allclose(features, expected[level], rtol=1e-4)

    twice = tf.image.resize(image, [2 * side for side in SIZE])
    averaged = tta.averaged_maps(model, [model.normalize(image), model.normalize(twice)], flip=True)
    assert averaged["ct_heatmaps"][0].shape.as_list() == [2, *MAP, CLASSES]


def test_a_family_decodes_in_float32_under_bfloat16() -> None:
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = network.build_model(made_task("resnet"))
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    image = tf.zeros([1, *SIZE, 3])
    assert model.maps(image, training=False)["ct_size"][0].dtype == tf.bfloat16
    outputs = model(image, training=False)
    assert {tensor.dtype for tensor in (outputs["boxes"], outputs["confidence"])} == {tf.float32}


@pytest.mark.parametrize(
    ("kind", "change", "offset", "scale"),
    [
        ("resnet", {}, preprocess_ops.MEAN_RGB, preprocess_ops.STDDEV_RGB),
        ("mobilenet", {}, preprocess_ops.MEAN_RGB, preprocess_ops.STDDEV_RGB),
        ("efficientnet", {"se_ratio": 0.25}, preprocess_ops.MEAN_RGB, preprocess_ops.STDDEV_RGB),
        ("efficientnet", {}, (127.0,) * 3, (128.0,) * 3),
    ],
)
def test_pixels_are_those_of_the_published_weights(kind: str, change: dict[str, Any], offset: Any, scale: Any) -> None:
    task = made_task(kind)
    task.model.backbone.override({kind: change})
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3)).astype(np.uint8)
    expected = preprocess_ops.normalize_image(tf.cast(image, tf.float32), offset=offset, scale=scale)
    np.testing.assert_allclose(network.normalize(image, pixels_of(task.model)), expected, atol=1e-5)
    assert pixels_of(task.model) in (IMAGENET_PIXELS, LITE_PIXELS)


def test_the_model_ids_are_model_gardens_and_their_levels_are_halvings() -> None:
    assert MODEL_IDS["resnet"] == tuple(resnet.RESNET_SPECS)
    for name in MODEL_IDS["mobilenet"]:
        spec = mobilenet.SUPPORTED_SPECS_MAP[name]
        strides, stride = [], 1
        for values in spec["block_specs"]:
            block = dict(zip(spec["block_spec_schema"], values, strict=True))
            stride *= block.get("strides") or 1
            strides += [stride] if block["is_output"] else []
        assert strides == [4, 8, 16, 32], name
