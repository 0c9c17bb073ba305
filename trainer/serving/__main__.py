"""The model server: kserve's data plane and endpoints around one exported model. Runs in the server's environment.

kserve's own `ModelServer.start` is not used: it listens on every interface, and on SIGTERM it removes the model before
the requests under way have found it.
"""

import json
import logging
import signal
import socket
import struct
import sys
import uuid
import warnings
from dataclasses import asdict
from http import HTTPStatus
from importlib import resources
from typing import Any

import uvicorn
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository
from kserve.errors import InvalidInput, ModelNotFound
from kserve.model_server import app
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import deserialize_bytes_tensor
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from prometheus_client import Counter, Gauge, Histogram

from beam_preprocess.base.command import ended
from trainer.serving import batcher, protocol
from trainer.serving.body_limit import BodyLimit
from trainer.serving.detector import Detector, Found, Refused
from trainer.serving.plan import Plan, read_plan

GRACE_SECONDS = 30
"""For the requests that are under way when the server is asked to stop."""
BINARY_OUTPUT = "binary_data_output"
"""V2's parameter for answers in the binary form."""
_POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page loads nothing from elsewhere."""

IMAGES = Counter("centernet_images", "Images, by outcome", ["outcome"])
BATCHES = Histogram("centernet_batch_images", "Images per computed batch", buckets=batcher.SIZES)
WAITING = Gauge("centernet_waiting_images", "Images whose batch has not begun")


class ServedModel(Model):
    """The adapter between kserve and the detector."""

    def __init__(self, plan: Plan, detector: Detector) -> None:
        super().__init__(plan.name)
        self._version = plan.version or None
        self._answers = protocol.Answers(plan.classes)
        self._detector = detector
        self._batcher: batcher.Batcher[bytes, Found | Refused] = batcher.Batcher(self._compute)
        WAITING.set_function(lambda: self._batcher.waiting)
        self.ready = True

    async def predict(
        self, payload: dict[str, Any] | InferRequest, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Answers one request, in the protocol that it came in."""
        if not isinstance(payload, InferRequest):
            images = protocol.v1_images(payload)
            return protocol.v1_answer(await self._detections(images, payload.get("parameters"), "instances"))
        if not payload.inputs:
            raise protocol.BadRequest(f"inputs: is empty; the model has one input, {protocol.INPUT}")
        first = payload.inputs[0]
        others = len(payload.inputs) - 1
        images = protocol.v2_images(first.name, first.datatype, first.shape, first.data, others)
        parameters = {name: value for name, value in (payload.parameters or {}).items() if name != BINARY_OUTPUT}
        found = await self._detections(images, parameters, "inputs[0].data")
        return InferResponse(
            response_id=payload.id or str(uuid.uuid4()),
            model_name=self.name,
            model_version=self._version,
            infer_outputs=[
                InferOutput(name, list(values.shape), datatype, data=values)
                for name, datatype, values in protocol.v2_tensors(found)
            ],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """Input of the V2 metadata."""
        return [{"name": protocol.INPUT, "datatype": "BYTES", "shape": [-1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Outputs of the V2 metadata."""
        per_detection = [
            {"name": name, "datatype": datatype, "shape": [-1, -1, *inner]}
            for name, (datatype, inner, _) in protocol.OUTPUTS.items()
        ]
        return [
            *per_detection,
            {"name": protocol.COUNT, "datatype": "INT32", "shape": [-1]},
            {"name": protocol.SIZE, "datatype": "INT32", "shape": [-1, 2]},
        ]

    async def _detections(self, images: list[bytes], parameters: Any, field: str) -> list[dict[str, Any]]:
        threshold = protocol.given_threshold(parameters)
        found = await self._batcher.submit(images)
        refused = {i: answer.reason for i, answer in enumerate(found) if isinstance(answer, Refused)}
        IMAGES.labels("refused").inc(len(refused))
        IMAGES.labels("answered").inc(len(found) - len(refused))
        if refused:
            raise protocol.BadRequest("; ".join(f"{field}[{i}]: {reason}" for i, reason in refused.items()))
        return [self._answers.of(answer, threshold) for answer in found if not isinstance(answer, Refused)]

    def _compute(self, images: Any) -> list[Found | Refused]:
        BATCHES.observe(len(images))
        return self._detector(images)


class OneModel(ModelRepository):
    """The models of this server: one, which no request can take away."""

    def unload(self, name: str) -> None:
        """See base class."""
        raise NotImplementedError("this server has one model and keeps it; stop the server instead")


class BinaryDataPlane(DataPlane):
    """kserve's, which turns the bytes of V2's binary form into UTF-8 text, and so can't take an image in it."""

    def decode_inference_request(self, body: Any, headers: dict[str, str], model_name: str) -> InferRequest:
        """See base class."""
        length = headers.get("inference-header-content-length", "")
        if not isinstance(body, bytes) or not length.isdigit():
            return super().decode_inference_request(body, headers, model_name)
        at, images = int(length), {}
        try:
            header = json.loads(body[:at])
            for i, entry in enumerate(header["inputs"]):
                size = (entry.get("parameters") or {}).get("binary_data_size")
                if size is not None:
                    images[i] = deserialize_bytes_tensor(body[at : at + size]).tolist()
                    entry["data"] = []
                    at += size
            text = json.dumps(header).encode()
            request = InferRequest.from_bytes(text, len(text), model_name)
        except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise protocol.BadRequest(f"body: not a V2 request in the binary form ({error})") from error
        for i, data in images.items():
            request.inputs[i].data = data
        return request


def refusal(status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer in kserve's form of an error."""
    return JSONResponse({"error": text}, status, headers)


async def _bad_request(_: Any, error: Exception) -> JSONResponse:
    return refusal(HTTPStatus.BAD_REQUEST, str(error))


async def _invalid(_: Any, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return refusal(HTTPStatus.BAD_REQUEST, f"body: not JSON ({first['ctx']['error']})")
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "InferenceRequest"))
    return refusal(HTTPStatus.BAD_REQUEST, f"{where or 'body'}: {first['msg']}")


async def _busy(_: Any, error: Exception) -> JSONResponse:
    return refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"busy: {error}; try again", {"Retry-After": "1"})


async def _not_found(_: Any, error: Exception) -> JSONResponse:
    return refusal(HTTPStatus.NOT_FOUND, str(error))


async def _not_offered(_: Any, error: Exception) -> JSONResponse:
    return refusal(HTTPStatus.NOT_IMPLEMENTED, str(error))


HANDLERS = {
    protocol.BadRequest: _bad_request,
    InvalidInput: _bad_request,
    RequestValidationError: _invalid,
    batcher.Busy: _busy,
    ModelNotFound: _not_found,
    NotImplementedError: _not_offered,
}
"""kserve's own write a traceback to the log for each bad request."""


def add_page(plan: Plan) -> None:
    """Adds the page at / and what it needs to know about the model. Of two routes, the first is taken: not kserve's."""
    page = resources.files("trainer.serving").joinpath("page.html").read_text("utf-8")
    about = {
        "name": plan.name,
        "version": plan.version,
        "model": plan.model,
        "threshold_source": plan.threshold_source,
        "classes": [asdict(entry) for entry in plan.classes],
    }

    async def show() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    async def describe() -> JSONResponse:
        return JSONResponse(about)

    app.add_api_route("/", show, methods=["GET"], include_in_schema=False)
    app.add_api_route("/model.json", describe, methods=["GET"])


def serve(plan: Plan) -> None:
    """Serves until a signal."""
    detector = Detector(plan.model)
    detector.warm_up(batcher.SIZES)
    models = OneModel()
    models.update(ServedModel(plan, detector))
    add_page(plan)
    rest = RESTServer(
        "kserve.model_server:app",
        BinaryDataPlane(models),
        ModelRepositoryExtension(models),
        http_port=0,  # the socket is bound already
        grace_period=GRACE_SECONDS,
    )
    rest.create_application()
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(BodyLimit)
    rest.config.access_log = False
    print(f"serving {plan.version or plan.model} at {plan.address} as {plan.name}; Ctrl-C stops", flush=True)
    uvicorn.Server(rest.config).run(sockets=[socket.socket(fileno=plan.socket)])


def _stop(*_: Any) -> None:
    """Before the server runs, a signal ends the process; afterwards uvicorn finishes its requests, and raises it."""
    print("stopped", flush=True)
    sys.exit(0)


def main() -> int:
    """Serves the plan on standard input."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # kserve's affair
    warnings.filterwarnings("ignore", message=".*ORJSONResponse is deprecated")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    return ended(lambda: serve(read_plan(sys.stdin.read())))


if __name__ == "__main__":
    sys.exit(main())
