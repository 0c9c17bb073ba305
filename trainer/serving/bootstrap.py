"""Runs the model server in its environment, which doesn't have this project installed.

The folder that holds the project may be a site-packages with the trainer's libraries, so it isn't put on the path: the
two packages that the server needs are loaded from their folders by name.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

PACKAGES = ("beam_preprocess", "trainer")


def load_packages(folder: Path) -> None:
    """Makes the project's packages importable."""
    for name in PACKAGES:
        spec = importlib.util.spec_from_file_location(name, folder / name / "__init__.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "__main__":
    load_packages(Path(__file__).parents[2])
    runpy.run_module("trainer.serving", run_name="__main__", alter_sys=True)
