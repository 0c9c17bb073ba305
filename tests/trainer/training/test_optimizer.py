"""The moving average of the weights: around loss scaling, exchanged exactly, evaluated, resumed and exported."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import optimization

from tests.trainer.made_records import TINY_CONFIG
from trainer.data import input_pipeline
from trainer.train import main
from trainer.training import checkpoints, distribution
from trainer.training.history import read_history
from trainer.training.optimizer import averaged, create_slots, loss_scaling
from trainer.training.run import make_experiment, train
from trainer.training.task import Task
from trainer.weights import finished

AVERAGE = "/.OPTIMIZER_SLOT/optimizer/average"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
DECAY = 0.5


@pytest.fixture(autouse=True)
def _policy() -> Iterator[None]:
    """A training sets the precision of the whole process; restore it for the next test."""
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("scaled", [False, True], ids=["float32", "loss scaling"])
def test_the_average_follows_the_weights(scaled: bool, compiled: bool) -> None:
    """With loss scaling, Model Garden's order of the two wrappers fails at the first step."""
    variable = tf.Variable([1.0, 2.0])
    inner = tf_keras.optimizers.legacy.SGD(1.0)
    if scaled:
        inner = tf_keras.mixed_precision.LossScaleOptimizer(inner, initial_scale=4.0)
    optimizer = averaged(inner, optimization.EMAConfig(average_decay=DECAY))
    create_slots(optimizer, [variable])
    assert (loss_scaling(optimizer) is inner) == scaled

    @tf.function(jit_compile=compiled)
    def step(gradient: tf.Tensor) -> None:
        optimizer.apply_gradients([(gradient, variable)])

    weight, average = np.array([1.0, 2.0], np.float32), np.zeros(2, np.float32)
    for number, gradient in enumerate(([0.5, 0.25], [-1.0, np.inf], [0.125, 1.0]), start=1):
        if not scaled and not np.isfinite(gradient).all():
            continue
        step(tf.constant(gradient))
        if np.isfinite(gradient).all():
            weight = weight - np.array(gradient, np.float32)
        steps = int(optimizer.iterations.numpy())
        assert steps == number - (not scaled and number > 1), "a skipped step counts, as in Model Garden"
        decay = min(DECAY, (1 + steps) / (10 + steps))
        average = decay * average + (1 - decay) * weight
    np.testing.assert_allclose(variable, weight, rtol=1e-6)
    optimizer.swap_weights()
    np.testing.assert_allclose(variable, average, rtol=1e-6)


def test_an_exchange_changes_no_bit() -> None:
    """By a + b and differences, as in Model Garden, a small number beside a large one is lost."""
    small, large = tf.Variable([1e-12, 3.0]), [1e3, 1e-9]
    optimizer = averaged(tf_keras.optimizers.legacy.SGD(1.0), optimization.EMAConfig())
    create_slots(optimizer, [small])
    optimizer.get_slot(small, "average").assign(large)
    optimizer.swap_weights()
    np.testing.assert_array_equal(small, np.array(large, np.float32))
    optimizer.swap_weights()
    np.testing.assert_array_equal(small, np.array([1e-12, 3.0], np.float32))
    np.testing.assert_array_equal(optimizer.get_slot(small, "average"), np.array(large, np.float32))


@pytest.fixture(scope="module")
def averaged_model(tmp_path_factory: pytest.TempPathFactory, records_folder: Path, val_records_folder: Path) -> Path:
    """As custom-gpu: float16 with dynamic loss scaling, and a moving average. Validated at the end."""
    folder = tmp_path_factory.mktemp("averaged") / "model"
    train(
        records=str(records_folder),
        output=str(folder),
        config=TINY_CONFIG,
        val_records=str(val_records_folder),
        params_override=OVERRIDE,
    )
    return folder


OVERRIDE = (
    f"trainer.optimizer_config.ema.average_decay={DECAY},runtime.mixed_precision_dtype=float16,"
    "runtime.loss_scale=dynamic,trainer.validation_interval=6,"
    "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate=0.01"
)


def _averages(folder: Path, step: int) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / f"ckpt-{step}"))
    names = [name for name in reader.get_variable_to_shape_map() if AVERAGE in name]
    return {name.replace(AVERAGE, ""): reader.get_tensor(name) for name in names}


def _weights(prefix: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith(VALUE)]
    return {name: reader.get_tensor(name) for name in names}


def test_the_average_is_what_is_exported(averaged_model: Path) -> None:
    """`weights/`, which export reads, holds the averages of the last checkpoint, and they aren't its weights."""
    assert finished.read_summary(str(averaged_model))["ema"]  # type: ignore[index]
    averages, kept = _averages(averaged_model, 6), _weights(averaged_model / checkpoints.WEIGHTS)
    raw = _weights(averaged_model / "ckpt-6")
    assert len(averages) > 50
    for name, average in averages.items():
        np.testing.assert_array_equal(kept[name], average, err_msg=name)
    kernels = [name for name in averages if "kernel" in name]
    assert all((raw[name] != kept[name]).any() for name in kernels)
    assert 1e-5 < max(np.abs(raw[name] - kept[name]).max() for name in kernels) < 0.1
    others = [name for name in kept if name not in averages]
    assert others and all("moving_" in name for name in others)
    for name in others:
        np.testing.assert_array_equal(kept[name], raw[name], err_msg=name)


def _losses(prefixes: list[Path], val_records: Path) -> list[float]:
    """Validation losses of the weights that checkpoints hold under the model's own names."""
    manifest = input_pipeline.load_manifest(str(val_records))
    experiment = make_experiment(TINY_CONFIG, OVERRIDE, manifest, str(val_records), str(val_records), 0)
    distribution.set_precision(experiment.runtime)
    task = Task(experiment.task, manifest)
    model = task.build_model()
    saved, batches = tf.train.Checkpoint(**model.checkpoint_items), task.build_inputs(experiment.task.validation_data)
    losses = []
    for prefix in prefixes:
        saved.read(str(prefix)).assert_existing_objects_matched().expect_partial()
        metrics = task.build_metrics()
        for batch in batches:
            task.validation_step(batch, model, metrics)
        losses.append(float(metrics[0].result()))
    return losses


def test_the_average_is_what_is_evaluated(
    averaged_model: Path, val_records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While training and by --mode=eval."""
    prefixes = [averaged_model / checkpoints.WEIGHTS, averaged_model / "ckpt-6"]
    average, other = _losses(prefixes, val_records_folder)
    assert abs(other - average) > 0.005
    assert read_history(str(averaged_model))[-1]["validation_loss"] == pytest.approx(average, rel=1e-4)
    folder, config = tmp_path / "model", tmp_path / "run.yaml"
    shutil.copytree(averaged_model, folder)
    config.write_text(TINY_CONFIG)
    flags = ["--mode=eval", f"--model_dir={folder}", f"--val_records={val_records_folder}"]
    assert main([*flags, f"--config_file={config}", f"--params_override={OVERRIDE}"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("result: ")]
    assert json.loads(line.removeprefix("result: "))["validation_loss"] == pytest.approx(average, rel=1e-4)


@pytest.mark.slow
def test_a_resumed_training_keeps_its_averages(
    averaged_model: Path, records_folder: Path, val_records_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(averaged_model, folder)
    for name in ("train.json", *(path.name for path in folder.glob("ckpt-6.*"))):
        (folder / name).unlink()
    tf.compat.v1.train.update_checkpoint_state(str(folder), str(folder / "ckpt-4"))
    train(
        records=str(records_folder),
        output=str(folder),
        config=TINY_CONFIG,
        val_records=str(val_records_folder),
        params_override=OVERRIDE,
    )
    for found, expected in (
        (_averages(folder, 6), _averages(averaged_model, 6)),
        (_weights(folder / checkpoints.WEIGHTS), _weights(averaged_model / checkpoints.WEIGHTS)),
    ):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-4, err_msg=name)


def test_private_parts_of_the_optimizers_are_where_they_were() -> None:
    """When this fails after an update of tf-models-official or tf_keras, one of these attributes moved.

    Read `official/modeling/optimization/ema_optimizer.py` and `tf_keras/optimizers/legacy/optimizer_v2.py`, adapt
    trainer/training/optimizer.py, the only module that touches them, and change this list.
    """
    inner = tf_keras.optimizers.legacy.Adam()
    shipped = optimization.ExponentialMovingAverage(inner)
    assert shipped._optimizer is inner
    for name in ("_trainable_weights_only", "_model_weights", "_average_weights"):
        assert name in vars(shipped), name
    assert not shipped.has_shadow_copy
    variable = tf.Variable([1.0])
    create_slots(inner, [variable])
    assert inner.get_slot(variable, "m") is not None
