"""The command line: `python -m beam_preprocess`, its exit codes and what it prints."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.__main__ import main
from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.manifest import Manifest


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "beam_preprocess", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )


def test_the_command_line(data_set: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("preprocess: {train_views: 2, image_size: [32, 32]}\nother: 1\n")
    data = ["--images", str(data_set.images), "--annotations", str(data_set.annotations), "--split", "train"]
    out = tmp_path / "out"
    data += ["--output", str(out), "--config", str(config)]
    done = command(*data, "--image-size", "64", "48", "--num-shards", "auto")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("result: train 12 images x 2 views, 17 objects, 0 rejects, ")
    assert Manifest.from_json((out / manifests.NAME).read_text(), "").parameters["image_size"] == [64, 48]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--images x --annotations nowhere.json --split val --output OUT", "no such annotation"),
        ("--images x --annotations x --split val --output OUT --stride 7", "preprocess.image_size"),
        ("--images x --annotations x --split val --output OUT --config no.yaml", "--config no.yaml"),
        ("--images x", "required"),
        ("--images x --annotations x --split val --output OUT --num-shards few", "'few': use a whole number or auto"),
        ("--images x --annotations x --split val --output OUT --preview 0", "--preview 0: use 1 to 200 images"),
        ("chek --images x", "chek: no such verb; use check or inspect"),
        ("check --train-images x", "give --images, --annotations and --split"),
    ],
)
def test_the_command_line_exits_with_2_and_one_line(tmp_path: Path, arguments: str, message: str, capsys: Any) -> None:
    try:
        code: Any = main(arguments.replace("OUT", str(tmp_path / "out")).split())
    except SystemExit as error:  # argparse's own
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_bad_input_ends_a_process_with_2_and_no_traceback() -> None:
    done = command("check", "--images", "x", "--annotations", "nowhere.json", "--split", "val")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: nowhere.json: no such annotation file")


def test_the_check_command_and_light_imports(data_set: Any, tmp_path: Path) -> None:
    pairs = [(f"--{s}-images", data_set.images) for s in ("train", "val")]
    pairs += [(f"--{s}-annotations", data_set.annotations) for s in ("train", "val")]
    done = command("check", *[str(part) for pair in pairs for part in pair])
    assert done.returncode == 0, done.stderr
    assert "train: 12 images, 17 objects" in done.stdout
    assert "nothing to reject" in done.stdout
    assert "exit codes" in command("--help").stdout
    light = "annotations check geometry images manifest output progress records shards sources targets views"
    code = f"import sys, importlib; [importlib.import_module('beam_preprocess.' + m) for m in '{light}'.split()]; "
    code += "print({'apache_beam', 'tensorflow'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root).stdout == "set()\n"
