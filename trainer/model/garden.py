"""The only module that touches private parts of Model Garden's network.

If a release of Model Garden moves them, tests/trainer/model/test_garden.py fails and describes what to change here.
"""

import contextlib
import threading
import types
from collections.abc import Callable, Iterator

import tensorflow as tf
import tf_keras
from official.projects.centernet.modeling.backbones import hourglass
from official.projects.centernet.modeling.layers import cn_nn_blocks
from official.vision.configs import common
from official.vision.modeling.decoders import fpn

_PATCH = threading.Lock()


@contextlib.contextmanager
def repaired_hourglass(norm: common.NormActivation, upsampling: Callable[[], tf_keras.layers.Layer]) -> Iterator[None]:
    """While active, Model Garden's Hourglass builds blocks that honour the normalisation settings.

    Hourglass.__init__ uses `cn_nn_blocks.HourglassBlock` and passes no norm arguments, and the block builds its inner
    blocks through `type(self)`. Substituting that name reaches both without copying the code.

    Args:
      norm: settings for every block.
      upsampling: makes the layer that doubles a map.
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
                self.upsample_layer = upsampling()

    with _PATCH:
        original = hourglass.cn_nn_blocks
        hourglass.cn_nn_blocks = types.SimpleNamespace(HourglassBlock=HourglassBlock)
        try:
            yield
        finally:
            hourglass.cn_nn_blocks = original


@contextlib.contextmanager
def repaired_fpn(upsampling: Callable[[], tf_keras.layers.Layer]) -> Iterator[None]:
    """While active, Model Garden's FPN doubles its maps with a layer of ours.

    Args:
      upsampling: makes that layer.
    """
    with _PATCH:
        original = fpn.spatial_transform_ops
        fpn.spatial_transform_ops = types.SimpleNamespace(
            nearest_upsampling=lambda features, scale, use_keras_layer: upsampling()(features)
        )
        try:
            yield
        finally:
            fpn.spatial_transform_ops = original
