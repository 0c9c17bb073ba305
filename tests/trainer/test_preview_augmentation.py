"""The command: what it writes, prints and refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from beam_preprocess.base import command
from tests.trainer.made_records import SIZE, TINY_CONFIG
from trainer.data.augmentation_preview import GAP
from trainer.preview_augmentation import main

CELL = SIZE[0] + GAP, SIZE[1] + GAP


def test_the_command_writes_a_picture_and_prints_what_it_shows(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = tmp_path / "run.yaml", tmp_path / "new" / "sheet.jpg"
    config.write_text(TINY_CONFIG)
    flags = {"records": records_folder, "config_file": config, "output": output, "images": 2}
    assert main([f"--{name}={value}" for name, value in flags.items()] + ["--steps", "5", "6"]) == 0
    with Image.open(output) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (3 * CELL[1], 20 + GAP + 4 * CELL[0])
    assert "2 images, as stored and at steps 5, 6 of seed 0; flip True, brightness 0.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--records", "nowhere"], "nowhere: no manifest.json"),
        (["--config_file", "nothing.yaml"], "nothing.yaml: no such file"),
        (["--output", "sheet.gif"], "--output sheet.gif: .gif ending; use one of .jpg, .jpeg, .png"),
        (["--images", "11"], "holds 10; use 1 to 10"),
        (["--images", "0"], "--images 0"),
        (["--steps", "-1"], "--steps -1"),
        (["--seed", "-1"], "--seed -1: out of range"),
        (["--output", "/proc/sheet.png"], "--output /proc/sheet.png: can't be written: "),
        (["--params_override", "task.augmentation.blur=1"], "blur"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    output = tmp_path / "sheet.png"
    given = {"--records": str(records_folder), "--config_file": str(config), "--output": str(output)}
    given |= dict(zip(flags[::2], flags[1::2], strict=True))
    assert main([f"{name}={value}" for name, value in given.items()]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not output.exists()


@pytest.mark.skipif(any(map(os.path.exists, command.GPU_DEVICES)), reason="its driver may have something to report")
def test_the_command_is_quiet_about_a_missing_driver(records_folder: Path, tmp_path: Path) -> None:
    """In a process of its own, where TensorFlow starts and looks for a GPU."""
    config = tmp_path / "run.yaml"
    config.write_text(TINY_CONFIG)
    flags = [f"--records={records_folder}", f"--config_file={config}", f"--output={tmp_path / 'sheet.png'}"]
    flags += ["--images=1", "--steps", "0"]
    environment = {name: value for name, value in os.environ.items() if name not in command.QUIET}
    found = subprocess.run(
        [sys.executable, "-m", "trainer.preview_augmentation", *flags],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("result: ")
