"""Weights of classifiers in Model Garden's backbones: on real weights where they are at hand, else on random ones."""

from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import tf_keras
from official.vision.modeling.backbones import EfficientNet, MobileNet, ResNet
from PIL import Image

from beam_preprocess.base.errors import InputError
from trainer.config.networks import Pixels
from trainer.weights import catalogue, files, mapping, torch_file

MILITARY_UNIFORM = 652
LITE = next(entry for entry in catalogue.CATALOGUE if entry.name == "efficientnet-lite0")
OTHER = Pixels(mean=(120.0, 114.0, 104.0), deviation=(71.0, 70.0, 74.0), bgr=True)
PLAIN = Pixels(mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0))


def specs(side: int) -> Any:
    return tf_keras.layers.InputSpec(shape=[None, side, side, 3])


def normalised(levels: np.ndarray, pixels: Pixels) -> np.ndarray:
    made = (levels - np.array(pixels.mean, np.float32)) / np.array(pixels.deviation, np.float32)
    return made[..., ::-1] if pixels.bgr else made


def drawn(model: tf_keras.Model, seed: int) -> None:
    """Draws weights that keep activations in range through a hundred layers."""
    rng = np.random.default_rng(seed)

    def draw(weight: Any) -> np.ndarray:
        if "kernel" in weight.name:
            return rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
        if "gamma" in weight.name:
            return rng.uniform(0.3, 0.6, weight.shape)
        return rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.name else rng.normal(0, 0.3, weight.shape)

    model.set_weights([draw(weight).astype(np.float32) for weight in model.weights])


@pytest.fixture(scope="module")
def lite0() -> Path:
    try:
        metadata.distribution(LITE.package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{LITE.package} isn't installed")
    (path,), _ = files.fetch(LITE)
    return path


def test_efficientnet_lite0_recognises_a_photograph(lite0: Path) -> None:
    """With its own input, and with another that moves into the first convolution."""
    assert LITE.pixels is not None
    # Another epsilon than it was trained with: the variances take up the difference.
    backbone = EfficientNet("b0", specs(224), se_ratio=0.0, activation="relu6", norm_epsilon=1e-5)
    photograph = Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")).crop((0, 44, 512, 556))
    levels = np.asarray(photograph.resize((224, 224), Image.Resampling.BICUBIC), np.float32)[None]
    classifier = torch_file.read(lite0)
    for ours in (LITE.pixels, OTHER):
        names = mapping.assign(
            backbone, mapping.lite0_units(lite0), where="lite0", theirs=LITE.pixels, ours=ours, epsilon=LITE.epsilon
        )
        assert sorted(names) == sorted(weight.name for weight in backbone.weights)
        features = backbone(normalised(levels, ours))["6"].numpy().mean(axis=(1, 2))
        logits = (features @ classifier["_fc.weight"].T + classifier["_fc.bias"])[0]
        assert logits.argmax() == MILITARY_UNIFORM
        assert 1 / np.exp(logits - logits.max()).sum() > 0.3, "its probability"


def test_mobilenet_v2_gives_the_outputs_of_keras() -> None:
    theirs = tf_keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3), alpha=1.0)
    drawn(theirs, 1)
    backbone = MobileNet("MobileNetV2", input_specs=specs(64), norm_epsilon=1e-3)
    names = mapping.assign(backbone, mapping.keras_units(theirs), where="x", theirs=PLAIN, ours=PLAIN, epsilon=1e-3)
    assert sorted(names) == sorted(weight.name for weight in backbone.weights)
    image = np.random.default_rng(2).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(backbone(image)["6"], theirs(image), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_resnet50_gives_the_outputs_of_keras_where_both_halve_alike() -> None:
    """Keras halves a stage in its first 1x1, Model Garden in the 3x3: the layers map, with Keras's strides moved.

    65 pixels: there Keras's padding is TensorFlow's.
    """
    config = tf_keras.applications.ResNet50(include_top=False, weights=None, input_shape=(65, 65, 3)).get_config()
    for layer in config["layers"]:
        name = layer["config"]["name"]
        for stage in (3, 4, 5):
            for conv, strides in ((1, (1, 1)), (2, (2, 2))):
                if name == f"conv{stage}_block1_{conv}_conv":
                    layer["config"]["strides"] = strides
    theirs = tf_keras.Model.from_config(config)
    drawn(theirs, 1)
    backbone = ResNet(50, input_specs=specs(65), norm_epsilon=1.001e-5)
    names = mapping.assign(backbone, mapping.keras_units(theirs), where="x", theirs=PLAIN, ours=PLAIN, epsilon=1.001e-5)
    assert sorted(names) == sorted(weight.name for weight in backbone.weights)
    image = np.random.default_rng(2).uniform(-1, 1, (1, 65, 65, 3)).astype(np.float32)
    expected = theirs(image).numpy()
    np.testing.assert_allclose(backbone(image)["5"], expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_another_input_moves_into_the_first_convolution() -> None:
    theirs = tf_keras.Sequential([tf_keras.layers.Conv2D(4, 3), tf_keras.layers.BatchNormalization()])
    theirs.build((None, 8, 8, 3))
    drawn(theirs, 3)
    caffe = Pixels(mean=(123.68, 116.779, 103.939), deviation=(1.0, 2.0, 3.0), bgr=True)
    lite = LITE.pixels
    assert lite is not None
    unit = mapping.Unit(
        name="first",
        kernel=theirs.layers[0].kernel.numpy(),
        **dict(zip(("gamma", "beta", "mean", "variance"), theirs.layers[1].get_weights(), strict=True)),
    )
    levels = np.random.default_rng(4).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)
    expected = theirs(normalised(levels, caffe)) - 0.0
    ours = tf_keras.models.clone_model(theirs)
    ours.layers[0].use_bias = False
    mapping.assign(ours, [unit], where="x", theirs=caffe, ours=lite, epsilon=1e-3)
    bias = theirs.layers[0].bias.numpy() / np.sqrt(unit.variance + 1e-3) * unit.gamma
    np.testing.assert_allclose(ours(normalised(levels, lite)) + bias, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 3, 3, 16), (5, 5, 3, 32)])
def test_weights_of_another_backbone_are_refused(shape: tuple[int, ...]) -> None:
    backbone = tf_keras.Sequential([tf_keras.layers.Conv2D(32, 3), tf_keras.layers.BatchNormalization()])
    backbone.build((None, 8, 8, 3))
    unit = mapping.Unit(
        name="stem", kernel=np.zeros(shape), **dict.fromkeys(("gamma", "beta", "mean", "variance"), np.ones(1))
    )
    with pytest.raises(InputError, match=r"stem has the shape \[.*set the backbone that these weights are for"):
        mapping.assign(backbone, [unit], where="x", theirs=PLAIN, ours=PLAIN, epsilon=1e-3)
    with pytest.raises(InputError, match=r"has 3 convolutions, and task\.model\.backbone has 1"):
        mapping.assign(backbone, [unit] * 3, where="x", theirs=PLAIN, ours=PLAIN, epsilon=1e-3)
