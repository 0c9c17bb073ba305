"""TensorFlow's own gs:// on loopback: a CONNECT proxy that plays Google's hosts, with a certificate made for the test.

TensorFlow takes no emulator's address: it speaks to www.googleapis.com and storage.googleapis.com over TLS. But its
curl follows `https_proxy`, and trusts the authority that `CURL_CA_BUNDLE` names. What arrives goes on to the bucket
emulator. TensorFlow signs in with the emulator's service account, at the address of the token service that it has built
in. Any other host is refused, and on record.
"""

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.gcs_emulator import TOKEN, GcsEmulator

HOSTS = ("www.googleapis.com", "storage.googleapis.com")
TOKEN_PATH = "/oauth2/v4/token"
FRAMING = {"connection", "content-length", "expect", "transfer-encoding"}
"""Headers that are about one connection; names in lower case."""


@dataclass(frozen=True, kw_only=True)
class TlsProxy:
    """A running proxy."""

    url: str
    requests: list[str] = field(default_factory=list)
    """"METHOD host/path?query" of all that came through TLS."""
    refused: list[str] = field(default_factory=list)
    """Other hosts that were asked for, and requests without a token."""

    @property
    def refused_to_tensorflow(self) -> list[str]:
        """Without what google-auth asks in Python's clients (its regional access boundary), which they do without."""
        return [line for line in self.refused if line != "iamcredentials.googleapis.com:443"]


@contextlib.contextmanager
def tensorflow_bucket(emulator: GcsEmulator, folder: Path) -> Iterator[tuple[GcsEmulator, TlsProxy]]:
    """Runs a proxy to the emulator while the body does; yields the emulator with an environment that leads there.

    Args:
      emulator: that keeps the objects.
      folder: for the certificate.
    """
    certificate, key = folder / "google.pem", folder / "google-key.pem"
    _write_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    proxy_requests: list[str] = []
    refused: list[str] = []
    inside = partial(_Google, urlsplit(emulator.url).netloc, proxy_requests, refused)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Proxy, context, inside, refused))
    server.daemon_threads = True
    proxy = TlsProxy(url=f"http://127.0.0.1:{server.server_port}", requests=proxy_requests, refused=refused)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    names = {"https_proxy": proxy.url, "HTTPS_PROXY": proxy.url, "CURL_CA_BUNDLE": str(certificate)}
    names["no_proxy"] = emulator.environment["NO_PROXY"]
    try:
        yield replace(emulator, environment={**emulator.environment, **names}), proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Proxy(BaseHTTPRequestHandler):
    """Answers CONNECT, and hands the connection to the host's part."""

    def __init__(self, context: ssl.SSLContext, inside: "partial[_Google]", refused: list[str], *more: object) -> None:
        self._context, self._inside, self._refused = context, inside, refused
        super().__init__(*more)  # type: ignore[arg-type]

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        if host not in HOSTS:
            self._refused.append(self.path)
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with (
            contextlib.suppress(ssl.SSLError, ConnectionError),  # a killed client
            self._context.wrap_socket(self.connection, server_side=True) as connection,
        ):
            self._inside(connection, self.client_address, self.server)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


class _Google(BaseHTTPRequestHandler):
    """A host's requests, which the emulator answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False  # the socket is no longer plain

    def __init__(self, emulator: str, requests: list[str], refused: list[str], *more: object) -> None:
        self._emulator, self._requests, self._refused = emulator, requests, refused
        super().__init__(*more)  # type: ignore[arg-type]

    def _pass_on(self) -> None:
        host = self.headers["Host"]
        line = f"{self.command} {host}{self.path}"
        self._requests.append(line)
        body = self._body()
        path = self.path
        if path == TOKEN_PATH:
            path = "/token"
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refused.append(line)
            self._answer(401, [], b"")
            return
        upstream = http.client.HTTPConnection(self._emulator, timeout=60)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in self.headers.items() if name.lower() not in FRAMING}
            upstream.request(self.command, path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        # The address of a resumable upload is on the host that was asked.
        changed = [(name, value.replace(f"http://{host}", f"https://{host}")) for name, value in answer.getheaders()]
        self._answer(answer.status, changed, content)

    def _body(self) -> bytes:
        """TensorFlow announces a length, and sends chunks all the same: then the length counts for nothing."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in FRAMING | {"date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the names that the library looks for

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


def _write_certificate(certificate: Path, key: Path) -> None:
    """A certificate of both hosts that signs itself, so it is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made for a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
