"""An error of a file system is one line, whoever met it."""

import errno
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.__main__ import main
from beam_preprocess.base.errors import InputError
from beam_preprocess.engine.write_errors import QuietStream, WriteError, as_write_error
from beam_preprocess.format import manifest as manifests

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "full"), "out: no space left on device; free some and rerun the same command"),
        (RuntimeError("OSError: [Errno 28] No space left on device [while running 'x']"), "out: no space left"),
        (RuntimeError("failed with {'a': FileNotFoundError(2, 'No such file')}"), "out: no such file .*folder removed"),
        (OSError("a server's words"), "out: a server's words; rerun"),
    ],
)
def test_an_error_of_a_file_system_is_one_line(error: Exception, line: str) -> None:
    with pytest.raises(WriteError, match=line) as caught, as_write_error("out"):
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("a defect"), InputError("bad"), KeyboardInterrupt()])
def test_other_errors_stay_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, as_write_error("out"):
        raise error
    assert caught.value is error


def test_only_logs_and_tracebacks_about_file_systems_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with as_write_error("out"):
        logging.getLogger("apache_beam.new").error("OSError: [Errno 28] No space")
        logging.getLogger("apache_beam.new").error("something else")
    assert caplog.messages == ["something else"]
    stream = io.StringIO()
    quiet: Any = QuietStream(stream)
    for text in ("Traceback\nOSError: [Errno 28] x", "\n", "Traceback\nKeyError: 1", "\n"):
        quiet.write(text)
    assert stream.getvalue() == "Traceback\nKeyError: 1\n"


@pytest.mark.parametrize(
    "flags",
    [
        [],
        pytest.param(["--num-threads", "2"], marks=pytest.mark.slow),
        pytest.param(["--num-workers", "2"], marks=pytest.mark.slow),
    ],
)
def test_preprocessing_into_a_full_disk_ends_in_one_line(
    make_data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """A limit of the size of files acts as a full disk does, in worker processes too."""
    data = make_data(24)
    arguments = ["--images", str(data.images), "--annotations", str(data.annotations), "--split", "train"]
    arguments += ["--output", str(tmp_path / "out"), "--image-size", "128", "--num-shards", "2", *flags]
    command = [sys.executable, "-m", "beam_preprocess", *arguments]
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY)); "
    limited = [sys.executable, "-c", f"{limit}os.execv(sys.argv[1], sys.argv[1:])", *command]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr[-3000:]
    assert re.match("error: .*/out: file too large; rerun the same command to start over\n", done.stderr)
    assert not (tmp_path / "out" / manifests.NAME).exists()
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith(".tfrecord")]
    assert (main(arguments), capsys.readouterr().err) == (0, ""), "the same command again"
