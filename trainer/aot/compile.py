"""Compiles the training step for TPU topologies, or writes it for a machine that has JAX and no TensorFlow.

A step is exported from TensorFlow and converted to StableHLO once per batch size, then compiled once per topology. Each
result lies in a file with a digest of all that it depends on, and is reused while the digest is the same.
"""

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_bytes, write_text
from trainer.aot import environment as jax_environment
from trainer.aot import xla
from trainer.aot.report import sentence
from trainer.aot.xla_process import RUNNER, run_xla, wait
from trainer.config.sections import parse_config

REPORT = "report.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Identifies a step: enough to export it in a separate process."""

    config: str
    """YAML text."""

    params_override: str = ""
    precision: str = ""
    """Overrides the configuration's precision."""

    records: str = ""
    """Folder whose manifest gives the capacity of the targets. "" uses the three fields below."""

    num_classes: int = 0
    max_cells: int = 0
    max_objects: int = 0


def compile_step(
    step: Step,
    *,
    topologies: list[str],
    batches: list[int],
    output: str,
    environment: str,
    python: str,
    search: bool = False,
) -> dict[str, Any]:
    """Exports the step for each batch and compiles it for each topology.

    Args:
      step: the step.
      topologies: libtpu's names, such as `v5e:2x2`.
      batches: images per core.
      output: folder for the steps and `report.json`.
      environment: folder of the JAX environment.
      python: version or path of the interpreter to create it with.
      search: also try twice the largest batch, then twice that, while a topology has room for it.

    Returns:
      The content of `report.json`: `results` has a row per topology and batch, see `xla.compile_for`.

    Raises:
      InputError: the configuration, a topology, or the environment.
      CompileError: the compiler refuses the step for another reason than memory.
    """
    _check(batches)
    interpreter = jax_environment.ensure(environment, python=python)
    descriptions = []

    def compiled(batch: int, wanted: list[str]) -> list[dict[str, Any]]:
        folder, description = _exported(step, batch, Path(output), interpreter)
        descriptions.append(description)
        return [_compiled(folder, description["digest"], topology, batch, interpreter) for topology in wanted]

    rows = explore(batches, topologies, compiled, search=search)
    description = descriptions[-1]
    report = {
        "precision": description["precision"],
        "parameters": description["parameters"],
        "image_size": description["image_size"],
        "configured_batch": description["configured_batch"],
        "results": rows,
    }
    write_text(str(Path(output) / REPORT), json.dumps(report, indent=1) + "\n")
    return report


def explore(
    batches: list[int],
    topologies: list[str],
    compiled: Callable[[int, list[str]], list[dict[str, Any]]],
    *,
    search: bool,
) -> list[dict[str, Any]]:
    """The rows of all batches, smallest first. A topology that a batch doesn't fit gets no larger one.

    Args:
      batches: images per core.
      topologies: their names.
      compiled: from a batch and topologies to a row for each, with "topology" and "fits".
      search: continue with twice the largest batch, then twice that, while it fits.
    """
    rows: list[dict[str, Any]] = []
    waiting, left = sorted(set(batches)), list(topologies)
    while waiting and left:
        batch = waiting.pop(0)
        found = compiled(batch, left)
        rows += found
        left = [row["topology"] for row in found if row["fits"]]
        if search and not waiting:
            waiting.append(2 * batch)
    return rows


def carry(step: Step, *, batches: list[int], output: str, environment: str, python: str) -> list[Path]:
    """Writes one self-contained folder per batch: the StableHLO, its description, and the script that times it.

    Raises:
      InputError: the configuration or the environment.
    """
    _check(batches)
    interpreter = jax_environment.ensure(environment, python=python)
    folders = []
    for batch in batches:
        exported, description = _exported(step, batch, Path(output) / "exported", interpreter)
        folder = Path(output) / f"{description['precision']}-{batch}"
        for source, name in (
            (exported / xla.STABLEHLO, xla.STABLEHLO),
            (exported / xla.DESCRIPTION, xla.DESCRIPTION),
            (Path(xla.__file__), RUNNER),
        ):
            write_bytes(str(folder / name), source.read_bytes())
        folders.append(folder)
    return folders


def _check(batches: list[int]) -> None:
    for batch in batches:
        if batch < 1:
            raise InputError(f"--batch {batch}: set 1 or more images per core")


def _compiled(folder: Path, digest: str, topology: str, batch: int, interpreter: str) -> dict[str, Any]:
    """The row of one topology and batch: compiled now, or earlier with the same code and versions."""
    result, key = folder / f"{topology.replace(':', '-')}.json", [digest, jax_environment.LOCK.read_text()]
    found = json.loads(result.read_text()) if result.exists() else None
    if found is None or found.get("key") != key:
        run_xla(
            interpreter,
            ["compile", str(folder), "--topology", topology, "--result", str(result)],
            f"compiling {batch} images per core for {topology}",
        )
        found = {**json.loads(result.read_text()), "key": key}
        write_text(str(result), json.dumps(found, indent=1) + "\n")
    row = {"batch_per_core": batch, "global_batch": batch * found["cores"], **found}
    row.pop("key")
    print(f"progress: {sentence(row)}", flush=True)
    return row


def _exported(step: Step, batch: int, output: Path, interpreter: str) -> tuple[Path, dict[str, Any]]:
    """The folder of one batch, with the step as StableHLO, and its description."""
    folder = output / f"{step.precision or 'config'}-{batch}"
    print(f"progress: exporting the step for {batch} images (TensorFlow)", flush=True)
    # A separate process returns TensorFlow's gigabytes before the compiler needs its own.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        waiting = pool.apply_async(_export, (step, batch, str(folder)))
        wait(waiting.ready, waiting.wait, f"exporting the step for {batch} images")
        waiting.get()
    description = json.loads((folder / xla.DESCRIPTION).read_text())
    if "updates" not in description:  # the conversion adds them
        run_xla(interpreter, ["convert", str(folder)], f"converting {batch} images to StableHLO")
        description = json.loads((folder / xla.DESCRIPTION).read_text())
    return folder, description


def _export(step: Step, batch: int, folder: str) -> None:
    from trainer.aot.step import Capacity, export_step, manifest_of
    from trainer.data.input_pipeline import load_manifest
    from trainer.training.run import make_experiment

    config = parse_config(step.config)
    if step.records:
        manifest = load_manifest(step.records)
    else:
        model = (config.experiment.get("task") or {}).get("model") or {}
        classes = step.num_classes or model.get("num_classes", 0)
        if not classes:
            raise InputError("--num-classes: the configuration takes it from the records; give it, or --records")
        capacity = {name: value for name in ("max_cells", "max_objects") if (value := getattr(step, name))}
        manifest = manifest_of(config, Capacity(num_classes=classes, **capacity))
    override = step.params_override
    if step.precision:
        # In float16, small gradients become 0 unless the loss is scaled.
        scale = ",runtime.loss_scale=dynamic" if step.precision == "float16" else ""
        override = f"{override}," * bool(override) + f"runtime.mixed_precision_dtype={step.precision}{scale}"
    experiment = make_experiment(step.config, override, manifest, step.records or "--records", "", 0)
    export_step(experiment, manifest, batch=batch, folder=Path(folder))
