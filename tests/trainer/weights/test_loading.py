"""Starting from other weights: Model Garden's layout, shapes that differ, and the Object Detection API's archives."""

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.centernet.configs import centernet as shipped_config
from official.projects.centernet.modeling.layers import cn_nn_blocks
from official.projects.centernet.tasks.centernet import CenterNetTask as ShippedTask
from official.vision.modeling.backbones import mobilenet
from official.vision.modeling.layers import nn_blocks

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.init_weights import SUMMARY, init_weights, main
from trainer.model import network
from trainer.training import checkpoints
from trainer.training.run import train
from trainer.weights import loading

TWO_STACKS = (
    TINY_CONFIG.replace("num_hourglasses: 1", "num_hourglasses: 2")
    .replace("['2']", "['2_0', '2']")
    .replace("model_id: 10", "model_id: 20")  # Model Garden's converter takes one inner block for a nested hourglass
)
WIDER = TWO_STACKS.replace("input_channel_dims: 4", "input_channel_dims: 8")


def drawn(model: Any, seed: int) -> None:
    """Draws every weight, batch statistics included."""
    rng = np.random.default_rng(seed)
    for part in (model.backbone, model.head):
        part.set_weights([rng.uniform(0.1, 1.0, w.shape).astype(np.float32) for w in part.get_weights()])


def build(config: str, classes: int, seed: int) -> network.CenterNetModel:
    """A model of ours whose every weight is drawn."""
    task = build_experiment(parse_config(config)).task
    task.model.num_classes = classes
    model = network.build_model(task)
    drawn(model, seed)
    return model


def same(a: Any, b: Any) -> list[bool]:
    return [np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True)]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """Model Garden's own model of 7 classes, and its checkpoint as Model Garden's trainer writes it."""
    config = shipped_config.CenterNetTask()
    config.model.num_classes, config.model.input_size = 7, [32, 64, 3]
    hourglass = config.model.backbone.hourglass
    hourglass.model_id, hourglass.input_channel_dims, hourglass.num_hourglasses = 10, 4, 1
    config.model.head.input_levels = ["2"]
    model = ShippedTask(config).build_model()
    drawn(model, seed=1)
    optimizer = tf_keras.optimizers.legacy.Adam()
    create_slots(optimizer, model.trainable_variables)
    checkpoint = tf.train.Checkpoint(
        global_step=tf.Variable(5, dtype=tf.int64), model=model, optimizer=optimizer, **model.checkpoint_items
    )
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path_factory.mktemp("garden")), max_to_keep=1)
    return model, str(Path(manager.save(5)).parent)


def test_matching_heads_are_taken_and_others_are_named(coco: tuple[Any, str]) -> None:
    original, folder = coco
    target = build(TINY_CONFIG, 3, seed=2)
    fresh = target.head.get_weights()
    prefix = tf.train.latest_checkpoint(folder)
    assert loading.find_checkpoint(f"{prefix}.index") == loading.find_checkpoint(folder) == prefix
    transfer = loading.load(folder, "matching", target)
    assert all(same(target.backbone, original.backbone))
    taken = [np.array_equal(a, b) for a, b in zip(target.head.get_weights(), fresh, strict=True)]
    assert sum(taken) == len(transfer.misfits) == 2, "kernel and bias of the layer with one channel a class"
    assert all("[1, 1, 8, 7], here [1, 1, 8, 3]" in m or "[7], here [3]" in m for m in transfer.misfits)
    assert len(transfer.loaded) + 2 == len(target.backbone.weights) + len(target.head.weights)
    assert not transfer.absent


def test_a_training_on_other_classes_starts_from_them(
    coco: tuple[Any, str], records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three classes after seven. The learning rate is 0: what the folder holds at the end is what it began with."""
    original, folder = coco
    override = (
        f"task.init_checkpoint={folder},task.init_checkpoint_modules=matching,trainer.train_steps=2,"
        "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=0.0"
    )
    train(records=str(records_folder), output=str(tmp_path), config=TINY_CONFIG, params_override=override)
    assert re.search(r"fresh, because of another shape: .*\[7\], here \[3\]", capsys.readouterr().out)
    started = build(TINY_CONFIG, 3, seed=2)
    checkpoints.restore_weights(str(tmp_path), started)
    for ours, theirs in zip(started.head.weights, original.head.weights, strict=True):
        assert np.array_equal(ours, theirs) == (ours.shape == theirs.shape), ours.name
    # Three channels: the bias that the class layer starts with.
    assert any(np.array_equal(w, np.full(3, -2.19, np.float32)) for w in started.head.get_weights())
    trained, given = started.backbone.trainable_variables, original.backbone.trainable_variables
    assert all(np.array_equal(a, b) for a, b in zip(trained, given, strict=True))


def test_all_refuses_other_shapes_and_changes_nothing(coco: tuple[Any, str]) -> None:
    target = build(TINY_CONFIG, 3, seed=2)
    before = target.backbone.get_weights()
    with pytest.raises(InputError, match=r"doesn't fit all: of another shape: .*\[7\], here \[3\]"):
        loading.load(coco[1], "all", target)
    assert all(np.array_equal(a, b) for a, b in zip(before, target.backbone.get_weights(), strict=True))


def test_another_backbone_is_refused_with_names(coco: tuple[Any, str]) -> None:
    target = build(TINY_CONFIG.replace("input_channel_dims: 4", "input_channel_dims: 8"), 7, seed=2)
    with pytest.raises(InputError, match=r"of another shape: .*kernel.* and \d+ more"):
        loading.load(coco[1], "backbone", target)
    with pytest.raises(InputError, match=r"not in the checkpoint: .* and \d+ more"):
        loading.load(coco[1], "backbone", build(TWO_STACKS, 7, seed=2))


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


@pytest.mark.slow
def test_an_archive_with_other_classes_gives_backbone_and_matching_heads(
    archive: tuple[network.CenterNetModel, Path], tmp_path: Path
) -> None:
    original, path = archive
    transfer = init_weights(
        source=str(path), output=str(tmp_path), config=TWO_STACKS, modules="matching", num_classes=2
    )
    assert len(transfer.misfits) == 4, "kernel and bias on both stacks"
    target = build(TWO_STACKS, 2, seed=4)
    loading.load(str(tmp_path), "all", target)
    assert all(same(target.backbone, original.backbone))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from", "nowhere"], "nowhere: no checkpoint there"),
        (["--from", "nowhere.tar.gz"], "nowhere.tar.gz: can't be unpacked"),
        (["--modules", "all"], "--num_classes 0"),
        (["--num_classes", "4", "--records", "x"], "give one of them"),
        (["--to", "/proc/init"], "--to /proc/init: can't be written: "),
        (["--modules", "all", "--num_classes", "4"], r"[5], here [4]"),
        (["--config_file", "wider.yaml"], "doesn't fit task.model (Hourglass 20 x 2)"),
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
    defaults = {"--from": str(archive[1]), "--to": "init", "--config_file": "two.yaml"}
    given = defaults | dict(zip(flags[::2], flags[1::2], strict=True))
    assert main([part for pair in given.items() for part in pair]) == 2
    assert message in capsys.readouterr().err
    assert not Path("init", SUMMARY).exists()
