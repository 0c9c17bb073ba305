"""The server itself: kserve in its own environment, started by the command, with a model of the tests."""

import json
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.serving.running import V1, V2, Server, b64, command, running
from tests.trainer.serving.test_detector import BROKEN, huge_png
from tests.trainer.validation_images import random_jpeg, write_images
from trainer.saved_model.inference import detect, load_signature

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("exported")]

ALL = {"score_threshold": 0.0}
INPUT = {"name": "image_bytes", "datatype": "BYTES", "shape": [1]}


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[Server]:
    with running("--model", str(exported)) as made:
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """JPEG, PNG, BMP, GIF, grey and CMYK."""
    folder, _ = write_images(tmp_path_factory.mktemp("served"))
    return sorted(folder.iterdir())


def in_v1(server: Server, image: bytes) -> dict[str, np.ndarray]:
    status, body = server.post(V1, {"instances": [b64(image)], "parameters": ALL})
    assert status == 200, body
    (prediction,) = json.loads(body)["predictions"]
    return {name: np.array(value) for name, value in prediction.items()}


def of_v2(body: bytes) -> dict[str, np.ndarray]:
    outputs = json.loads(body)["outputs"]
    return {output["name"]: np.array(output["data"]).reshape(output["shape"])[0] for output in outputs}


def in_v2(server: Server, image: bytes) -> dict[str, np.ndarray]:
    status, body = server.post(V2, {"inputs": [INPUT | {"data": [b64(image)]}], "parameters": ALL})
    assert status == 200, body
    return of_v2(body)


def in_v2_binary(server: Server, image: bytes) -> dict[str, np.ndarray]:
    """The protocol's binary form: JSON, then each element with its length before it."""
    raw = struct.pack("<I", len(image)) + image
    head = json.dumps({"inputs": [INPUT | {"parameters": {"binary_data_size": len(raw)}}], "parameters": ALL}).encode()
    headers = {"Content_Type": "application/octet-stream", "Inference_Header_Content_Length": str(len(head))}
    status, body = server.post(V2, head + raw, **headers)
    assert status == 200, body
    return of_v2(body)


@pytest.mark.parametrize("ask", [in_v1, in_v2, in_v2_binary])
def test_each_protocol_answers_what_the_model_finds_bit_for_bit(
    server: Server, exported: Path, images: list[Path], ask: Any
) -> None:
    """Alone in its batch, with the same version of TensorFlow: the boxes that evaluation and the gate saw."""
    signature = load_signature(str(exported))
    for path in images:
        (expected,) = detect(signature, [str(path)])
        shown = expected["detection_scores"] > 0
        assert shown.any(), "an empty answer would prove nothing"
        answer = ask(server, path.read_bytes())
        for name in ("detection_boxes", "detection_scores", "detection_classes"):
            np.testing.assert_array_equal(answer[name].astype(expected[name].dtype), expected[name][shown])
        assert answer["image_size"].tolist() == expected["image_size"].tolist()
        assert answer["num_detections"] == shown.sum()


def test_the_models_thresholds_apply_unless_the_request_gives_one(server: Server, exported: Path) -> None:
    image = b64(random_jpeg(40, 60))
    about = json.loads(server.get("/model.json")[1])
    assert about["threshold_source"] == "the export"
    own = {entry["category_id"]: entry["score_threshold"] for entry in about["classes"]}
    (everything,) = json.loads(server.post(V1, {"instances": [image], "parameters": ALL})[1])["predictions"]
    (served,) = json.loads(server.post(V1, {"instances": [image]})[1])["predictions"]
    kept = [
        score
        for score, category in zip(everything["detection_scores"], everything["detection_classes"], strict=True)
        if score >= np.float32(own[category])
    ]
    assert served["detection_scores"] == kept


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (V1, {"instances": [b64(BROKEN)]}, 400, "instances[0]: cannot be decoded as JPEG, PNG, GIF, BMP or WebP"),
        (V1, {"instances": [b64(huge_png())]}, 400, "instances[0]: more than 89478485 pixels"),
        (V1, {"instances": [b64(b"hello"), b64(random_jpeg(9, 9))]}, 400, "instances[0]: cannot be decoded"),
        (V1, b"{nonsense", 400, "Unrecognized request format"),
        (V1, {"instances": []}, 400, "instances: not a list"),
        (V2, b"{nonsense", 400, "body: not JSON"),
        (V2, {"inputs": []}, 400, "inputs: is empty"),
        (V2, {"inputs": [INPUT | {"data": [b64(BROKEN)]}]}, 400, "inputs[0].data[0]: cannot be decoded"),
        (V2, {"inputs": "x"}, 400, "inputs: Input should be a valid list"),
        ("/v1/models/other:predict", {"instances": [b64(BROKEN)]}, 404, "Model with name other does not exist"),
        ("/v2/repository/models/centernet/unload", {}, 501, "this server has one model and keeps it"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    server: Server, path: str, body: Any, status: int, says: str
) -> None:
    found, text = server.post(path, body)
    assert found == status, text
    assert json.loads(text)["error"].startswith(says)


def test_broken_images_among_concurrent_requests_fail_alone(server: Server) -> None:
    sizes = [(20 + i, 80 - i) for i in range(48)]

    def ask(i: int) -> tuple[int, Any]:
        image = BROKEN if i % 7 == 3 else random_jpeg(*sizes[i], seed=i)
        status, body = server.post(V1, {"instances": [b64(image)]})
        return status, json.loads(body)

    with ThreadPoolExecutor(16) as pool:
        answers = [*pool.map(ask, range(48))]
    for i, (status, body) in enumerate(answers):
        if i % 7 == 3:
            assert (status, body["error"].split(":")[0]) == (400, "instances[0]")
        else:
            assert (status, tuple(body["predictions"][0]["image_size"])) == (200, sizes[i])
    text = server.get("/metrics")[1].decode()
    metrics = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(metrics["centernet_batch_images_sum"]) > float(metrics["centernet_batch_images_count"]), "no batches"
    assert float(metrics['centernet_images_total{outcome="refused"}']) >= 7
    assert float(metrics["centernet_waiting_images"]) == 0
    assert 'request_predict_seconds_count{model_name="centernet"}' in metrics


def test_health_and_metadata(server: Server) -> None:
    for path, expected in (
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/centernet/ready", {"name": "centernet", "ready": True}),
        ("/v1/models/centernet", {"name": "centernet", "ready": True}),
    ):
        status, body = server.get(path)
        assert (status, json.loads(body)) == (200, expected)
    metadata = json.loads(server.get("/v2/models/centernet")[1])
    assert metadata["inputs"] == [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}]
    answer = json.loads(server.post(V2, {"inputs": [INPUT | {"data": [b64(random_jpeg(9, 9))]}]})[1])
    assert [output["name"] for output in answer["outputs"]] == [output["name"] for output in metadata["outputs"]]


def wait_until_refused(host: str, port: int) -> None:
    """Returns when the server has closed its listening socket."""
    while True:
        try:
            socket.create_connection((host, port), timeout=60).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)


def test_sigterm_finishes_a_request_whose_body_is_still_arriving(exported: Path) -> None:
    with running("--model", str(exported)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        body = json.dumps({"instances": [b64(random_jpeg(50, 70))]}).encode()
        head = f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=60) as slow:
            slow.sendall(head.encode() + body[:100])
            assert server.get("/v2/health/ready")[0] == 200  # by now the first part has arrived, too
            server.process.send_signal(signal.SIGTERM)
            wait_until_refused(host, int(port))
            slow.sendall(body[100:])
            answer = b""
            while part := slow.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"image_size":[50,70]' in answer
        assert server.process.wait(60) == 0


def test_a_torn_model_is_one_line(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "model")
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"torn")
    done = subprocess.run(command("--model", str(tmp_path / "model")), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/model: can't be loaded")
    assert done.stderr.count("\n") == 1
