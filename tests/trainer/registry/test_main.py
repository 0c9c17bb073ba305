"""The command `centernet registry`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.registry.test_local import ROOT, make_model
from trainer.registry.__main__ import main
from trainer.registry.local import LocalRegistry


@pytest.fixture
def registry(tmp_path: Path) -> LocalRegistry:
    """Two versions, of which the second is the champion."""
    made, model = LocalRegistry(str(tmp_path / "registry")), make_model(tmp_path / "model")
    for i, ap in enumerate((0.5, 0.625)):
        made.publish(model, {"ap": ap}, key=f"run-{i}")
    made.swap_alias("champion", "v0001", expected=None)
    made.swap_alias("champion", "v0002", expected="v0001")
    return made


def test_verbs(registry: LocalRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--registry", str(registry.root)]
    assert main(["list", *root]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["v0001", "v0002"]
    assert lines[0].endswith("AP 0.5000  previous")
    assert lines[1].endswith("AP 0.6250  champion")
    assert main(["show", *root]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "v0002"
    assert main(["show", "previous", *root]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "v0001"
    assert main(["rollback", *root]) == 0
    assert capsys.readouterr().out == "champion is v0001 again (was v0002)\n"


def test_a_damaged_version(registry: LocalRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--registry", str(registry.root)]
    (registry.root / "versions" / "v0001" / "version.json").unlink()
    assert main(["list", *root]) == 0
    assert "v0001  incomplete" in capsys.readouterr().out
    assert main(["rollback", *root]) == 1
    error = capsys.readouterr().err
    assert "incomplete" in error
    assert error.count("\n") == 1


def test_no_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--registry", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no versions\n"


@pytest.mark.parametrize("verb", ["list", "show", "rollback"])
def test_without_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main([verb, "--registry", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_as_a_process(tmp_path: Path) -> None:
    registry = LocalRegistry(str(tmp_path / "registry"))
    registry.publish(make_model(tmp_path / "model"), {}, key="k")
    command = [sys.executable, "-m", "trainer.registry", "rollback", "--registry", str(registry.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
