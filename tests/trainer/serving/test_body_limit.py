import asyncio
import json
from typing import Any

import pytest

from trainer.serving.body_limit import BodyLimit


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body, and answers with its length; turns errors into 500, as kserve does."""
    status, length = 200, 0
    try:
        while True:
            message = await receive()
            length += len(message["body"])
            if not message["more_body"]:
                break
    except Exception:
        status = 500
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


def answer(parts: list[bytes], headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    sent: list[Any] = []
    messages = [{"body": part, "more_body": i < len(parts) - 1} for i, part in enumerate(parts)]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(BodyLimit(echo, 10)({"type": "http", "headers": headers}, receive, send))
    start, body = sent
    return start["status"], body["body"]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("length", [4, 10, 11, 30])
def test_a_body_above_the_limit_is_413(announced: bool, length: int) -> None:
    body = b"x" * length
    parts = [body[i : i + 4] for i in range(0, length, 4)]
    headers = [(b"content-length", str(length).encode())] if announced else []
    status, content = answer(parts, headers)
    if length <= 10:
        assert (status, content) == (200, str(length).encode())
    else:
        assert status == 413
        assert json.loads(content) == {"error": "body: more than 10 bytes; send fewer images per request"}


def test_other_scopes_pass() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(BodyLimit(app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
