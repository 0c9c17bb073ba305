"""The training step compiled for hardware that isn't here.

    python -m trainer.aot compile --config_file coco-centernet-hourglass-tpu --topology v5e:2x2 --batch 8 16 32
    python -m trainer.aot compile --config_file mine.yaml --records runs/mine/train-records --topology v3:2x2 --search
    python -m trainer.aot carry --config_file coco-centernet-hourglass-gpu --precision float16 --batch 8 16 32

compile: does the real step (augmentation, network, losses, gradients, clipping, optimizer) compile for this TPU, how
much of a core's memory does it take, and which batch fits? Libtpu's compiler says so without a TPU. The step is that of
one replica: --batch counts images a core, and the all-reduce between cores is not in it.

carry: writes the step for a machine that has JAX and no TensorFlow, with the script that times it there.

Both make their own environment (JAX needs a newer Python) at the first call. What was exported or compiled before by
the same code, configuration and versions is not done again. A full Hourglass-104 takes minutes a batch.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.aot import environment as aot_environment
from trainer.aot import xla as aot_xla
from trainer.aot.report import conclusions, sentence, table
from trainer.config.sections import find_config, parse_config

REPORT = "report.json"
RUNNER = "run.py"
PULSE_SECONDS = 30.0
PRECISIONS = ("float32", "float16", "bfloat16")
# Libtpu asks Google's metadata server what it runs on, unless it is told; nothing of this says what is compiled for.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # a compiler alone holds no device that another process could want
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Which step: enough to export it in a process of its own."""

    config: str
    """YAML text."""

    params_override: str = ""
    precision: str = ""
    """Instead of the configuration's."""

    records: str = ""
    """Folder whose manifest gives the targets' capacity; without one the two below do."""

    num_classes: int = 0
    max_cells: int = 0
    max_objects: int = 0


class CompileError(RuntimeError):
    """The step can't be compiled; the message is the compiler's."""


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
      step: which.
      topologies: libtpu's names, such as `v5e:2x2`.
      batches: images a core.
      output: folder for the steps and `report.json`.
      environment: folder of the JAX environment.
      python: version or path of the interpreter to make it with.
      search: go on with twice the largest batch, and twice that, while it fits a topology.

    Returns:
      The content of `report.json`: `results` has a row for each topology and batch, see `aot_xla.compile_for`.

    Raises:
      InputError: the configuration, a topology, or the environment.
      CompileError: the compiler refuses the step for another reason than memory.
    """
    _check(batches)
    interpreter = aot_environment.ensure(environment, python=python)
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
    """The rows of all batches, smallest first; of a topology that a batch doesn't fit no larger one is tried.

    Args:
      batches: images a core.
      topologies: their names.
      compiled: from a batch and topologies to a row each, with "topology" and "fits".
      search: go on with twice the largest batch, and twice that, while it fits.
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


def _compiled(folder: Path, digest: str, topology: str, batch: int, interpreter: str) -> dict[str, Any]:
    """The row of one topology and batch; compiled now, or before by the same code and versions."""
    result, key = folder / f"{topology.replace(':', '-')}.json", [digest, aot_environment.LOCK.read_text()]
    found = _read(result)
    if found is None or found.get("key") != key:
        _jax(
            interpreter,
            ["compile", str(folder), "--topology", topology, "--result", str(result)],
            f"compiling {batch} images a core for {topology}",
        )
        found = {**json.loads(result.read_text()), "key": key}
        write_text(str(result), json.dumps(found, indent=1) + "\n")
    row = {"batch_per_core": batch, "global_batch": batch * found["cores"], **found}
    row.pop("key")
    print(f"progress: {sentence(row)}", flush=True)
    return row


def carry(step: Step, *, batches: list[int], output: str, environment: str, python: str) -> list[Path]:
    """Writes a folder for each batch, each whole in itself: the StableHLO, its description, and the runner.

    Raises:
      InputError: the configuration or the environment.
    """
    _check(batches)
    interpreter = aot_environment.ensure(environment, python=python)
    folders = []
    for batch in batches:
        exported, description = _exported(step, batch, Path(output) / "exported", interpreter)
        folder = Path(output) / f"{description['precision']}-{batch}"
        folder.mkdir(parents=True, exist_ok=True)
        for source, name in (
            (exported / aot_xla.STABLEHLO, aot_xla.STABLEHLO),
            (exported / aot_xla.DESCRIPTION, aot_xla.DESCRIPTION),
            (Path(aot_xla.__file__), RUNNER),
        ):
            shutil.copyfile(source, folder / f"{name}.tmp")
            (folder / f"{name}.tmp").rename(folder / name)
        folders.append(folder)
    return folders


def _check(batches: list[int]) -> None:
    for batch in batches:
        if batch < 1:
            raise InputError(f"--batch {batch}: set 1 or more images a core")


def _exported(step: Step, batch: int, output: Path, interpreter: str) -> tuple[Path, dict[str, Any]]:
    """The folder of one batch, with the step as StableHLO, and its description."""
    name = f"{step.precision or 'config'}-{batch}"
    folder = output / name
    print(f"progress: exporting the step of {batch} images (TensorFlow)", flush=True)
    # A process of its own gives TensorFlow's gigabytes back before the compiler asks for its own.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        waiting = pool.apply_async(_export, (step, batch, str(folder)))
        _wait(waiting.ready, waiting.wait, f"exporting {batch} images")
        waiting.get()
    description = json.loads((folder / aot_xla.DESCRIPTION).read_text())
    if "updates" not in description:  # what the conversion adds
        _jax(interpreter, ["convert", str(folder)], f"converting {batch} images to StableHLO")
        description = json.loads((folder / aot_xla.DESCRIPTION).read_text())
    return folder, description


def _export(step: Step, batch: int, folder: str) -> None:
    from trainer.aot import step as aot_step
    from trainer.data.input_pipeline import load_manifest
    from trainer.training.run import make_experiment

    config = parse_config(step.config)
    if step.records:
        manifest = load_manifest(step.records)
    else:
        model = (config.experiment.get("task") or {}).get("model") or {}
        classes = step.num_classes or model.get("num_classes", 0)
        if not classes:
            raise InputError("--num_classes: the configuration leaves it to the records; give it, or --records")
        capacity = {name: value for name in ("max_cells", "max_objects") if (value := getattr(step, name))}
        manifest = aot_step.manifest_of(config, aot_step.Capacity(num_classes=classes, **capacity))
    override = step.params_override
    if step.precision:
        # Below half precision's range gradients vanish without a scaled loss.
        scale = ",runtime.loss_scale=dynamic" if step.precision == "float16" else ""
        override = f"{override}," * bool(override) + f"runtime.mixed_precision_dtype={step.precision}{scale}"
    experiment = make_experiment(step.config, override, manifest, step.records or "--records", "", 0)
    aot_step.export_step(experiment, manifest, batch=batch, folder=Path(folder))


def _jax(interpreter: str, arguments: list[str], doing: str) -> None:
    """Runs aot_xla.py; its errors are ours."""
    process = subprocess.Popen(
        [interpreter, aot_xla.__file__, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **_NO_TPU},
    )
    errors: list[str] = []

    def wait(seconds: float) -> None:
        try:
            errors.append(process.communicate(timeout=seconds)[1])
        except subprocess.TimeoutExpired:
            return

    try:
        _wait(lambda: process.returncode is not None, wait, doing)
    finally:
        process.kill()
    if process.returncode == 0:
        return
    lines = "".join(errors).splitlines()
    reason = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
    if process.returncode == 2 and reason:
        raise InputError(reason)
    raise CompileError(f"{doing}: {reason or ' '.join(lines[-3:])[-600:] or f'ended with {process.returncode}'}")


def _wait(done: Any, wait: Any, doing: str) -> None:
    """Waits, with a line every PULSE_SECONDS."""
    started = time.monotonic()
    while True:
        wait(PULSE_SECONDS)
        if done():
            return
        print(f"progress: {doing}, {time.monotonic() - started:.0f} s", flush=True)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 2 for bad input; 1 when the step doesn't compile, or no batch fits a topology."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.aot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (("compile", "for a TPU that isn't here"), ("carry", "to a machine with JAX alone")):
        command = verbs.add_parser(verb, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.add_argument("--config_file", default="coco-centernet-hourglass-tpu", help="YAML file, or a name")
        command.add_argument("--params_override", default="", help="key=value,… or YAML, over the file's values")
        command.add_argument("--precision", default="", choices=("", *PRECISIONS), help="instead of the config's")
        command.add_argument("--records", default="", help="folder of records: their manifest sizes the targets")
        command.add_argument("--num_classes", type=int, default=0, help="without records; 0: the configuration's")
        command.add_argument("--max_cells", type=int, default=0, help="without records: stored cells; 0: 16384")
        command.add_argument("--max_objects", type=int, default=0, help="without records: objects; 0: 128")
        command.add_argument("--batch", type=int, nargs="+", default=[16], help="images a core, several are tried")
        command.add_argument("--output", default=f"runs/aot-{verb}", help="folder to write")
        command.add_argument("--environment", default=aot_environment.FOLDER, help="folder, made when absent")
        command.add_argument("--python", default=aot_environment.PYTHON, help="version or path, to make it with")
        if verb == "compile":
            command.add_argument("--topology", nargs="+", default=["v5e:2x2"], help="v2, v3, v4, v5e, v5p, v6e: …")
            command.add_argument(
                "--search", action="store_true", help="then try twice the largest batch, and so on while it fits"
            )
    flags = parser.parse_args(argv)
    try:
        names = ("params_override", "precision", "records", "num_classes", "max_cells", "max_objects")
        step = Step(config=find_config(flags.config_file).read_text(), **{name: getattr(flags, name) for name in names})
        where = {name: getattr(flags, name) for name in ("output", "environment", "python")}
        if flags.verb == "carry":
            for folder in carry(step, batches=flags.batch, **where):
                print(f"result: {folder}: there, run `python {RUNNER} time .`")
            return 0
        report = compile_step(step, topologies=flags.topology, batches=flags.batch, search=flags.search, **where)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except CompileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(report))
    print("\n".join(conclusions(report)))
    fitting = {row["topology"] for row in report["results"] if row["fits"]}
    return 0 if fitting == set(flags.topology) else 1


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the exporting process inherits it
    sys.exit(main())
