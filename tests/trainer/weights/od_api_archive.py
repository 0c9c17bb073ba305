"""Archives as the Object Detection API's, made from a network of ours."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from official.projects.centernet.modeling.layers import cn_nn_blocks
from official.vision.modeling.backbones import mobilenet
from official.vision.modeling.layers import nn_blocks

from trainer.model import network


def write_archive(model: network.CenterNetModel, folder: Path) -> Path:
    """A .tar.gz with a checkpoint of these weights."""
    values = od_api_values(model)
    names = sorted(values)
    (folder / "extremenet").mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(folder / "extremenet" / "ckpt-1"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[values[name] for name in names],
    )
    with tarfile.open(folder / "extremenet.tar.gz", "w:gz") as tar:
        tar.add(folder / "extremenet", "extremenet")
    return folder / "extremenet.tar.gz"


def od_api_values(model: network.CenterNetModel) -> dict[str, np.ndarray]:
    """The weights of a model of two stacks under the names of the Object Detection API's checkpoints.

    Written from the layers' attributes, so that a wrong order in Model Garden's converter would show.
    """
    values: dict[str, np.ndarray] = {}

    def put(name: str, **variables: tf.Variable) -> None:
        values.update({f"{name}/{key}": variable.numpy() for key, variable in variables.items()})

    def norm(name: str, layer: Any) -> None:
        put(
            name,
            gamma=layer.gamma,
            beta=layer.beta,
            moving_mean=layer.moving_mean,
            moving_variance=layer.moving_variance,
        )

    def conv_bn(name: str, layer: Any) -> None:
        put(f"{name}/conv", kernel=layer._conv0.kernel)
        norm(f"{name}/norm", layer._norm0)

    def residual(name: str, layer: Any) -> None:
        if layer._use_projection:
            put(f"{name}/skip/conv", kernel=layer._shortcut.kernel)
            norm(f"{name}/skip/norm", layer._norm0)
        put(f"{name}/conv_block/conv", kernel=layer._conv1.kernel)
        norm(f"{name}/conv_block/norm", layer._norm1)
        put(f"{name}/conv", kernel=layer._conv2.kernel)
        norm(f"{name}/norm", layer._norm2)

    def chain(name: str, block: Any) -> None:
        for i, layer in enumerate(block.layers):
            residual(f"{name}/{i}", layer)

    def hourglass(name: str, block: Any) -> None:
        chain(f"{name}/encoder_block1", block.encoder_block1)
        chain(f"{name}/encoder_block2", block.encoder_block2)
        chain(f"{name}/decoder_block", block.decoder_block)
        if block.inner_hg._num_stages:
            hourglass(f"{name}/inner_block/0", block.inner_hg)
        else:
            chain(f"{name}/inner_block", block.inner_hg.blocks)

    kinds = (mobilenet.Conv2DBNBlock, cn_nn_blocks.HourglassBlock, nn_blocks.ResidualBlock)
    layers = [layer for layer in model.backbone.layers if isinstance(layer, kinds)]
    network = "model/_feature_extractor/_network"
    names = ["downsample_input/conv_block", "downsample_input/residual_block", "hourglass_network/0", "output_conv/0"]
    names += ["intermediate_conv1/0", "intermediate_conv2/0", "intermediate_residual/0", "hourglass_network/1"]
    names += ["output_conv/1"]
    for name, layer in zip(names, layers, strict=True):
        write = {mobilenet.Conv2DBNBlock: conv_bn, nn_blocks.ResidualBlock: residual}.get(type(layer))
        if write:
            write(f"{network}/{name}", layer)
        else:
            hourglass(f"{network}/{name}", layer)
    heads = [layer for layer in model.head.layers if isinstance(layer, cn_nn_blocks.CenterNetHeadConv)]
    head_names = [f"{kind}/{i}" for kind in ("object_center", "box.Soffset", "box.Sscale") for i in (0, 1)]
    for name, layer in zip(head_names, heads, strict=True):
        first, second = layer.conv1, layer.conv2
        for i, conv in enumerate((first, second)):
            put(f"model/_prediction_head_dict/{name}/layer_with_weights-{i}", kernel=conv.kernel, bias=conv.bias)
    return {f"{name}/.ATTRIBUTES/VARIABLE_VALUE": value for name, value in values.items()}
