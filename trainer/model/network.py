"""Builds the network: Model Garden's Hourglass, heads and decoder, with four repairs.

1. Decoding runs in float32 whatever the training policy (in bfloat16 it costs a fifth of the AP).
2. Every batch normalisation has the configured momentum, epsilon and sync setting; Model Garden's
   HourglassBlock ignores them in 50 of 60 layers.
3. Nearest upsampling is concatenation and reshape, because ResizeNearestNeighborGrad has no XLA kernel.
4. Class indices come out 0-based: the label map belongs to the data, not to the decoder.

Variables and their checkpoint names stay Model Garden's.
"""

import contextlib
import threading
import types
from collections.abc import Iterator, Mapping

import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling import centernet_model
from official.projects.centernet.modeling.backbones import hourglass
from official.projects.centernet.modeling.heads import centernet_head
from official.projects.centernet.modeling.layers import cn_nn_blocks, detection_generator
from official.vision.configs import common
from official.vision.modeling.backbones import factory

from trainer.config.experiment import STRIDE, CenterNetTask

__all__ = ["STRIDE"]

REFERENCE_MOMENTUM = 0.1
"""What 50 of the 60 layers of the published models have, whatever their configuration says."""
_PATCH = threading.Lock()


class NearestUpsampling(tf_keras.layers.Layer):
    """[B, H, W, C] to [B, 2H, 2W, C], equal to UpSampling2D(2, "nearest"), with an XLA gradient."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Repeats every row and column."""
        height, width, channels = x.shape[1:]
        # Every pixel beside itself, then every row below itself. The gradient is two sums of halves: that of a
        # broadcast is a sum over inner axes, which takes a CPU 6 to 7 times as long.
        x = tf.reshape(tf.concat([x, x], axis=3), [-1, height, 2 * width * channels])
        return tf.reshape(tf.concat([x, x], axis=2), [-1, 2 * height, 2 * width, channels])


class CenterNetModel(centernet_model.CenterNetModel):
    """Model Garden's model; raw outputs are cast to float32 before anything is decoded."""

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, **kwargs: object
    ) -> Mapping[str, tf.Tensor | Mapping[str, tf.Tensor]]:
        """Raw outputs, and in inference the detections as well."""
        raw = self._head(self._backbone(inputs, training=training), training=training)
        raw = tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), raw)
        outputs: dict[str, tf.Tensor | Mapping[str, tf.Tensor]] = {"raw_output": raw}
        if not training:
            outputs.update(self._detection_generator(raw))
        return outputs


def build_model(config: CenterNetTask) -> CenterNetModel:
    """The model of a task whose input size and classes are known.

    Input: float32 [B, height, width, 3], normalised by `input_pipeline.normalize`.
    """
    model = config.model
    with _configured_hourglass_blocks(model.norm_activation):
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
        # A tiny map can have fewer cells than detections asked for; top_k would refuse.
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


@contextlib.contextmanager
def _configured_hourglass_blocks(norm: common.NormActivation) -> Iterator[None]:
    """While active, Model Garden's Hourglass builds blocks that honour the normalisation settings.

    Hourglass.__init__ names `cn_nn_blocks.HourglassBlock` and passes no norm arguments, and the block
    builds its inner ones through `type(self)`; substituting the name reaches both without a copy.
    """

    class HourglassBlock(cn_nn_blocks.HourglassBlock):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(
                **kwargs,
                use_sync_bn=norm.use_sync_bn,
                norm_momentum=norm.norm_momentum,
                norm_epsilon=norm.norm_epsilon,
            )

        def build(self, input_shape: tf.TensorShape) -> None:
            super().build(input_shape)
            if self._num_stages:
                self.upsample_layer = NearestUpsampling()

    with _PATCH:
        original = hourglass.cn_nn_blocks
        hourglass.cn_nn_blocks = types.SimpleNamespace(HourglassBlock=HourglassBlock)
        try:
            yield
        finally:
            hourglass.cn_nn_blocks = original
