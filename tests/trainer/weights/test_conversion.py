"""Archives of the Object Detection API: converted, or refused if they don't fit."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.projects.centernet.modeling.layers import cn_nn_blocks
from official.vision.modeling.backbones import mobilenet
from official.vision.modeling.layers import nn_blocks

from tests.trainer.families import family_config
from tests.trainer.weights.models import TWO_STACKS, build, same
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.init_weights import main
from trainer.model import network
from trainer.weights import conversion, loading
from trainer.weights.conversion import SUMMARY

WIDER = TWO_STACKS.replace("input_channel_dims: 4", "input_channel_dims: 8")


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


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[network.CenterNetModel, Path]:
    folder = tmp_path_factory.mktemp("od-api")
    model = build(TWO_STACKS, 5, seed=3)
    values = od_api_values(model)
    prefix = str(folder / "extremenet" / "ckpt-1")
    (folder / "extremenet").mkdir()
    names = sorted(values)
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=[values[n] for n in names]
    )
    with tarfile.open(folder / "extremenet.tar.gz", "w:gz") as tar:
        tar.add(folder / "extremenet", "extremenet")
    return model, folder / "extremenet.tar.gz"


@pytest.mark.slow
def test_an_archive_with_other_classes_gives_backbone_and_matching_heads(
    archive: tuple[network.CenterNetModel, Path], tmp_path: Path
) -> None:
    original, path = archive
    transfer = conversion.convert(
        source=str(path),
        output=str(tmp_path),
        task=build_experiment(parse_config(TWO_STACKS)).task,
        build_model=network.build_model,
        modules="matching",
        num_classes=2,
    )
    assert len(transfer.misfits) == 4, "kernel and bias on both stacks"
    target = build(TWO_STACKS, 2, seed=4)
    loading.load(str(tmp_path), "all", target)
    assert all(same(target.backbone, original.backbone))


def test_an_object_detection_archive_is_converted(
    archive: tuple[network.CenterNetModel, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, path = archive
    config = tmp_path / "config.yaml"
    config.write_text(TWO_STACKS)
    output = tmp_path / "init"
    flags = ["--from", str(path), "--to", str(output), "--config_file", str(config)]
    assert main([*flags, "--modules", "all", "--num_classes", "5"]) == 0
    assert str(output) in capsys.readouterr().out
    target = build(TWO_STACKS, 5, seed=4)
    loading.load(str(output), "all", target)
    assert all(same(target.backbone, original.backbone))
    assert all(same(target.head, original.head))
    summary = json.loads((output / SUMMARY).read_text())
    assert len(summary["loaded"]) == len(target.backbone.weights) + len(target.head.weights)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from", "nowhere"], "nowhere: no checkpoint there"),
        (["--from", "nowhere.tar.gz"], "nowhere.tar.gz: can't be unpacked"),
        (["--modules", "all"], "--num-classes 0"),
        (["--num_classes", "4", "--records", "x"], "give one of them"),
        (["--to", "/proc/init"], "--to /proc/init: can't be written: "),
        (["--modules", "all", "--num_classes", "4"], r"[5], here [4]"),
        (["--config_file", "wider.yaml"], "doesn't fit task.model (Hourglass 20 x 2)"),
        (["--config_file", "resnet.yaml"], "task.model.backbone.type is resnet; give a configuration with the hourgl"),
    ],
)
def test_bad_input_is_exit_code_2(
    archive: tuple[network.CenterNetModel, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(TWO_STACKS)
    Path("wider.yaml").write_text(WIDER)
    Path("resnet.yaml").write_text(family_config("resnet"))
    defaults = {"--from": str(archive[1]), "--to": "init", "--config_file": "two.yaml"}
    given = defaults | dict(zip(flags[::2], flags[1::2], strict=True))
    assert main([part for pair in given.items() for part in pair]) == 2
    assert message in capsys.readouterr().err
    assert not Path("init", SUMMARY).exists()
