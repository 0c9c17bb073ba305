"""The loopback endpoints refuse what the service's documents refuse."""

import base64
from typing import Any

import pytest
import requests

from tests.loopback.vertex_server import PARENT, VertexServer

MODEL = f"{PARENT}/models/m@1"
MACHINE = {"machineSpec": {"machineType": "n1-standard-4"}, "minReplicaCount": 1}
DEPLOYED = {"id": "7", "model": MODEL, "dedicatedResources": MACHINE}
OTHER = {**DEPLOYED, "id": "8"}
SMALL = {"instances": [{"image_bytes": {"b64": base64.b64encode(b"x").decode()}}]}


@pytest.fixture(scope="module")
def strict() -> Any:
    """Its own server: the violations are the subject of the test. One model on the endpoint e."""
    server = VertexServer()
    model = {"displayName": "m", "artifactUri": "gs://b/m"}
    images = {"m": {"imageUri": "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"}, "own": OWN}
    for name, container in images.items():
        ask(server, "POST", "models:upload", {"model": {**model, "containerSpec": container}, "modelId": name})
    ask(server, "POST", "endpoints?endpointId=e", {"displayName": "e"})
    assert ask(server, "POST", "endpoints/e:predict", SMALL) == 400, "no split"
    ask(server, "POST", "endpoints/e:deployModel", {"deployedModel": DEPLOYED, "trafficSplit": {"0": 100}})
    assert ask(server, "GET", "endpoints/e") == 200
    server.violations.clear()
    yield server
    server.stop()


OWN = {"imageUri": "us-docker.pkg.dev/p/r/serve:1"}


def ask(server: VertexServer, method: str, path: str, body: Any = None) -> int:
    return requests.request(method, f"{server.url}/v1/{PARENT}/{path}", json=body, timeout=10).status_code


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "endpoints?endpointId=E", {"displayName": "x"}, 400),
        ("POST", "endpoints?endpointId=e", {"displayName": "x"}, 409),
        ("POST", "endpoints", {"labels": {}}, 400),
        ("POST", "endpoints", {"displayName": "x", "trafficSplit": {"1": 100}}, 400),
        ("GET", "endpoints/none", None, 404),
        ("PATCH", "endpoints/e?updateMask=deployedModels", {"labels": {}}, 400),
        ("PATCH", "endpoints/e?updateMask=trafficSplit", {"trafficSplit": {"7": 99}}, 400),
        ("PATCH", "endpoints/e?updateMask=trafficSplit", {"trafficSplit": {"8": 100}}, 400),
        ("PATCH", "endpoints/e?updateMask=labels", {"labels": {"a": "B"}}, 400),
        ("PATCH", "endpoints/e?updateMask=labels", {"etag": "old", "labels": {}}, 409),
        ("DELETE", "endpoints/e", None, 400),
        ("POST", "endpoints/e:deployModel", {"deployedModel": DEPLOYED}, 409),
        ("POST", "endpoints/e:deployModel", {"deployedModel": {**DEPLOYED, "id": "x"}}, 400),
        ("POST", "endpoints/e:deployModel", {"deployedModel": {"model": MODEL}}, 400),
        ("POST", "endpoints/e:deployModel", {"deployedModel": {**OTHER, "model": MODEL[:-1] + "9"}}, 404),
        (
            "POST",
            "endpoints/e:deployModel",
            {"deployedModel": OTHER, "trafficSplit": {"8": 100}},
            400,
        ),
        ("POST", "endpoints/e:deployModel", {"deployedModel": OTHER, "trafficSplit": {"0": 50}}, 400),
        (
            "POST",
            "endpoints/e:deployModel",
            {"deployedModel": {**OTHER, "model": f"{PARENT}/models/own@1"}},
            400,
        ),
        *(
            (
                "POST",
                "endpoints/e:deployModel",
                {"deployedModel": {**OTHER, "dedicatedResources": MACHINE | change}},
                400,
            )
            for change in (
                {"minReplicaCount": 0},
                {"minReplicaCount": 2, "maxReplicaCount": 1},
                {"machineSpec": {"machineType": "big"}},
                {"machineSpec": {"machineType": "g2-standard-8"}},
            )
        ),
        ("POST", "endpoints/e:undeployModel", {"deployedModelId": "8"}, 404),
        ("POST", "endpoints/e:predict", {"instances": [{"image": "x"}]}, 400),
        ("POST", "endpoints/e:predict", {"inputs": []}, 400),
        ("POST", "endpoints/e:predict", {"instances": [{"image_bytes": {"b64": "A" * 1_500_000}}]}, 400),
        ("POST", "endpoints/e:predict", {**SMALL, "deployedModelId": "7"}, 400),
        ("POST", "endpoints/e:predict", SMALL, 200),
    ],
)
def test_what_the_service_refuses(strict: VertexServer, method: str, path: str, body: Any, status: int) -> None:
    assert ask(strict, method, path, body) == status
