"""A webhook, and the secret in Secret Manager that holds its address, on loopback."""

import base64
import re
from typing import Any

from tests.loopback.server import LoopbackServer, Rejected, Request

TOKEN = "T0KEN/that-nobody-may-see"


class WebhookServer(LoopbackServer):
    """Keeps what was posted to `address`."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[dict[str, Any]] = []
        self.address = f"{self.url}/services/{TOKEN}"

    def answer(self, request: Request) -> Any:
        if request.method == "POST" and request.path == f"/services/{TOKEN}":
            if not request.body.get("text"):
                raise Rejected(400, "no_text")
            self.posted.append(request.body)
            return {}
        if found := re.fullmatch(r"/v1/(projects/my-project/secrets/webhook/versions/\w+):access", request.path):
            data = base64.b64encode(self.address.encode()).decode()
            return {"name": found[1], "payload": {"data": data}}
        raise Rejected(404, f"no route {request.path}")
