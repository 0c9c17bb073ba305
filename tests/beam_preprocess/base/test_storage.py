"""File systems that refuse: one line that names the address and the fix, whatever a client library raises."""

import contextlib
import gc
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.__main__ import main
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import absolute, file_system, reason
from tests.gcs_emulator import gcs_emulator


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("foo://bucket/images", "foo://bucket/images: no file system for it .*foo.*; give a local path or gs://"),
        ("s3://bucket/images", "s3://bucket/images: no file system for it .*s3fs"),
        ("http://[", r"http://\[: no file system for it .Invalid IPv6 URL"),
        ("gs://[bucket/images", "no file system for it .Invalid IPv6 URL"),
    ],
)
def test_an_unknown_scheme_is_an_input_error(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        file_system(uri)


def test_a_path_and_a_bucket_have_a_file_system(tmp_path: Path) -> None:
    fs, path = file_system(str(tmp_path))
    assert fs.isdir(path)
    assert file_system("memory://bucket/a")[1] == "/bucket/a"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (OSError("Forbidden: b/o\nno rights"), "Forbidden: b/o no rights"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_reason_is_one_line(error: Exception, text: str) -> None:
    assert reason(error) == text


class _Refusing(BaseHTTPRequestHandler):
    """A storage service where this account may do nothing."""

    status, message = 403, "trainer@my-project does not have storage.objects.list access"

    def _refuse(self) -> None:
        body = json.dumps({"error": {"code": self.status, "message": self.message}}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that has read the status may be gone
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _refuse  # noqa: N815 - the names that the library looks for

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _Anonymous(_Refusing):
    status, message = 401, "Anonymous caller does not have storage.objects.get access"


@pytest.fixture(params=[_Refusing, _Anonymous])
def refusing(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """gs:// of this process leads to a service that refuses; yields what it says."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with gcs_emulator(tmp_path) as gcs, gcs.in_this_process():  # for its tokens
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        yield request.param.message
    server.shutdown()
    server.server_close()
    thread.join(5)


def check_images(data: Any) -> list[str]:
    return ["check", "--images", "gs://b/images", "--annotations", str(data.annotations), "--split", "val"]


def check_annotations(data: Any) -> list[str]:
    return ["check", "--images", str(data.images), "--annotations", "gs://b/train.json", "--split", "val"]


def write_output(data: Any) -> list[str]:
    source = ["--images", str(data.images), "--annotations", str(data.annotations)]
    return [*source, "--split", "val", "--output", "gs://b/records"]


def inspect(data: Any) -> list[str]:
    return ["inspect", "gs://b/records"]


def read_config(data: Any) -> list[str]:
    return [*check_images(data), "--config", "gs://b/config.yaml"]


@pytest.mark.parametrize("command", [check_images, check_annotations, write_output, inspect, read_config])
def test_a_bucket_that_refuses_is_an_input_error(
    refusing: str, data_set: Any, command: Callable[[Any], list[str]], capsys: Any
) -> None:
    arguments = command(data_set)
    printing = logging.StreamHandler(sys.stderr)  # as where nobody has set up logging; pytest has
    printing.setLevel(logging.WARNING)  # as Python's handler of last resort
    # Connections that earlier tests left open are named there, whenever they are collected.
    printing.addFilter(lambda record: record.name != "asyncio")
    gc.collect()
    logging.getLogger().addHandler(printing)
    try:
        assert main(arguments) == 2
    finally:
        logging.getLogger().removeHandler(printing)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    line = lines[0]
    (uri,) = [argument for argument in arguments if argument.startswith("gs://")][-1:]
    assert line.startswith(("error: " + uri, f"error: config {uri}"))
    assert refusing in line


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("out") == absolute(f"file://{tmp_path}/out") == f"{tmp_path}/out"
    assert absolute("memory://bucket/out") == "memory:///bucket/out"
