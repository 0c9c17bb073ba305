"""The environment that compiles exported steps: JAX and libtpu, which need a newer Python than the trainer."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from beam_preprocess.base.errors import InputError

PYTHON = "3.12"
LOCK = Path(__file__).with_name("requirements-aot.lock")
FOLDER = ".venv-aot"
_STAMP = ".installed"
_FIX = f"this needs uv, Python {PYTHON} (--python PATH) and access to a package index"


def ensure(folder: str = FOLDER, *, python: str = PYTHON) -> str:
    """Creates the environment from its lock, unless an up-to-date one exists.

    Args:
      folder: the environment's folder.
      python: a version, which uv finds or downloads, or the path of an interpreter.

    Returns:
      The path of its interpreter.

    Raises:
      InputError: it can't be created. A half-created environment is never taken for a complete one.
    """
    path, wanted = Path(folder), hashlib.sha256(LOCK.read_bytes()).hexdigest()
    interpreter, stamp = path / "bin" / "python", path / _STAMP
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return str(interpreter)
    print(f"progress: creating {folder} from {LOCK.name} (JAX and libtpu: about 300 MB to download)", flush=True)
    stamp.unlink(missing_ok=True)
    uv = _uv()
    _call([uv, "venv", "--quiet", "--allow-existing", "--python", python, folder], folder)
    _call([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(interpreter), str(LOCK)], folder)
    stamp.write_text(wanted)
    return str(interpreter)


def _uv() -> str:
    """The uv on the path, or the Makefile's."""
    own = LOCK.parents[2] / ".uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if not found:
        raise InputError("uv: found neither on the path nor in .uv; run `make setup`, or install uv")
    return found


def _call(command: list[str], folder: str) -> None:
    # pyenv's python3.12 runs only while that version is selected.
    environment = {"PYENV_VERSION": PYTHON, **os.environ}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if process.returncode:
        reason = " ".join(process.stderr.split())[-300:]
        raise InputError(f"--environment {folder}: `{' '.join(command[1:3])}` failed ({reason}); {_FIX}")
