"""`centernet preprocess`: its flags, exit codes and output."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess import preprocess
from beam_preprocess.base.errors import InputError
from beam_preprocess.engine.options import beam_options
from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.manifest import Manifest

ROOT = Path(__file__).parents[2]


def test_a_process_writes_records_with_the_configuration_and_its_overrides(data_set: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("preprocess: {train_views: 2, image_size: [32, 32]}\n")
    data = ["--images", str(data_set.images), "--annotations", str(data_set.annotations), "--split", "train"]
    out = tmp_path / "out"
    data += ["--output", str(out), "--config", str(config), "--image-size", "64", "48", "--num-shards", "auto"]
    done = subprocess.run(
        [sys.executable, "-m", "beam_preprocess", *data], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("result: train 12 images x 2 views, 17 objects, 0 rejects, ")
    assert last.endswith(" fell outside a random crop (counted once per crop)")
    assert Manifest.from_json((out / manifests.NAME).read_text(), "").parameters["image_size"] == [64, 48]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--images x --annotations nowhere.json --split val --output OUT", "no such annotation"),
        ("--images x --annotations x --split val --output OUT --stride 7", "preprocess.image_size"),
        ("--images x --annotations x --split val --output OUT --config no.yaml", "config no.yaml: no such file"),
        ("--images x --annotations x --split val --output OUT --set gate.min_ap=0", "give --config too"),
        ("--images x", "required"),
        ("--images x --annotations x --split val --output OUT --num-shards few", "'few': use a whole number or auto"),
        ("--images x --annotations x --split val --output OUT --preview 0", "--preview 0: use 1 to 200 images"),
        ("--images x --annotations x --split val --output OUT --no-such-flag 1", "unknown arguments: --no-such-flag"),
        ("--images x --annotations x --split val --output OUT --view 2", "unknown arguments: --view"),
    ],
)
def test_bad_usage_exits_with_2_and_says_what_is_wrong(
    tmp_path: Path, arguments: str, message: str, capsys: Any
) -> None:
    try:
        code: Any = preprocess.main(arguments.replace("OUT", str(tmp_path / "out")).split())
    except SystemExit as error:  # argparse's own
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("example", preprocess.EXAMPLES)
def test_examples_parse_and_their_other_flags_are_beams(example: str) -> None:
    program, verb, *arguments = shlex.split(example)
    assert (program, verb) == ("centernet", "preprocess")
    flags, beam_flags = preprocess.parser().parse_known_args(arguments)
    assert flags.output
    beam_options(beam_flags, 1)


def test_an_unknown_flag_is_left_to_beam_in_its_own_spelling() -> None:
    data = ["--images", "x", "--annotations", "x", "--split", "val", "--output", "o"]
    given = [*data, "--num_shards", "3", "--max_num_workers", "4"]
    flags, beam_flags = preprocess.parser().parse_known_args(given)
    assert flags.num_shards == 3
    assert beam_flags == ["--max_num_workers", "4"]
    with pytest.raises(InputError, match="--max-num-workers"):
        beam_options(["--max-num-workers", "4"], 1)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom beam_preprocess import check, inspect_records, preprocess\n"
        "for command in (check, inspect_records, preprocess): command.parser().format_help()\n"
        "print({'apache_beam', 'tensorflow', 'numpy', 'cv2', 'fsspec', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    ("error", "interrupt"),
    [
        (KeyboardInterrupt(), True),
        (RuntimeError("KeyboardInterrupt [while running 'WriteShard']"), True),
        (RuntimeError("disk full"), False),
    ],
)
def test_an_interrupt_of_a_caller_ends_with_1_and_a_defect_keeps_its_traceback(
    error: BaseException, interrupt: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(preprocess, "_preprocess", fail)
    arguments = ["--images", "x", "--annotations", "x", "--split", "val", "--output", "o"]
    if interrupt:
        assert preprocess.main(arguments) == 1
        assert capsys.readouterr().err == "interrupted; rerun the same command to start over\n"
    else:
        with pytest.raises(RuntimeError, match="disk full"):
            preprocess.main(arguments)


def test_an_interrupted_process_does_not_wait_for_threads() -> None:
    """Also when another command, such as `centernet`, passes on the arguments of its own command line."""
    code = (
        "import sys, threading, time\nfrom beam_preprocess import preprocess\n"
        "def work(*_):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    print('working', flush=True)\n"
        "    time.sleep(60)\n"
        "preprocess._preprocess = work\n"
        "sys.exit(preprocess.main(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", code, "preprocess", "--images", "x", "--annotations", "x"]
    command += ["--split", "val", "--output", "o"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout and process.stdout.readline() == "working\n"
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, "interrupted; rerun the same command to start over\n")
