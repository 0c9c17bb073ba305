"""The command: what it writes and prints, and which flags it refuses."""

import json
from pathlib import Path

import pytest

from tests.trainer.made_records import TINY_CONFIG
from trainer.config.live_keys import INITIAL_MODULES
from trainer.init_weights import MODULES, main
from trainer.weights.conversion import SUMMARY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TINY_CONFIG)
    return path


def test_the_choices_are_those_of_the_configuration() -> None:
    """The parser can't import them: it would load TensorFlow."""
    assert tuple(INITIAL_MODULES) == MODULES


def test_a_training_becomes_a_starting_point(
    trained: Path, records_folder: Path, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "init"
    flags = [f"--from={trained}", f"--to={output}", f"--config_file={config}", "--modules=all"]
    assert main([*flags, f"--records={records_folder}"]) == 0
    summary = json.loads((output / SUMMARY).read_text())
    assert summary["num_classes"] == 3
    assert not summary["absent"] and not summary["misfits"]
    printed = capsys.readouterr().out
    assert f"result: {output}: {len(summary['loaded'])} variables; set task.init_checkpoint" in printed
    assert "task.init_checkpoint_modules to all" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-classes=4", "--records=x"], "--records x and --num-classes 4: give one of them"),
        (["--records=nowhere"], "nowhere: no manifest.json"),
        (["--config_file=nothing.yaml"], "nothing.yaml: no such file"),
        (["--from=./nowhere"], "nowhere: no checkpoint there"),
        ([], ": no checkpoint there"),  # a folder without one
        (["--from=nowhere"], "nowhere: no such weights, file or folder"),
        (["--from="], "--from: not given; give it, or --list"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    given = [f"--from={tmp_path}", f"--to={tmp_path / 'init'}", f"--config_file={config}", *flags]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "init" / SUMMARY).exists()
