"""The environment of the model server: kserve and a TensorFlow without CUDA."""

import sys
from pathlib import Path

from trainer.shared import own_environment

LOCK = Path(__file__).with_name("requirements-serve.lock")
FOLDER = ".venv-serve"


def ensure(folder: str = FOLDER) -> str:
    """Creates the environment from its lock with this Python, unless an up-to-date one exists.

    Returns:
      The path of its interpreter.

    Raises:
      InputError: it can't be created.
    """
    return own_environment.ensure(
        folder,
        lock=LOCK,
        python=sys.executable,
        content="kserve and TensorFlow: about 400 MB to download, 1.8 GB on disk; once",
        needs="this needs uv and access to a package index",
    )
