"""Refuses requests whose body is larger than the server should hold in memory. Standard library."""

import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

LIMIT = 128 << 20
"""Bytes: a dozen of the largest photographs in base64."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyLimit:
    """ASGI middleware.

    Args:
      app: what answers requests within the limit.
      limit: bytes.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], limit: int = LIMIT) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers 413 as soon as the body is announced to be too large, or is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._limit:
            await self._refuse(send)
            return
        seen, answered = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            # kserve's handlers turn the exception into an answer of their own.
            if seen <= self._limit:
                answered = True
                await send(message)

        with contextlib.suppress(_TooLarge):
            await self._app(scope, counted, noted)
        if seen > self._limit and not answered:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        text = json.dumps({"error": f"body: more than {self._limit} bytes; send fewer images per request"}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send(
            {"type": "http.response.start", "status": int(HTTPStatus.REQUEST_ENTITY_TOO_LARGE), "headers": headers}
        )
        await send({"type": "http.response.body", "body": text})


class _TooLarge(Exception):
    pass
