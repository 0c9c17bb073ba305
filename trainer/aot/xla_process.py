"""Runs `xla.py` in the JAX environment, as a child process whose errors become ours."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from beam_preprocess.base.errors import Failure, InputError
from trainer.aot import xla

RUNNER = "run.py"
"""The name of the script in a carried folder."""
PULSE_SECONDS = 30.0
# Without these, libtpu asks Google's metadata server which machine it runs on. They don't affect what it compiles for.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # a compiler holds no device that another process could need
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class CompileError(Failure):
    """The step can't be compiled; the message is the compiler's."""


def run_xla(interpreter: str, arguments: list[str], doing: str) -> None:
    """Runs the script.

    Args:
      interpreter: of the JAX environment.
      arguments: the script's.
      doing: what it does, for progress lines and messages.

    Raises:
      InputError: the script refused its input.
      CompileError: it failed.
    """
    process = subprocess.Popen(
        [interpreter, str(Path(xla.__file__)), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **_NO_TPU},
    )
    errors: list[str] = []

    def pause(seconds: float) -> None:
        try:
            errors.append(process.communicate(timeout=seconds)[1])
        except subprocess.TimeoutExpired:
            return

    try:
        wait(lambda: process.returncode is not None, pause, doing)
    finally:
        process.kill()
    if process.returncode == 0:
        return
    lines = "".join(errors).splitlines()
    reason = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
    if process.returncode == 2 and reason:
        raise InputError(reason)
    raise CompileError(f"{doing}: {reason or ' '.join(lines[-3:])[-600:] or f'ended with {process.returncode}'}")


def wait(done: Callable[[], bool], pause: Callable[[float], None], doing: str) -> None:
    """Waits until `done`, and prints a line every PULSE_SECONDS.

    Args:
      done: whether the work has ended.
      pause: waits for the work, but not longer than the seconds it is given.
      doing: what the work is.
    """
    started = time.monotonic()
    while True:
        pause(PULSE_SECONDS)
        if done():
            return
        print(f"progress: {doing}, {time.monotonic() - started:.0f} s", flush=True)
