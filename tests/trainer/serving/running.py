"""A model server as `centernet serve` starts it, and requests to it."""

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from trainer.serving import environment

REPOSITORY = Path(__file__).parents[3]
V1, V2 = "/v1/models/centernet:predict", "/v2/models/centernet/infer"
START_SECONDS = 180.0


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    process: subprocess.Popen[str]
    url: str

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        return answered(urllib.request.Request(self.url + path))

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
        """Status and body; anything but bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        return answered(urllib.request.Request(self.url + path, content, names))


def answered(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def b64(image: bytes) -> dict[str, str]:
    """An image as the protocols take it."""
    return {"b64": base64.b64encode(image).decode()}


def interpreter_folder() -> str:
    """The server's environment in the repository, made if there is none; skips where that can't be done."""
    folder = str(REPOSITORY / environment.FOLDER)
    try:
        environment.ensure(folder)
    except InputError as error:
        pytest.skip(f"no environment for the model server: {error}")
    return folder


def command(*flags: str) -> list[str]:
    """A command line that serves, with a free port."""
    given = ["--port", "0", "--environment", interpreter_folder(), *flags]
    return [sys.executable, "-m", "trainer.serve", *given]


@contextmanager
def running(*flags: str) -> Iterator[Server]:
    """A server until the end of the block."""
    process = subprocess.Popen(
        command(*flags), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), line + process.stderr.read()
        yield Server(process, line.split(" at ")[1].split()[0])
    finally:
        process.terminate()
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.communicate()
