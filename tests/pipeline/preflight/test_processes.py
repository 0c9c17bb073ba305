"""The environment of our own processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.preflight.processes import child_environment


def test_our_packages_can_be_imported_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    environment = child_environment()
    assert environment["PYTHONPATH"].endswith(":/somewhere/else")
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "0", "the user's own setting stays"
    program = "import pipeline.preflight.processes, trainer.shared.versions"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
