"""AP of heads that equal the targets: decoding alone must lose nothing, in every precision."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling.layers import detection_generator

from beam_preprocess.format.targets import assign_targets, dense_heatmap
from trainer.config.experiment import STRIDE, build_experiment
from trainer.config.sections import parse_config
from trainer.model import network
from trainer.training import interim_ap

SIDE, CLASSES, IMAGES, OBJECTS, CUTOFF = 512, 3, 8, 12, 1e-3
MAP = SIDE // STRIDE, SIDE // STRIDE
CONFIG = f"""
preprocess: {{image_size: [{SIDE}, {SIDE}]}}
task:
  model:
    backbone: {{type: hourglass, hourglass: {{model_id: 10, input_channel_dims: 4, num_hourglasses: 1}}}}
    head: {{input_levels: ['2']}}
    norm_activation: {{use_sync_bn: false}}
  train_data: {{global_batch_size: 1}}
"""


def _image(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(labels, heads) of an image with objects of 6 to 120 pixels, no two with one centre cell and class."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(60, SIDE - 60, (OBJECTS, 2))
    half = np.exp(rng.uniform(np.log(6), np.log(120), (OBJECTS, 2))) / 2
    boxes = np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, SIDE)
    classes = rng.integers(0, CLASSES, OBJECTS)
    targets = assign_targets(
        boxes, classes, np.zeros(OBJECTS, bool), image_size=(SIDE, SIDE), stride=STRIDE, cutoff=CUTOFF
    )
    assert len(set(zip(targets.object_cell.tolist(), targets.object_class.tolist(), strict=True))) == OBJECTS
    probability = np.clip(dense_heatmap(targets, MAP, CLASSES, CUTOFF), 1e-4, 1 - 1e-4)
    offset, size = np.zeros((2, MAP[0] * MAP[1], 2), np.float32)
    offset[targets.object_cell], size[targets.object_cell] = targets.object_offset, targets.object_size
    labels = {name: getattr(targets, name) for name in ("object_cell", "object_class", "object_offset", "object_size")}
    heads = {
        "ct_heatmaps": np.log(probability / (1 - probability)),
        "ct_offset": offset.reshape(*MAP, 2),
        "ct_size": size.reshape(*MAP, 2),
    }
    return labels, heads


def _ap(decode: Any) -> float:
    """AP of `decode`: heads, a list with one [B, H, W, C] for each name, to boxes, scores and classes."""
    batches = []
    for seed in range(IMAGES):
        labels, heads = _image(seed)
        found = decode({name: [tf.constant(head[None], tf.float32)] for name, head in heads.items()})
        batches.append(
            {name: value[None] for name, value in labels.items()}
            | {"object_mask": np.ones((1, OBJECTS)), "ignore_mask": np.zeros((1, 0))}
            | {name: tf.cast(value, tf.float32).numpy() for name, value in found.items()}
        )
        batches[-1]["classes"] = batches[-1]["classes"].astype(np.int64)
    scored = interim_ap.score(batches, map_width=MAP[1], stride=STRIDE, num_classes=CLASSES)
    return scored[interim_ap.AP]


@pytest.fixture
def policy(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    tf_keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"], indirect=True)
def test_ap_of_perfect_heads_is_1_in_every_precision(policy: str) -> None:
    """The heads come in the policy's own precision, as the network's do; decoding them costs nothing."""
    task = build_experiment(parse_config(CONFIG)).task
    task.model.num_classes = CLASSES
    generator = network.build_model(task).detection_generator
    compute = tf_keras.mixed_precision.global_policy().compute_dtype

    class Perfect(network.CenterNetModel):
        """Our model's own `call`, behind heads that are given."""

        def __init__(self) -> None:
            tf_keras.Model.__init__(self)
            self.decoder = None
            self._backbone, self._detection_generator = (lambda x, training: {"2": x}), generator
            self._head = lambda found, training: tf.nest.map_structure(lambda h: tf.cast(h, compute), found["2"])

    model = Perfect()

    def decode(heads: dict[str, list[tf.Tensor]]) -> dict[str, tf.Tensor]:
        outputs = network.CenterNetModel.call(model, heads, training=False)
        return {"boxes": outputs["boxes"], "scores": outputs["confidence"], "classes": outputs["classes"]}

    assert round(_ap(decode), 3) == 1.0


def test_model_gardens_decoding_in_bfloat16_loses_a_tenth_or_more() -> None:
    """0.803 on COCO's spread of sizes."""
    shipped = detection_generator.CenterNetDetectionGenerator(input_image_dims=(SIDE, SIDE), class_offset=0)

    def decode(heads: dict[str, list[tf.Tensor]]) -> dict[str, tf.Tensor]:
        outputs = shipped(tf.nest.map_structure(lambda h: tf.cast(h, tf.bfloat16), heads))
        assert outputs["boxes"].dtype == tf.bfloat16
        return {"boxes": outputs["boxes"], "scores": outputs["confidence"], "classes": outputs["classes"]}

    assert _ap(decode) < 0.9
