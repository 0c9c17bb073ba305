"""Environments of their own, made by uv from a lock file, for libraries that don't fit into the project's."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from beam_preprocess.base.errors import InputError

_STAMP = ".installed"
_REPOSITORY = Path(__file__).parents[2]


def ensure(folder: str, *, lock: Path, python: str, content: str, needs: str) -> str:
    """Creates an environment from its lock, unless an up-to-date one exists.

    Args:
      folder: the environment's folder.
      lock: the lock file, with hashes.
      python: a version, which uv finds or downloads, or the path of an interpreter.
      content: what is in it and how large it is, for the progress line.
      needs: what creating it needs, for the message of a failure.

    Returns:
      The path of its interpreter.

    Raises:
      InputError: it can't be created. A half-created environment is never taken for a complete one.
    """
    path, wanted = Path(folder), hashlib.sha256(lock.read_bytes()).hexdigest()
    interpreter, stamp = path / "bin" / "python", path / _STAMP
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return str(interpreter)
    print(f"progress: creating {folder} from {lock.name} ({content})", flush=True)
    stamp.unlink(missing_ok=True)
    uv = _uv()
    _call([uv, "venv", "--quiet", "--allow-existing", "--python", python, folder], folder, needs)
    _call([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(interpreter), str(lock)], folder, needs)
    stamp.write_text(wanted)
    return str(interpreter)


def _uv() -> str:
    """The uv on the path, or the Makefile's."""
    own = _REPOSITORY / ".uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if not found:
        raise InputError("uv: found neither on the path nor in .uv; run `make setup`, or install uv")
    return found


def _call(command: list[str], folder: str, needs: str) -> None:
    python = command[command.index("--python") + 1]
    # A version of pyenv runs only while it is selected.
    selected = {} if os.sep in python else {"PYENV_VERSION": python}
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**selected, "UV_COMPILE_BYTECODE": "1", **os.environ}
    )
    if process.returncode:
        reason = " ".join(process.stderr.split())[-300:]
        raise InputError(f"--environment {folder}: `{' '.join(command[1:3])}` failed ({reason}); {needs}")
