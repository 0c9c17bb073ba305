"""How commands parse and end."""

import argparse
import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from beam_preprocess.base import command
from beam_preprocess.base.errors import Failure, InputError


class Stopped(Failure):
    """Like a preempted training."""

    exit_code = 75
    label = "preempted"


def raising(error: BaseException | None) -> int:
    if error:
        raise error
    return 3


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 3, ""),
        (InputError("--seed -1: out of range"), 2, "error: --seed -1: out of range\n"),
        (Failure("not converted"), 1, "error: not converted\n"),
        (Stopped("saved step 7"), 75, "preempted: saved step 7\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_each_end_has_its_exit_code_and_one_line(error, code, line, capsys) -> None:
    assert command.ended(lambda: raising(error)) == code
    assert capsys.readouterr().err == line


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        command.ended(lambda: raising(ZeroDivisionError()))


def made() -> command.Parser:
    parser = command.parser("thing", "Does it.", examples=["centernet thing --model_dir=x"], notes="exit codes: 0")
    group = parser.add_argument_group("data")
    group.add_argument("--image-size", type=int)
    parser.add_argument("--model_dir")
    parser.add_argument("rest", nargs="*")
    return parser


@pytest.mark.parametrize(
    ("argv", "size", "folder"),
    [
        (["--image-size", "3", "--model_dir", "x"], 3, "x"),
        (["--image_size=3", "--model-dir=a_b-c"], 3, "a_b-c"),
        (["--", "--image_size"], None, None),
    ],
)
def test_flags_answer_to_both_spellings(argv, size, folder) -> None:
    flags = made().parse_args(argv)
    assert (flags.image_size, flags.model_dir) == (size, folder)


def test_flags_of_others_pass_unchanged() -> None:
    assert made().parse_known_args(["--max_num_workers=3"])[1] == ["--max_num_workers=3"]


def test_subparsers_answer_to_both_spellings() -> None:
    parser = command.Parser(prog="centernet")
    verb = parser.add_subparsers(dest="verb").add_parser("go")
    verb.add_argument("--dry-run", action="store_true")
    assert parser.parse_args(["go", "--dry_run"]).dry_run


def test_abbreviations_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        made().parse_args(["--image", "3"])
    assert "--image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["go", "--dry-rum"], "--dry-rum: unknown flag; did you mean --dry-run? centernet --help lists all"),
        (["go", "--xyz=1"], "--xyz: unknown flag; centernet --help lists all"),
        (["go", "--count", "x"], "argument --count: invalid int value: 'x'; see centernet go --help"),
        (["stop"], "argument verb: invalid choice: 'stop' (choose from 'go'); see centernet --help"),
    ],
)
def test_a_wrong_flag_is_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = command.Parser(prog="centernet")
    verb = parser.add_subparsers(dest="verb").add_parser("go")
    verb.add_argument("--dry-run", action="store_true")
    verb.add_argument("--count", type=int)
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(argv)
    assert (stopped.value.code, capsys.readouterr().err) == (2, f"error: {line}\n")


def test_help_shows_program_examples_and_notes() -> None:
    text = made().format_help()
    assert "usage: centernet thing" in text
    assert "examples:\n  centernet thing --model_dir=x\n\nexit codes: 0" in text
    assert isinstance(made(), argparse.ArgumentParser)


def test_help_fits_the_terminal_and_its_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    example = (
        "centernet thing go --size 3 4 --model_dir 'gs://my bucket/model' --cron \"0 3 * * 1\" rest --verbose > out"
    )
    notes = f"exit codes: 0 done, 1 not finite,\n2 bad input\n\nlimits:\n  one: short\n  two: {'x ' * 40}"
    shown = command.parser("thing", "Does it. " * 9, examples=["centernet thing", example], notes=notes).format_help()
    assert max(map(len, shown.splitlines())) <= 60
    assert "examples:\n  centernet thing\n  centernet thing go --size 3 4 \\\n      --model_dir 'gs://my" in shown
    one_line = shown[shown.index("  centernet thing go") : shown.index("exit codes")].replace("\\\n", "")
    assert shlex.split(one_line) == shlex.split(example)
    assert "exit codes: 0 done, 1 not finite, 2 bad input\n\nlimits:\n  one: short\n  two: x" in shown


@pytest.mark.parametrize(
    ("driver", "given", "level"),
    [
        (False, None, "3"),  # TensorFlow logs the missing driver as an error
        (True, None, "2"),  # a driver that fails must show
        (False, "0", "0"),  # the user's choice stays
    ],
)
def test_a_missing_driver_is_silent_and_a_broken_one_is_not(driver, given, level, tmp_path, monkeypatch) -> None:
    device = tmp_path / "nvidiactl"
    if driver:
        device.touch()
    monkeypatch.setattr(command, "GPU_DEVICES", (str(device),))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", given or "")
    if given is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    assert command.ended(lambda: None) == 0
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device; free some, then rerun the same"),
        (OSError(errno.ENOSPC, "No space", "out/x.json"), "out/x.json: no space left on device; free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk quota exceeded; free some"),
        (RuntimeError("{{node save}} w_temp/part: No space left on device [Op:SaveV2]"), "no space left on device; "),
    ],
)
def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    def call() -> None:
        raise error

    assert command.ended(call) == 1
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_another_error_of_the_system_is_a_defect() -> None:
    with pytest.raises(FileNotFoundError):
        command.ended(lambda: raising(FileNotFoundError(errno.ENOENT, "No such file or directory")))


def test_a_file_that_could_not_be_written_is_named_and_keeps_its_old_content(tmp_path: Path) -> None:
    program = """
import resource, sys
from beam_preprocess.base import command, files
files.write_text(sys.argv[1], "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
sys.exit(command.ended(lambda: files.write_text(sys.argv[1], "x" * 2000)))
"""
    path = tmp_path / "decision.json"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    line = f"error: {path}: file too large; free some, then rerun the same command\n"
    assert (done.returncode, done.stderr) == (1, line)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("decision.json", "old")]
