"""The environment of processes that we start."""

import os
from pathlib import Path

from beam_preprocess.base.command import LEGACY_KERAS

_PACKAGES = Path(__file__).resolve().parents[2]
"""Folder that holds our packages: the clone, or site-packages."""


def child_environment() -> dict[str, str]:
    """The environment of our own processes.

    Our packages can be imported from any folder, output arrives line by line, TensorFlow is quiet, loads one Keras and
    uses oneDNN's convolutions, which it leaves off on CPUs without AVX-512.
    """
    found = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "PYTHONPATH": f"{_PACKAGES}{os.pathsep}{found}" if found else str(_PACKAGES),
        "PYTHONUNBUFFERED": "1",
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        **LEGACY_KERAS,
    }
