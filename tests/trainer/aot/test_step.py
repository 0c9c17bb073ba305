import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.trainer.made_records import TINY_CONFIG
from trainer.aot import environment as aot_environment
from trainer.aot import step as aot_step
from trainer.aot import xla as aot_xla
from trainer.config.sections import parse_config
from trainer.data.heatmap import Labels
from trainer.training import distribution
from trainer.training.run import make_experiment

CAPACITY = aot_step.Capacity(num_classes=3, max_cells=256, max_objects=4)
REPOSITORY = Path(__file__).parents[3]


def experiment_and_manifest(override: str = "") -> tuple[Any, Any]:
    manifest = aot_step.manifest_of(parse_config(TINY_CONFIG), CAPACITY)
    return make_experiment(TINY_CONFIG, override, manifest, "records", "", 0), manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aot") / "step"
    aot_step.export_step(*experiment_and_manifest(), batch=2, folder=path, with_values=True)
    return path


def test_the_step_takes_what_the_input_pipeline_gives(folder: Path) -> None:
    description = json.loads((folder / aot_step.DESCRIPTION).read_text())
    rules = {rule["name"]: rule for rule in description["inputs"]}
    assert tuple(rules) == ("image", *Labels._fields)
    assert (rules["image"]["shape"], rules["image"]["dtype"]) == ([2, 32, 64, 3], "uint8")
    assert rules["cell_value"]["shape"] == [2, 256]
    assert rules["object_size"]["shape"] == [2, 4, 2]
    # Weights, batch norm's averages, two slots of Adam per weight, and a few counters: all are in the step.
    sizes = [int(np.prod(rule["shape"])) for rule in description["variables"]]
    assert sum(sizes) > 3 * description["parameters"]


def test_synthetic_arguments_fit_the_step(folder: Path, tmp_path: Path) -> None:
    description = json.loads((folder / aot_step.DESCRIPTION).read_text())
    rules = description["inputs"] + description["variables"]
    by_value, by_rule = (aot_xla.synthetic_arguments(path, description) for path in (folder, tmp_path))
    for rule, exact, drawn in zip(rules, by_value, by_rule, strict=True):
        assert list(exact.shape) == list(drawn.shape) == rule["shape"]
        assert exact.dtype == drawn.dtype == np.dtype(rule["dtype"])
        if rule.get("deviation") == 0:
            np.testing.assert_array_equal(exact, drawn)


def test_the_same_step_is_not_exported_twice(folder: Path) -> None:
    before = (folder / aot_step.STEP).stat().st_mtime_ns
    aot_step.export_step(*experiment_and_manifest(), batch=2, folder=folder)
    assert (folder / aot_step.STEP).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("override", "values", "batch"),
    [
        ("", {}, 4),
        ("task.gradient_clip_norm=1.0", {}, 2),
        ("runtime.mixed_precision_dtype=bfloat16", {}, 2),
        ("", {"max_cells": 300}, 2),
        ("", {"crowds": 0}, 2),
    ],
)
def test_what_makes_another_step(override: str, values: dict[str, int], batch: int) -> None:
    experiment, manifest = experiment_and_manifest()
    same = aot_step.digest_of(experiment, manifest, 2)
    other, _ = experiment_and_manifest(override)
    assert same == aot_step.digest_of(*experiment_and_manifest(), 2)
    assert same != aot_step.digest_of(other, dataclasses.replace(manifest, **values), batch)


def precise(precision: str) -> tuple[Any, Any]:
    """The experiment in a precision, and its manifest."""
    scale = ",runtime.loss_scale=dynamic" if precision == "float16" else ""
    return experiment_and_manifest(f"runtime.mixed_precision_dtype={precision}{scale}")


def losses(precision: str, folder: str) -> list[float]:
    """Of eight steps in TensorFlow, from the weights and on the inputs of the step that was exported to a folder."""
    experiment, manifest = precise(precision)
    description = json.loads((Path(folder) / aot_step.DESCRIPTION).read_text())
    tf_keras.utils.set_random_seed(aot_step.SEED)
    distribution.set_precision(experiment.runtime)
    step, specs, *_ = aot_step.build_step(experiment, manifest, 2)
    inputs = [tf.constant(v) for v in aot_xla.synthetic_arguments(Path(folder), description)[: len(specs)]]
    return [float(step(*inputs)) for _ in range(8)]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 5e-3), ("float16", 5e-3)])
def test_the_carried_step_trains_as_tensorflow(tmp_path: Path, precision: str, tolerance: float) -> None:
    """Same weights, batch and augmentation; eight steps in TensorFlow, and eight of the StableHLO under JAX's XLA: the
    losses agree within the relative tolerance."""
    aot_step.export_step(*precise(precision), batch=2, folder=tmp_path, with_values=True)
    # XLA compiles for the tests without its optimisation (conftest.py), and its float16 then rounds otherwise: by 2 %
    # of the loss after eight steps on a CPU with AVX-512. Processes of their own compile as users' do.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}

    def last_line(*command: str) -> Any:
        output = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
        ).stdout
        return json.loads(output.splitlines()[-1])

    python = aot_environment.ensure(str(REPOSITORY / aot_environment.FOLDER))
    last_line(python, aot_xla.__file__, "convert", str(tmp_path))
    carried = last_line(python, aot_xla.__file__, "time", str(tmp_path), "--warm-up=8", "--steps=1", "--repeats=1")
    assert carried["milliseconds"] > 0
    assert carried["flops"] > 1e6
    program = f"import json; from {__name__} import losses; print(json.dumps(losses({precision!r}, {str(tmp_path)!r})))"
    expected = last_line(sys.executable, "-c", program)
    np.testing.assert_allclose(carried["losses"], expected, rtol=tolerance)
    assert len(set(expected)) > 1, "the weights move"
