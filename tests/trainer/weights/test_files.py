"""Downloads against a real server on this machine: whole, resumed, cut, changed, refused."""

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.weights import files
from trainer.weights.catalogue import Entry, RemoteFile

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; `/cut` ends in the middle."""

    requests: list[str]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.requests.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : 300_000 if self.path == "/cut" else None])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests = []
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "centernet" / "weights" / "test-weights"


def entry(url: str, sha256: str = "") -> Entry:
    return Entry(
        name="test:weights",
        source="a test",
        licence="none",
        trained_on="nothing",
        backbone="none",
        needs={"type": "hourglass", "hourglass": {}},
        reader="checkpoint",
        files=(RemoteFile(url=url, sha256=sha256),),
    )


def test_a_download_is_cached_and_its_digest_recorded(server: str, cache: Path) -> None:
    for _ in range(2):
        (path,), digests = files.fetch(entry(f"{server}/weights"))
        assert path == cache / "weights"
        assert path.read_bytes() == CONTENT
        assert digests == {"weights": DIGEST}
    assert Handler.requests == [""], "the second time, nothing was asked"
    assert (cache / "weights.sha256").read_text() == f"{DIGEST}  weights\n"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="cut or changed; remove it"):
        files.fetch(entry(f"{server}/weights"))


def test_a_cut_download_is_resumed(server: str, cache: Path) -> None:
    with pytest.raises(InputError, match=r"/cut can't be downloaded .*rerun the command to resume, or .*put it at"):
        files.fetch(entry(f"{server}/cut", DIGEST))
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "cut.part"]
    os.rename(cache / "cut.part", cache / "weights.part")
    (path,), _ = files.fetch(entry(f"{server}/weights", DIGEST))
    assert path.read_bytes() == CONTENT
    assert Handler.requests == ["", "bytes=300000-"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("missing", "", "missing can't be downloaded"),
        ("weights", "0" * 64, f"its SHA-256 is {DIGEST}, not {'0' * 64}"),
    ],
)
def test_what_can_t_be_had_is_one_line(server: str, cache: Path, path: str, sha256: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        files.fetch(entry(f"{server}/{path}", sha256))
    assert message in str(caught.value) and str(cache / path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (cache / path).exists()


def test_without_a_network_a_file_put_there_by_hand_is_used(cache: Path) -> None:
    away = entry("http://127.0.0.1:9/weights", DIGEST)
    with pytest.raises(InputError, match=f"put it at {cache / 'weights'}"):
        files.fetch(away)
    (cache / "weights").write_bytes(CONTENT)
    assert files.fetch(away)[1] == {"weights": DIGEST}


def test_a_cache_that_can_t_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"can't be kept there .*set XDG_CACHE_HOME"):
        files.check_cache(entry("http://127.0.0.1:9/weights"))


def test_a_package_that_isn_t_installed_is_one_line() -> None:
    from dataclasses import replace

    absent = replace(entry("http://x/y"), files=(), package="no-such-package-here", member="x")
    with pytest.raises(InputError, match="its package isn't installed; pip install 'no-such-package-here'"):
        files.check_cache(absent)
