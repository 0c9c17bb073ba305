"""The environment that compiles exported steps: JAX and libtpu, which need a newer Python than the trainer."""

from pathlib import Path

from trainer.shared import own_environment

PYTHON = "3.12"
LOCK = Path(__file__).with_name("requirements-aot.lock")
FOLDER = ".venv-aot"


def ensure(folder: str = FOLDER, *, python: str = PYTHON) -> str:
    """Creates the environment from its lock, unless an up-to-date one exists; see `own_environment.ensure`.

    Args:
      folder: the environment's folder.
      python: a version, which uv finds or downloads, or the path of an interpreter.

    Returns:
      The path of its interpreter.
    """
    return own_environment.ensure(
        folder,
        lock=LOCK,
        python=python,
        content="JAX and libtpu: about 300 MB to download",
        needs=f"this needs uv, Python {PYTHON} (--python PATH) and access to a package index",
    )
