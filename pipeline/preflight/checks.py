"""What can be known to be wrong before any long work: checked here, answered in one line."""

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import load_annotations

SPLITS = ("train", "val")
DATA = ("train_images", "train_annotations", "val_images", "val_annotations")
"""The pipeline's parameters that name data."""
REPOSITORY = Path(__file__).resolve().parents[2]


class ConfigCheck:
    """Validates all of a config in a process of its own: Model Garden's sections need TensorFlow, whose import takes
    seconds that other checks can use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainer.config", "check", str(path)],
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """
        Raises:
          InputError: the config is wrong.
          RuntimeError: the check itself failed.
        """
        _, errors = self._process.communicate()
        if self._process.returncode == 0:
            return
        lines = errors.strip().splitlines() or [f"exit code {self._process.returncode}"]
        if self._process.returncode == 2:
            raise InputError(lines[-1].removeprefix("error: "))
        raise RuntimeError(f"{self._path}: checking the config failed:\n" + "\n".join(lines[-15:]))

    def stop(self) -> None:
        """Ends the process if something else turned out to be wrong first."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def child_environment() -> dict[str, str]:
    """The environment of our own processes: the repository importable from any folder, output line by line, quiet
    TensorFlow, and oneDNN's convolutions, which TensorFlow leaves off on CPUs without AVX-512."""
    found = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{found}" if found else str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }


def check_data(arguments: Mapping[str, Any]) -> None:
    """Both annotation files parse as COCO, and each names at least one image that is in its folder.

    Raises:
      InputError: one does not.
    """
    for split in SPLITS:
        images, annotations = arguments[f"{split}_images"], arguments[f"{split}_annotations"]
        if not os.path.isdir(images):
            raise InputError(f"--{split}-images {images}: no such folder; give the folder that holds the image files")
        names = load_annotations(annotations).file_names
        if not any(os.path.isfile(os.path.join(images, name)) for name in names):
            raise InputError(
                f"--{split}-images {images}: holds none of the {len(names)} images of {annotations} "
                f"(such as {names[0]!r}); give the folder that holds them"
            )


def check_buckets(parameters: Mapping[str, Any], pipeline_root: str) -> list[str]:
    """Looks whether annotation files, image folders and the bucket of the pipeline root are there.

    Returns:
      What could not be looked at, and why (no permission, no credentials): the first step looks again.

    Raises:
      InputError: one is not there.
    """
    wanted = [(name, parameters.get(name, ""), "folder" if name.endswith("_images") else "file") for name in DATA]
    wanted.append(("pipeline_root", pipeline_root, "bucket"))
    unseen = []
    for name, uri, kind in wanted:
        if not uri.startswith("gs://"):
            continue
        flag = f"--{name.replace('_', '-')}"
        try:
            there = _exists(uri, kind)
        except Exception as error:  # gcsfs and google-auth raise many kinds, and none of them says the data is wrong
            unseen.append(
                f"{flag} {uri}: could not look ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            )
            continue
        if not there:
            raise InputError(f"{flag} {uri}: no such {kind}; give the URI of one that exists")
    return unseen


def _exists(uri: str, kind: str) -> bool:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    try:
        if kind == "bucket":
            # A look into it, not at it: that takes a role which who may read data needn't have, and gcsfs would then
            # call an empty bucket absent.
            filesystem.call("GET", "b/{}/o", path.partition("/")[0], maxResults=1)
            return True
        found = filesystem.info(path)  # not isfile or isdir: those take what may not be looked at for absent
    except FileNotFoundError:
        return False
    return bool((found["type"] == "file") == (kind == "file"))


def check_writable(folder: Path, flag: str) -> None:
    """Makes the folder and a file in it.

    Raises:
      InputError: that is not possible.
    """
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{flag} {folder}: cannot be written ({error.strerror}); choose another folder") from error


def check_texts(arguments: Mapping[str, Any]) -> None:
    """kfp's local runner replaces "python3" by the interpreter's path, in every argument.

    Raises:
      InputError: an argument or folder holds that text.
    """
    for name, value in arguments.items():
        if "python3" in str(value):
            shown = "its text" if name == "config" else value
            raise InputError(
                f"--{name.replace('_', '-')}: {shown} holds 'python3', which kfp's local runner rewrites; "
                "rename it, or use a link of another name"
            )
