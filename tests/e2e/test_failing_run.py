"""Runs that end early: their messages and exit codes, and how they are resumed."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.tiny_run import REPOSITORY, Ran, make_data, pipeline, stage_lines

pytestmark = pytest.mark.xdist_group("local_run")  # the tests share one run, and what `first` found valid


RESUME = re.compile(r"resume with: centernet run --resume (runs/[\d-]+)")


@pytest.fixture(scope="module")
def refused(first: Ran, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run that ended after preprocessing: a validation image looks like a training image, and the run is strict.

    A stage that imports TensorFlow would end it as well, seconds later; see test_local_run.py.
    """
    folder = tmp_path_factory.mktemp("refused")
    make_data(folder, train=24, val=24)
    first.share_valid_configurations(folder / "runs")
    train, val = (min((folder / "coco" / split).iterdir()) for split in ("train2017", "val2017"))
    Image.open(train).resize(Image.open(val).size).save(val, quality=80)
    return Ran(folder, pipeline(folder, "run", "--coco-dir", "coco", "--config", "tiny.yaml", "--strict"))


def test_a_resumed_run_reuses_what_was_written(refused: Ran) -> None:
    process = refused.process
    for reused in (False, True):
        assert process.returncode == 2, process.stdout + process.stderr
        found = re.search(r"failed: compare the splits\nerror: 1 of 24 .* look like .*--strict", process.stderr)
        assert found, process.stderr
        lines = [line for line in process.stdout.splitlines() if line.startswith("preprocess ")]
        assert len(lines) == 1
        assert all(("reused" in line) is reused for line in lines)
        if not reused:
            process = pipeline(refused.folder, "run", "--resume", "runs/latest", "--strict")


def test_a_validation_image_that_does_not_decode_ends_the_run(refused: Ran) -> None:
    """Its header is good and its pixels are damaged, since the run began: every start checks the data."""
    image = min((refused.folder / "coco" / "val2017").iterdir())
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    process = pipeline(refused.folder, "run", "--resume", "runs/latest")
    image.write_bytes(whole)
    assert process.returncode == 2, process.stdout + process.stderr
    assert "failed: check the data" in process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "truncated_image" in errors[0]
    assert stage_lines(process.stdout) == [], "before any long work"
    resume = RESUME.search(process.stderr)
    assert resume
    assert (refused.folder / resume[1]).resolve() == refused.latest


def test_a_stage_that_breaks_ends_the_run_with_its_name_and_last_lines(refused: Ran) -> None:
    output = refused.latest / "stages" / "data_check"
    shutil.rmtree(output)
    output.write_text("a file where the stage needs a folder")
    process = pipeline(refused.folder, "run", "--resume", "runs/latest")
    output.unlink()
    assert process.returncode == 1, process.stdout + process.stderr
    lines = process.stderr.strip().splitlines()
    assert lines[0] == "failed: check the data"
    assert 3 < len(lines) <= 18
    assert any("FileExistsError" in line for line in lines), lines
    assert RESUME.match(lines[-1])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the run's processes in /proc")
def test_a_kill_ends_the_run_and_its_stage(refused: Ran) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", "--resume", "runs/latest"],
        cwd=refused.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("check the data"):
            break
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "interrupted " in errors
    assert RESUME.search(errors)
    for _ in range(20):
        if not running(str(refused.latest)):
            break
        time.sleep(0.1)
    assert not running(str(refused.latest))


def running(text: str) -> list[str]:
    """Command lines of the processes that contain `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in command:
                found.append(command)
    return found
