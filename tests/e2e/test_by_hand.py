"""evaluate, gate and promote by hand: the examples of their help and of docs/gate.md, as they are written."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pipeline.local.demo_data import DemoData, generate
from tests.e2e.tiny_run import CONFIG, REPOSITORY, pipeline
from trainer import evaluate, gate, promote
from trainer.registry.local import LocalRegistry

OBJECTS = "--objects 253"
"""Objects of the demo's validation data."""


def examples() -> list[str]:
    """The commands in the order in which one would type them."""
    help_texts = [line.strip() for module in (evaluate, gate, promote) for line in module.parser().epilog.splitlines()]
    documented = (REPOSITORY / "docs" / "gate.md").read_text().splitlines()
    commands = [line for line in (*documented, *help_texts) if line.startswith("centernet ")]
    assert len(commands) >= 11
    return list(dict.fromkeys(commands))


def test_the_number_of_objects_in_the_examples(tmp_path: Path) -> None:
    drawn = DemoData(train_images=1)
    generate(tmp_path / "data", drawn)
    found = json.loads((tmp_path / "data" / "annotations" / "instances_val2017.json").read_text())["annotations"]
    assert f"--objects {sum(not entry['iscrowd'] for entry in found)}" == OBJECTS
    assert any(OBJECTS in command for command in examples())


@pytest.mark.slow
def test_the_examples_run_as_they_are(tmp_path: Path) -> None:
    """After a run on smaller data with less training: what the demo's configuration and size are, is replaced."""
    small = DemoData(train_images=8, val_images=4, height=(96, 128), width=(96, 128), side=(30.0, 60.0))
    generate(tmp_path / ".demo-data", small)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = pipeline(tmp_path, "run", "--coco-dir", ".demo-data", "--config", "tiny.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "decision  promoted: v0001" in process.stdout, process.stdout
    summary = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text())
    # As if it had been killed after `promote`: it keeps the champion and the decision with which it promoted.
    process = pipeline(tmp_path, "run", "--resume", "runs/latest")
    assert process.returncode == 0, process.stdout + process.stderr
    resumed = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text())
    for key in ("decision", "champion", "ap"):
        assert resumed[key] == summary[key], key
    assert summary["champion"]["status"] == "none"
    (objects,) = (rule["threshold"] for rule in summary["decision"]["rules"] if rule["name"] == "objects")
    for command in examples():
        text = re.sub(r"--config demo\b", "--config tiny.yaml", command).replace(OBJECTS, f"--objects {objects}")
        done = pipeline(tmp_path, *shlex.split(text)[1:])
        expected = {0, 3} if "gate.min_ap=0.3" in command else {0}
        assert done.returncode in expected, f"{command}\n{done.stdout}{done.stderr}"
    registry = LocalRegistry(str(tmp_path / "registry"))
    assert registry.aliases()["champion"] == "v0002"
    assert registry.version("v0002").key == "by-hand"
