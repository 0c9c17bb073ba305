"""Builds the network: Model Garden's backbone, perhaps its FPN, its heads and decoder of boxes, with four repairs.

1. Decoding runs in float32 under every training policy (in bfloat16 it costs a fifth of the AP).
2. Every batch normalisation has the configured momentum, epsilon and sync setting; Model Garden's HourglassBlock
   ignores them in 50 of 60 layers.
3. Nearest upsampling is concatenation and reshape, because ResizeNearestNeighborGrad has no XLA kernel, and the FPN's
   tiles have a slow gradient.
4. Class indices are 0-based: the label map belongs to the data, not to the decoder.

Variables and their checkpoint names stay Model Garden's. Layers that no output depends on are left out: a classifier's
last convolution, and what the FPN puts on levels 3 to 5.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling import centernet_model
from official.projects.centernet.modeling.heads import centernet_head
from official.projects.centernet.modeling.layers import detection_generator
from official.vision.modeling.backbones import factory
from official.vision.modeling.decoders import factory as decoder_factory

from trainer.config.experiment import STRIDE, CenterNetTask, Model
from trainer.config.networks import HOURGLASS, LEVELS, Pixels, pixels_of
from trainer.model import depthwise, garden, object_heads

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


@tf.autograph.experimental.do_not_convert
def normalize(image: tf.Tensor, pixels: Pixels) -> tf.Tensor:
    """RGB 0..255 to a network's input.

    Args:
      image: [B, H, W, 3], any numeric type.
      pixels: what the network expects.

    Returns:
      float32 [B, H, W, 3].
    """
    scaled = (tf.cast(image, tf.float32) - tf.constant(pixels.mean)) / tf.constant(pixels.deviation)
    return tf.reverse(scaled, axis=[-1]) if pixels.bgr else scaled


class CenterNetModel(centernet_model.CenterNetModel):
    """Model Garden's model, perhaps with a decoder of features; it casts raw outputs to float32 before it decodes them.

    Args:
      backbone: from pixels to features by level.
      head: from features to the raw outputs.
      detection_generator: from raw outputs to boxes.
      levels: of the features that the head reads, one per stack.
      pixels: what the backbone expects.
      decoder: joins the backbone's levels; None if the backbone does.
    """

    def __init__(
        self,
        backbone: tf_keras.Model,
        head: tf_keras.Model,
        detection_generator: tf_keras.layers.Layer,
        *,
        levels: Sequence[str],
        pixels: Pixels,
        decoder: tf_keras.Model | None = None,
    ) -> None:
        super().__init__(backbone=backbone, head=head, detection_generator=detection_generator)
        self.decoder, self._pixels, self._levels = decoder, pixels, tuple(levels)

    @property
    def checkpoint_items(self) -> dict[str, tf_keras.Model]:
        """The parts of the network, by their names in checkpoints."""
        parts = {"backbone": self.backbone, "decoder": self.decoder, "head": self.head}
        return {name: part for name, part in parts.items() if part is not None}

    def normalize(self, image: tf.Tensor) -> tf.Tensor:
        """RGB 0..255 to the network's input; see the function of this name."""
        return normalize(image, self._pixels)

    def maps(self, inputs: tf.Tensor, training: bool | None = None) -> Mapping[str, list[tf.Tensor]]:
        """The heads' raw outputs, in the precision of the network."""
        return self.maps_and_features(inputs, training)[0]

    @tf.autograph.experimental.do_not_convert
    def at_objects(self, inputs: tf.Tensor, cell: tf.Tensor) -> dict[str, list[tf.Tensor]]:
        """The heads' raw outputs in training, float32: heatmaps as maps, sizes and offsets at the objects' cells.

        Args:
          inputs: as of `call`.
          cell: int32 [B, N], row-major, within the map.

        Returns:
          For each head, one tensor per stack: "ct_heatmaps" [B, H, W, classes], "ct_size" and "ct_offset" [B, N, 2].
        """
        features, _ = self._features(inputs, training=True)
        outputs: dict[str, list[tf.Tensor]] = {"ct_heatmaps": [], "ct_size": [], "ct_offset": []}
        for level in self._levels:
            around = object_heads.surroundings(features[level], cell)
            for name, found in outputs.items():
                head = self.head.get_layer(f"{name}{level}")
                raw = head(features[level]) if name == "ct_heatmaps" else object_heads.at_cells(head, around)
                found.append(tf.cast(raw, tf.float32))
        return outputs

    @tf.autograph.experimental.do_not_convert
    def maps_and_features(
        self, inputs: tf.Tensor, training: bool | None = None
    ) -> tuple[Mapping[str, list[tf.Tensor]], tf.Tensor]:
        """(the heads' raw outputs, [B, h, w, C] the backbone's deepest level), in the precision of the network."""
        features, deepest = self._features(inputs, training)
        return self.head(features, training=training), deepest

    def _features(self, inputs: tf.Tensor, training: bool | None) -> tuple[Mapping[str, tf.Tensor], tf.Tensor]:
        """(what the heads read, by level; the backbone's deepest level)."""
        features = self.backbone(inputs, training=training)
        # "2_0" and "2" of the Hourglass are one level: the last one of the deepest level is the last stack's.
        deepest = features[max(features, key=lambda name: (int(name.split("_")[0]), "_" not in name))]
        if self.decoder is not None:
            features = self.decoder(features, training=training)
        return features, deepest

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, **kwargs: object
    ) -> Mapping[str, tf.Tensor | Mapping[str, tf.Tensor]]:
        """Raw outputs; in inference also the detections and the backbone's deepest features."""
        return self._outputs(inputs, training)

    # Nothing in a network depends on a tensor's value. AutoGraph would rewrite the source of every layer to find that
    # out, which takes half of the time before a process's first step, or of an export.
    @tf.autograph.experimental.do_not_convert
    def _outputs(self, inputs: tf.Tensor, training: bool | None) -> Mapping[str, tf.Tensor | Mapping[str, tf.Tensor]]:
        raw, deepest = tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), self.maps_and_features(inputs, training))
        outputs: dict[str, tf.Tensor | Mapping[str, tf.Tensor]] = {"raw_output": raw}
        if not training:
            outputs.update(self.detection_generator(raw), features=deepest)
        return outputs


# AutoGraph would rewrite the code of all layers, a third of the time; while they are joined, conditions are Python's.
@tf.autograph.experimental.do_not_convert
def build_model(config: CenterNetTask) -> CenterNetModel:
    """The model of a task whose input size and number of classes are known.

    Input: float32 [B, height, width, 3], from the model's `normalize`.
    """
    model = config.model
    backbone = _backbone(model)
    decoder = _decoder(model, backbone) if model.decoder.type else None
    features = backbone if decoder is None else decoder
    for layer in _batch_norms(backbone) + ([] if decoder is None else _batch_norms(decoder)):
        layer.momentum = REFERENCE_MOMENTUM if model.reference_bn else model.norm_activation.norm_momentum
    depthwise.use(backbone)
    head = centernet_head.CenterNetHead(
        input_specs={level: output.shape for level, output in features.output.items()},
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
    return CenterNetModel(
        backbone, head, generator, levels=model.head.input_levels, pixels=pixels_of(model), decoder=decoder
    )


def _backbone(model: Model) -> tf_keras.Model:
    with garden.repaired_hourglass(model.norm_activation, NearestUpsampling):
        whole = factory.build_backbone(
            input_specs=tf_keras.layers.InputSpec(shape=[None, *model.input_size]),
            backbone_config=model.backbone,
            norm_activation_config=model.norm_activation,
        )
    if model.backbone.type == HOURGLASS:
        return whole
    # The layers that are left keep their places in checkpoints, because those that go are the last.
    backbone = tf_keras.Model(whole.input, {level: whole.output[level] for level in LEVELS}, name=model.backbone.type)
    if model.frozen_level:
        for layer in tf_keras.Model(whole.input, whole.output[str(model.frozen_level)]).layers:
            layer.trainable = False  # batch norm then uses its averages, and doesn't change them
    return backbone


def _decoder(model: Model, backbone: tf_keras.Model) -> tf_keras.Model:
    config = SimpleNamespace(
        decoder=model.decoder,
        norm_activation=model.norm_activation,
        min_level=int(LEVELS[0]),
        max_level=int(LEVELS[-1]),
    )
    with garden.repaired_fpn(NearestUpsampling):
        whole = decoder_factory.build_decoder(
            input_specs={level: output.shape for level, output in backbone.output.items()}, model_config=config
        )
    return tf_keras.Model(whole.input, {"2": whole.output["2"]}, name=model.decoder.type)


def _batch_norms(model: tf_keras.Model) -> list[tf_keras.layers.Layer]:
    return [m for m in model.submodules if isinstance(m, tf_keras.layers.BatchNormalization)]
