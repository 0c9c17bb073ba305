"""Builds the network: Model Garden's Hourglass, heads and decoder, with four repairs.

1. Decoding runs in float32 under every training policy (in bfloat16 it costs a fifth of the AP).
2. Every batch normalisation has the configured momentum, epsilon and sync setting; Model Garden's HourglassBlock
   ignores them in 50 of 60 layers.
3. Nearest upsampling is concatenation and reshape, because ResizeNearestNeighborGrad has no XLA kernel.
4. Class indices are 0-based: the label map belongs to the data, not to the decoder.

Variables and their checkpoint names stay Model Garden's.
"""

from collections.abc import Mapping

import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling import centernet_model
from official.projects.centernet.modeling.heads import centernet_head
from official.projects.centernet.modeling.layers import detection_generator
from official.vision.modeling.backbones import factory

from trainer.config.experiment import STRIDE, CenterNetTask
from trainer.model import garden

REFERENCE_MOMENTUM = 0.1
"""The momentum of 50 of the 60 layers of the published models, whatever their configuration."""


class NearestUpsampling(tf_keras.layers.Layer):
    """[B, H, W, C] to [B, 2H, 2W, C], equal to UpSampling2D(2, "nearest"), with an XLA gradient."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Repeats every row and column."""
        height, width, channels = x.shape[1:]
        # Every pixel next to itself, then every row below itself. The gradient is two sums of halves; the gradient of
        # a broadcast would be a sum over inner axes, which takes a CPU 6 to 7 times as long.
        x = tf.reshape(tf.concat([x, x], axis=3), [-1, height, 2 * width * channels])
        return tf.reshape(tf.concat([x, x], axis=2), [-1, 2 * height, 2 * width, channels])


class CenterNetModel(centernet_model.CenterNetModel):
    """Model Garden's model; it casts raw outputs to float32 before it decodes them."""

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, **kwargs: object
    ) -> Mapping[str, tf.Tensor | Mapping[str, tf.Tensor]]:
        """Raw outputs; in inference also the detections."""
        raw = self.head(self.backbone(inputs, training=training), training=training)
        raw = tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), raw)
        outputs: dict[str, tf.Tensor | Mapping[str, tf.Tensor]] = {"raw_output": raw}
        if not training:
            outputs.update(self.detection_generator(raw))
        return outputs


def build_model(config: CenterNetTask) -> CenterNetModel:
    """The model of a task whose input size and number of classes are known.

    Input: float32 [B, height, width, 3], normalised by `input_pipeline.normalize`.
    """
    model = config.model
    with garden.repaired_hourglass(model.norm_activation, NearestUpsampling):
        backbone = factory.build_backbone(
            input_specs=tf_keras.layers.InputSpec(shape=[None, *model.input_size]),
            backbone_config=model.backbone,
            norm_activation_config=model.norm_activation,
        )
    for layer in _batch_norms(backbone):
        layer.momentum = REFERENCE_MOMENTUM if model.reference_bn else model.norm_activation.norm_momentum
    head = centernet_head.CenterNetHead(
        input_specs=backbone.output_specs,
        task_outputs={"ct_heatmaps": model.num_classes, "ct_offset": 2, "ct_size": 2},
        input_levels=list(model.head.input_levels),
        heatmap_bias=model.head.heatmap_bias,
    )
    decoding = model.detection_generator
    height, width = model.input_size[:2]
    cells = (height // STRIDE) * (width // STRIDE) * model.num_classes
    generator = detection_generator.CenterNetDetectionGenerator(
        # A tiny map can have fewer cells than the requested detections, and top_k would refuse.
        max_detections=min(decoding.max_detections, cells),
        peak_error=decoding.peak_error,
        peak_extract_kernel_size=decoding.peak_extract_kernel_size,
        class_offset=0,
        net_down_scale=STRIDE,
        input_image_dims=(height, width),
        dtype=tf.float32,
    )
    return CenterNetModel(backbone=backbone, head=head, detection_generator=generator)


def _batch_norms(model: tf_keras.Model) -> list[tf_keras.layers.Layer]:
    return [m for m in model.submodules if isinstance(m, tf_keras.layers.BatchNormalization)]
