"""Base of the loopback servers: a JSON REST server in a thread, a record of its requests, and faults on demand."""

import json
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of one request."""

    status: int = 0
    """Sent instead of the real answer, with `message`; the request has no effect."""
    message: str = "injected"
    details: tuple[dict[str, Any], ...] = ()
    cut: str = ""
    """Where the connection ends. "request": in the middle of the request; "before": after the request, without effect;
    "after": after its effect, without an answer; "answer": after its effect and half of the answer."""
    text: str = ""
    """Sent with status 200 instead of the real answer, as by a proxy; the request has no effect."""
    seconds: float = 0.0
    """Delay of the real answer; the request has its effect at once."""


class Rejected(Exception):
    """The service's answer to a request that it does not accept."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class LoopbackServer(ABC):
    """A server on a free port of 127.0.0.1; subclasses answer in `answer`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.violations: list[str] = []
        """Requests that a strict service would have refused; the fixtures assert that there are none."""
        self._faults: deque[tuple[str, str, Fault]] = deque()
        self.lock = threading.RLock()
        self._server = _server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @abstractmethod
    def answer(self, request: Request) -> Any:
        """The JSON-able answer.

        Raises:
          Rejected: the service does not accept the request.
        """

    def next_fault(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        """Gives the fault to the next requests of this method whose path contains `path`."""
        self._faults.extend([(method, path, fault)] * times)

    def sent(self, method: str, path: str = "") -> list[Request]:
        """The requests of a method whose path contains `path`."""
        return [r for r in self.requests if r.method == method and path in r.path]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def handle(self, request: Request) -> tuple[int, Any, Fault | None]:
        with self.lock:
            self.requests.append(request)
            fault = self._take_fault(request)
            if fault is not None and fault.status:
                return fault.status, _error(fault.status, fault.message, fault.details), fault
            if fault is not None and (fault.cut == "before" or fault.text):
                return 0, None, fault
            try:
                return 200, self.answer(request), fault
            except Rejected as error:
                return error.status, _error(error.status, error.message, ()), fault

    def cuts_next(self, method: str, path: str, query: dict[str, str]) -> bool:
        """Whether to cut this request while it arrives; then it is recorded without its body."""
        with self.lock:
            request = Request(method=method, path=path, query=query, body=None, headers={})
            due = next((fault for verb, part, fault in self._faults if verb == method and part in path), None)
            if due is None or due.cut != "request":
                return False
            self._take_fault(request)
            self.requests.append(request)
            return True

    def _take_fault(self, request: Request) -> Fault | None:
        for entry in self._faults:
            method, path, fault = entry
            if method == request.method and path in request.path:
                self._faults.remove(entry)
                return fault
        return None


def _error(status: int, message: str, details: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    name = STATUS_NAMES.get(status, "UNKNOWN")
    return {"error": {"code": status, "message": message, "status": name, "details": list(details)}}


def _server(owner: LoopbackServer) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise each answer waits 40 ms between headers and body

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            if owner.cuts_next(self.command, path, query):
                self.rfile.read(length // 2)
                self._reset()
                return
            raw = self.rfile.read(length)
            request = Request(
                method=self.command,
                path=path,
                query=query,
                body=_parsed(raw, self.headers.get("Content-Type", "")),
                headers=dict(self.headers),
            )
            status, content, fault = owner.handle(request)
            if fault is not None and fault.seconds:
                time.sleep(fault.seconds)
            if fault is not None and fault.cut in ("before", "after"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            payload = json.dumps(content).encode()
            if fault is not None and fault.text:
                status, payload = 200, fault.text.encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                if fault is not None and fault.cut == "answer":
                    self.wfile.write(payload[: len(payload) // 2])
                    self._reset()
                    return
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up waiting, which some tests provoke

        def _reset(self) -> None:
            """Ends the connection at once, even with unread data."""
            self.close_connection = True
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 - the names that the library looks for

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server


def _parsed(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    if "json" in content_type:
        return json.loads(raw)
    return raw
