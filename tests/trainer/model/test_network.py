from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling.layers import detection_generator
from official.vision.modeling.backbones import factory

from beam_preprocess.format.targets import assign_targets, dense_heatmap
from tests.trainer.made_records import CLASSES, MAP, SIZE, TINY_CONFIG, make_objects
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.networks import HOURGLASS_PIXELS, pixels_of
from trainer.config.sections import parse_config
from trainer.model import network

TWO_STACKS = TINY_CONFIG.replace("num_hourglasses: 1", "num_hourglasses: 2").replace("['2']", "['2_0', '2']")


def _task(momentum: float = 0.83, epsilon: float = 0.02, config: str = TINY_CONFIG) -> CenterNetTask:
    task = build_experiment(parse_config(config)).task
    task.model.num_classes = CLASSES
    task.model.norm_activation.norm_momentum = momentum
    task.model.norm_activation.norm_epsilon = epsilon
    return task


def _settings(model: tf_keras.Model) -> set[tuple[float, float, bool]]:
    norms = [m for m in model.submodules if isinstance(m, tf_keras.layers.BatchNormalization)]
    assert len(norms) > 10
    return {(m.momentum, m.epsilon, bool(getattr(m, "synchronized", False))) for m in norms}


@pytest.mark.parametrize(
    ("reference", "momentum", "sync"),
    [
        (False, 0.83, False),
        (True, 0.1, True),  # the published models' on all layers, whatever is configured
    ],
)
def test_every_batch_norm_has_the_configured_settings(reference: bool, momentum: float, sync: bool) -> None:
    """On two stacks: also in the layers between them."""
    task = _task(config=TWO_STACKS)
    task.model.reference_bn, task.model.norm_activation.use_sync_bn = reference, sync
    assert _settings(network.build_model(task)) == {(momentum, 0.02, sync)}


def test_model_garden_ignores_the_configured_settings() -> None:
    task = _task(config=TWO_STACKS)
    task.model.norm_activation.use_sync_bn = False
    shipped = factory.build_backbone(
        input_specs=tf_keras.layers.InputSpec(shape=[None, *SIZE, 3]),
        backbone_config=task.model.backbone,
        norm_activation_config=task.model.norm_activation,
    )
    assert (0.1, 1e-5, True) in _settings(shipped)


def test_the_hourglass_takes_pixels_as_the_published_centernets() -> None:
    from official.projects.centernet.configs.centernet import Parser

    shipped = Parser()
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3)).astype(np.uint8)
    # Model Garden: BGR order first, then the means and deviations of that order.
    expected = (image[..., ::-1].astype(np.float32) - shipped.channel_means) / shipped.channel_stds
    np.testing.assert_allclose(network.normalize(image, pixels_of(_task().model)).numpy(), expected, atol=1e-5)


def test_momentum_is_the_share_of_the_old_average() -> None:
    model = network.build_model(_task(momentum=0.75))
    image = tf.random.stateless_normal([2, *SIZE, 3], [1, 2])
    norm = next(m for m in model.backbone.submodules if isinstance(m, tf_keras.layers.BatchNormalization))
    inputs = []
    original = norm.call
    norm.call = lambda x, training=None: (inputs.append(x), original(x, training=training))[1]
    tf.config.run_functions_eagerly(True)
    try:
        model(image, training=True)
    finally:
        tf.config.run_functions_eagerly(False)
    batch_mean = tf.reduce_mean(inputs[0], axis=[0, 1, 2])
    np.testing.assert_allclose(norm.moving_mean, 0.25 * batch_mean, atol=1e-5)


def test_a_model_garden_checkpoint_fits(tmp_path: Path) -> None:
    task = _task(momentum=0.1, epsilon=1e-5)  # what Model Garden's inner blocks always have
    shipped = factory.build_backbone(
        input_specs=tf_keras.layers.InputSpec(shape=[None, *SIZE, 3]),
        backbone_config=task.model.backbone,
        norm_activation_config=task.model.norm_activation,
    )
    tf.train.Checkpoint(backbone=shipped).write(str(tmp_path / "shipped"))
    ours = network.build_model(task)
    tf.train.Checkpoint(backbone=ours.backbone).read(str(tmp_path / "shipped")).assert_consumed()
    image = tf.random.stateless_normal([1, *SIZE, 3], [0, 1])
    np.testing.assert_allclose(ours.backbone(image)["2"], shipped(image)["2"], atol=1e-5)


def test_upsampling_is_nearest_and_differentiable_under_xla() -> None:
    x = tf.random.stateless_normal([2, 3, 4, 5], [0, 1])
    np.testing.assert_array_equal(network.NearestUpsampling()(x), tf_keras.layers.UpSampling2D(2)(x))

    @tf.function(jit_compile=True)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.square(network.NearestUpsampling()(x)))
        return tape.gradient(y, x)

    np.testing.assert_allclose(gradient(x), 8 * x, rtol=1e-5)


@pytest.fixture
def policy(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    tf_keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"], indirect=True)
def test_decoding_is_float32_under_every_policy(policy: str) -> None:
    """Perfect heads give back the boxes to a thousandth of a pixel; Model Garden decodes bfloat16 in bfloat16."""
    model = network.build_model(_task())
    boxes, classes = make_objects(np.random.default_rng(3), 4)
    targets = assign_targets(boxes, classes, np.zeros(4, bool), image_size=SIZE, stride=4, cutoff=1e-3)
    heatmap = np.clip(dense_heatmap(targets, MAP, CLASSES, 1e-3), 1e-4, 1 - 1e-4)
    heads = {
        "ct_heatmaps": [np.log(heatmap / (1 - heatmap))[None]],
        "ct_offset": [_at_centres(targets.object_cell, targets.object_offset)],
        "ct_size": [_at_centres(targets.object_cell, targets.object_size)],
    }
    compute = tf_keras.mixed_precision.global_policy().compute_dtype

    class PerfectHead(tf_keras.layers.Layer):
        def call(self, features: object, training: bool | None = None) -> dict[str, list[tf.Tensor]]:
            return {name: [tf.cast(h, compute) for h in maps] for name, maps in heads.items()}

    perfect = network.CenterNetModel(
        backbone=model.backbone,
        head=PerfectHead(),
        detection_generator=model.detection_generator,
        levels=["2"],
        pixels=HOURGLASS_PIXELS,
    )
    outputs = perfect(tf.zeros([1, *SIZE, 3]), training=False)
    assert outputs["boxes"].dtype == outputs["confidence"].dtype == tf.float32
    found = outputs["boxes"][0].numpy()[outputs["confidence"][0].numpy() > 0.99]
    # What the heads themselves lose to the compute dtype: 8 bits of mantissa in bfloat16, 11 in float16.
    bound = {"float32": 1e-3, "mixed_bfloat16": 4 * 2**-8 * 8, "mixed_float16": 4 * 2**-11 * 8}[policy]
    for box in boxes:
        assert np.abs(found - box).max(axis=1).min() < bound
    if policy == "mixed_bfloat16":
        shipped = detection_generator.CenterNetDetectionGenerator(input_image_dims=SIZE, max_detections=50)
        raw = {name: [tf.cast(h, tf.bfloat16) for h in maps] for name, maps in heads.items()}
        assert shipped(raw)["boxes"].dtype == tf.bfloat16


def _at_centres(cell: np.ndarray, values: np.ndarray) -> np.ndarray:
    maps = np.zeros((MAP[0] * MAP[1], 2), np.float32)
    maps[cell] = values
    return maps.reshape(1, *MAP, 2)
