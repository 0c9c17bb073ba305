"""A bucket service on loopback for gs:// of every library: fsspec/gcsfs, Beam's gcsio, Google's own clients.

It is gcp-storage-emulator's request handler on a free port, which also answers as the token service of a made service
account: a process with `environment` finds its credentials like one in production, and its requests carry its token.
"""

import contextlib
import functools
import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from gcp_storage_emulator.handlers.objects import _checksums, _make_object_resource
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

PROJECT = "my-project"
TOKEN = "made-token"
ACCOUNT = f"trainer@{PROJECT}.iam.gserviceaccount.com"


@dataclass(frozen=True, kw_only=True)
class GcsEmulator:
    """A running service."""

    url: str
    environment: dict[str, str]
    """What a process needs in its environment so that all its gs:// traffic comes here and nothing goes elsewhere."""
    storage: Storage
    requests: list[str] = field(default_factory=list)
    """"METHOD path?query" of every request so far."""
    tokens: set[str] = field(default_factory=set)
    """The Authorization headers that came."""

    def process_environment(self) -> dict[str, str]:
        """This process's environment with the service's."""
        return {**os.environ, **self.environment}

    @contextlib.contextmanager
    def in_this_process(self) -> Iterator[Any]:
        """Points this process's libraries here while the body runs; yields gcsfs."""
        import fsspec
        from apache_beam.internal.gcp import auth
        from gcsfs.core import GCSFileSystem

        for scheme in ("gs", "gcs"):  # what gcsfs registers follows the environment at its first import
            fsspec.register_implementation(scheme, GCSFileSystem, clobber=True)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr(auth._Credentials, "_credentials_init", False)
            patch.setattr(auth._Credentials, "_credentials", None)
            GCSFileSystem.clear_instance_cache()
            yield GCSFileSystem(skip_instance_cache=True)
            GCSFileSystem.clear_instance_cache()

    def put(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Puts many objects into a bucket without a request for each."""
        for name, content in objects.items():
            made = _make_object_resource(self.url, bucket, name, "application/octet-stream", str(len(content)))
            self.storage.create_file(bucket, name, content, _checksums(content, made))

    def downloads(self) -> list[str]:
        """The requests for an object's content."""
        return [line for line in self.requests if "alt=media" in line or line.startswith("GET /download/")]


@contextlib.contextmanager
def gcs_emulator(folder: Path) -> Iterator[GcsEmulator]:
    """Runs the service while the body does; this process isn't pointed at it (use `environment`).

    Args:
      folder: for the service account's key.
    """
    key = folder / "service-account.json"
    found: list[str] = []
    tokens: set[str] = set()
    storage = Storage(use_memory_fs=True)
    storage._write_config_to_file = lambda: None  # for a later process; it writes all metadata anew with each object
    server = _Server(("127.0.0.1", 0), partial(_Handler, found, tokens, storage))
    url = f"http://127.0.0.1:{server.server_port}"
    key.write_text(json.dumps(_service_account(f"{url}/token")))
    environment = {
        "STORAGE_EMULATOR_HOST": url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        # Otherwise gcsfs asks a gRPC service for the kind of every bucket, which no emulator has: 60 s a bucket.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        # Nor may anything look for a metadata server, which is outside loopback.
        "NO_GCE_CHECK": "true",
        # What is asked of Google all the same (google-auth's regional access boundary) is refused here, and on record.
        "HTTPS_PROXY": url,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    logging.getLogger("gcp_storage_emulator.server").setLevel(logging.ERROR)  # it warns of each of its own answers
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield GcsEmulator(url=url, environment=environment, storage=storage, requests=found, tokens=tokens)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Server(HTTPServer):
    # One request at a time, as the emulator's own server: its storage isn't made for threads.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients close idle connections, which would be told on standard error in the middle of a test's output."""


class _Handler(RequestHandler):
    disable_nagle_algorithm = True  # else each answer waits 40 ms between its headers and its body

    def __init__(self, found: list[str], tokens: set[str], *arguments: Any) -> None:
        self._found, self._tokens = found, tokens
        super().__init__(*arguments)

    def do_POST(self) -> None:  # noqa: N802 - the name that the library looks for
        asked = urlsplit(self.path)
        if asked.path == "/token":
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
        elif "uploadType=media" in asked.query and self.headers["Content-Length"] == "0":
            # Such as the "folder/" that TensorFlow makes; the library's own handler fails at an empty object.
            bucket, name = asked.path.split("/")[-2], parse_qs(asked.query)["name"][0]
            made = _checksums(b"", _make_object_resource("", bucket, name, "application/octet-stream", "0"))
            self.storage.create_file(bucket, name, b"", made)
            self._answer(made)
        else:
            super().do_POST()

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        self._found.append(f"{self.command} {self.path}")
        if "Authorization" in self.headers:
            self._tokens.add(self.headers["Authorization"])


@functools.cache
def _key() -> str:
    """A private key. Libraries check it whenever they read it, in a time that grows with its size."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _service_account(token_uri: str) -> dict[str, str]:
    """The key file of an account that exists nowhere."""
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "0",
        "private_key": _key(),
        "client_email": ACCOUNT,
        "client_id": "0",  # TensorFlow takes no key without it
        "token_uri": token_uri,
    }
