"""`centernet config`."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from beam_preprocess.base import yaml
from trainer.config.__main__ import main
from trainer.config.sections import CONFIGS


def test_check_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As `python -m trainer.config` runs it, without the process, which loads TensorFlow for seconds."""
    monkeypatch.setattr(sys, "argv", ["trainer.config", "check", str(CONFIGS / "demo.yaml")])
    monkeypatch.delitem(sys.modules, main.__module__)  # imported above; runpy warns of a second one
    with pytest.raises(SystemExit) as done:
        runpy.run_module("trainer.config", run_name="__main__", alter_sys=True)
    assert done.value.code == 0
    assert "demo.yaml: valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["check", "run.yaml"], "error: run.yaml: task.modle: unknown key; did you mean 'model'?"),
        (
            ["show", "demo", "--set", "gate.min_app=1"],
            "error: --set gate.min_app=1: gate.min_app: unknown key; did you",
        ),
        (["show", "demo", "--set", "gate.min_ap=2"], "demo.yaml with --set gate.min_ap=2: gate.min_ap: 2.0 is out of"),
        (
            ["check", "demo", "--set", "trainer.train_steps=x"],
            "with --set trainer.train_steps=x: trainer.train_steps: 'x'",
        ),
        (["check", "demos"], "error: config demos: no such file; did you mean 'demo'?"),
    ],
)
def test_what_is_wrong_ends_in_one_line(
    argv: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text("task: {modle: {}}")
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert line in printed


def test_check_prints_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "demo", "--set", "trainer.train_steps=7"]) == 0
    assert "warning: trainer.train_steps is 7" in capsys.readouterr().out


def test_show_prints_yaml_that_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: demo\ngate: {min_ap: 0.9}\n")
    assert main(["show", str(path), "--yaml"]) == 0
    values = yaml.load(capsys.readouterr().out, "printed")
    assert "base" not in values
    assert values["gate"]["min_ap"] == 0.9
    assert values["gate"]["min_delta"] == -0.08


def test_show_starts_fast() -> None:
    """In CPU time of the process, without TensorFlow."""
    code = (
        "import sys, time; from trainer.config.__main__ import main; main(['show', 'custom-small']); "
        "print('tensorflow' in sys.modules, 'fsspec' in sys.modules, time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    *_, last = done.stdout.splitlines()
    tensorflow, fsspec, seconds = last.split()
    assert (tensorflow, fsspec) == ("False", "False")
    assert float(seconds) < 1
    assert "optimizer_config.learning_rate.cosine.initial_learning_rate  0.002" in done.stdout
