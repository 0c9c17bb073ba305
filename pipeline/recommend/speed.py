"""How fast is the training? Measured on this machine; stated for hardware that isn't at hand."""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from components.support.stage import threads
from pipeline.preflight.processes import child_environment
from pipeline.recommend.choices import Speed
from pipeline.recommend.hardware import USED, Hardware

SECONDS = 10.0
"""Duration of the trial, after TensorFlow was imported and the step was built."""
PARALLEL = 0.9
"""Fraction of the processors' time that a training uses: 1.8 of 2 were measured."""
START_SECONDS = {"gpu": 60.0, "tpu": 300.0}
"""Before the first step: imports, and the compilation for a TPU (docs/benchmarks.md). Stated, not measured."""


def stated(hardware: Hardware, network: str) -> Speed:
    """Speed of hardware that isn't at hand."""
    return Speed(
        pixels_per_second=hardware.pixels_per_second(network),
        start_seconds=START_SECONDS[hardware.name.partition(":")[0]],
        origin=f"stated, not measured: {USED:.0%} of {hardware.peak / 1e12:,.0f} TFLOP/s",
    )


def measured(config: str, num_classes: int, pixels: int, known: Path | None = None) -> Speed:
    """Times a configuration's step on this machine.

    Args:
      config: YAML text that stands alone.
      num_classes: of the data.
      pixels: images times pixels of a step.
      known: a file of earlier trials, which are not repeated: equal data then give an equal configuration.

    Raises:
      InputError: the configuration is wrong.
      RuntimeError: the trial itself failed.
    """
    key = hashlib.sha256(f"{config} {num_classes} {threads()}".encode()).hexdigest()[:16]
    trials = _read(known)
    if key not in trials:
        print(f"trial                {SECONDS:.0f} s of training steps, to measure this machine", file=sys.stderr)
        trials[key] = _trial(config, num_classes)
        if known:
            write_text(str(known), json.dumps(trials, indent=1) + "\n")
    return speed_of(trials[key], pixels, threads())


def speed_of(trial: dict[str, Any], pixels: int, processors: int) -> Speed:
    """The speed that a trial shows. On a busy machine, what its CPU time would be if nothing else ran."""
    seconds, start = trial["seconds"], trial["start_seconds"]
    alone = trial["cpu_seconds"] / (processors * PARALLEL)
    origin = f"measured here on {processors} processors"
    if trial["busy"] and alone < seconds:
        origin = f"from {trial['cpu_seconds']:.2g} CPU s measured here; while others use it, {seconds:.2g} s"
        seconds, start = alone, min(start, trial["start_cpu_seconds"])
    return Speed(pixels_per_second=pixels / seconds, start_seconds=start, origin=origin)


def _trial(config: str, num_classes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="centernet-trial-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(config, encoding="utf-8")
        flags = [f"--config-file={file}", f"--num-classes={num_classes}", f"--seconds={SECONDS}"]
        found = subprocess.run(
            [sys.executable, "-m", "trainer.trial", *flags],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    lines = found.stderr.strip().splitlines() or [f"exit code {found.returncode}"]
    if found.returncode == 2:
        raise InputError(lines[-1].removeprefix("error: ").replace(f"{file}: ", ""))
    if found.returncode:
        raise RuntimeError("the trial of a training step failed:\n" + "\n".join(lines[-15:]))
    result: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


def _read(known: Path | None) -> dict[str, Any]:
    if known is None or not known.is_file():
        return {}
    try:
        trials: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
    except ValueError:  # written by another version, or cut: measured again
        return {}
    return trials
