"""Do the initial weights exist, and fit? Asked before any long work."""

import subprocess
import sys
import tempfile
from pathlib import Path

from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from pipeline.preflight.data import exists_in_bucket
from pipeline.preflight.processes import child_environment
from trainer.config.sections import RunConfig
from trainer.weights import catalogue, files


def check_name(config: RunConfig, where: str) -> str:
    """Refuses an unknown name, and weights for another backbone; touches no file.

    Args:
      config: of the run.
      where: its origin, for messages.

    Returns:
      What the training starts from, for people.

    Raises:
      InputError: one of these.
    """
    start = start_of(config)
    try:
        if entry := catalogue.find(start):
            catalogue.check_fits(entry, config.experiment["task"].get("model") or {})
        shown = catalogue.describe(start)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    modules = config.experiment["task"].get("init_checkpoint_modules") or "backbone"
    return f"from {shown} ({modules})" if start else shown


def check_start(config: RunConfig, where: str) -> str:
    """As `check_name`, for a run on this machine: also refuses a cache that can't be written."""
    shown = check_name(config, where)
    if entry := catalogue.find(start_of(config)):
        files.check_cache(entry)
    return shown


def check_in_bucket(config: RunConfig, where: str) -> None:
    """Refuses initial weights that the steps of a service can't read.

    Raises:
      InputError: they have no name, and are not in a bucket.
    """
    start = start_of(config)
    if start and not catalogue.find(start) and not start.startswith("gs://"):
        name = start.rstrip("/").rpartition("/")[2]
        raise InputError(
            f"--config {where}: task.init_checkpoint: {start}: on this machine, which the cloud can't read; copy it to "
            f"a bucket (docs/vertex.md, section 2) and give --init gs://BUCKET/weights/{name}, or --init scratch"
        )


def check_exists(uri: str) -> list[str]:
    """Checks that the initial weights of a run are in their bucket: a folder, or the prefix of a checkpoint.

    Args:
      uri: gs://…; a name, or "" for a training from scratch, is not checked.

    Returns:
      What could not be checked, and why (no permission, no credentials).

    Raises:
      InputError: there is no such folder or checkpoint.
    """
    if not uri.startswith("gs://"):
        return []
    try:
        found = exists_in_bucket(uri) or exists_in_bucket(f"{uri}.index")
    except Exception as error:  # gcsfs and google-auth raise many kinds, and none of them proves the URI wrong
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return [f"task.init_checkpoint {uri}: could not be checked ({reason})"]
    if not found:
        raise InputError(f"task.init_checkpoint {uri}: no such folder or checkpoint; docs/vertex.md shows the copy")
    return []


def start_of(config: RunConfig) -> str:
    """The value of `task.init_checkpoint`."""
    return str(config.experiment["task"].get("init_checkpoint") or "")


def check_weights(config: RunConfig, text: ConfigText, num_classes: int) -> None:
    """Downloads what is named, and loads a checkpoint once into the network, in a process of its own.

    Args:
      config: of the run, after `check_start`.
      text: the same.
      num_classes: of the data.

    Raises:
      InputError: the weights aren't available, are cut, or don't fit the network or the classes.
      RuntimeError: the check itself failed.
    """
    start = start_of(config)
    entry = catalogue.find(start)
    if entry:
        files.fetch(entry)
        if entry.reader in ("lite0", "keras"):
            return  # the digest and `check_start` have shown it
    if not start:
        return
    with tempfile.TemporaryDirectory(prefix="centernet-weights-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(text.text, encoding="utf-8")
        flags = {
            "from": start,
            "config_file": str(file),
            "modules": config.experiment["task"].get("init_checkpoint_modules", "backbone"),
            "num-classes": str(num_classes),
        }
        found = subprocess.run(
            [sys.executable, "-m", "trainer.init_weights", *(f"--{name}={value}" for name, value in flags.items())],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if found.returncode == 2:
        message = found.stderr.strip().splitlines()[-1].removeprefix("error: ")
        raise InputError(f"{text.where}: task.init_checkpoint: {message}")
    if found.returncode:
        raise RuntimeError(f"{text.where}: checking the initial weights failed:\n{found.stderr[-2000:]}")
