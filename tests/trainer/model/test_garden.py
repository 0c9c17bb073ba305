"""The private parts of Model Garden's network that `trainer/model/garden.py` relies on.

When a test here fails after an update of tf-models-official, Model Garden moved one of them. Read its
`projects/centernet/modeling/backbones/hourglass.py`, `layers/cn_nn_blocks.py` and
`vision/modeling/decoders/fpn.py`, adapt `garden.py`, and change the assertion here. If the block now takes the norm
settings from the Hourglass, and its upsampling has an XLA gradient, delete `garden.repaired_hourglass`.
"""

import inspect
import sys

import pytest
import tf_keras
from official.projects.centernet.modeling.backbones import hourglass
from official.projects.centernet.modeling.layers import cn_nn_blocks
from official.vision.configs import common
from official.vision.modeling.decoders import fpn

from trainer.model import garden


def test_only_the_keras_of_model_garden_is_loaded() -> None:
    """`beam_preprocess.base.command.LEGACY_KERAS`: the other one slows every process down."""
    assert "tf_keras" in sys.modules
    assert "keras" not in sys.modules


def test_the_hourglass_still_finds_its_blocks_through_the_module() -> None:
    assert hourglass.cn_nn_blocks is cn_nn_blocks
    assert "cn_nn_blocks.HourglassBlock(" in inspect.getsource(hourglass.Hourglass)


def test_the_block_still_builds_inner_blocks_of_its_own_type_and_doubles_with_upsample_layer() -> None:
    source = inspect.getsource(cn_nn_blocks.HourglassBlock)
    for part in ("type(self)(", "self._num_stages", "self.upsample_layer"):
        assert part in source, part
    taken = inspect.signature(cn_nn_blocks.HourglassBlock.__init__).parameters
    assert {"use_sync_bn", "norm_momentum", "norm_epsilon"} <= set(taken)


def test_the_substitution_ends_with_the_block_even_after_an_error() -> None:
    def fail() -> None:
        with garden.repaired_hourglass(common.NormActivation(), tf_keras.layers.UpSampling2D):
            assert hourglass.cn_nn_blocks is not cn_nn_blocks
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert hourglass.cn_nn_blocks is cn_nn_blocks


def test_the_fpn_still_doubles_its_maps_through_the_module() -> None:
    assert "spatial_transform_ops.nearest_upsampling(" in inspect.getsource(fpn.FPN)
    original = fpn.spatial_transform_ops
    with garden.repaired_fpn(tf_keras.layers.UpSampling2D):
        assert fpn.spatial_transform_ops is not original
    assert fpn.spatial_transform_ops is original
