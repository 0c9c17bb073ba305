"""`centernet deploy`: its plan, what it refuses, and where the model comes from; rollouts are in test_rollout.py."""

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.commands.deploy import DEFAULTS, parser
from tests.loopback.deployments import URI, WHERE, Deploy, Served, recorded_of
from tests.loopback.vertex_server import PARENT
from trainer.registry.local import LocalRegistry

OURS = "europe-west4-docker.pkg.dev/my-project/centernet/serve:1.0"


def test_defaults_are_those_of_the_section() -> None:
    flags = parser().parse_args([])
    for name in ("endpoint", "traffic", "image", "machine_type", "min_replicas", "max_latency_ms"):
        assert getattr(flags, name) == getattr(DEFAULTS, name)


def test_dry_run(run: Any) -> None:
    code, out, err = run("deploy", *WHERE, "--min-replicas", "2", "--max-replicas", "3", "--dry-run")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["deploy", "at", "0", "%", "2", "x", "n1-standard-4", "2", "h", "4.0"] in rows
    assert ["smoke", "test", "on", "an", "endpoint", "of", "its", "own", "n1-standard-4", "2", "h", "2.0"] in rows
    assert ["serve", "for", "a", "day", "3", "x", "n1-standard-4", "24", "h", "72.0"] in rows
    assert "nothing was sent" in out
    code, out, _ = run("deploy", *WHERE, "--machine-type", "g2-standard-8", "--dry-run")
    assert "prediction/tf2-gpu.2-15:latest" in out
    assert "accelerator-hours of NVIDIA_L4" in out
    for flag in ("--rollback", "--remove-idle"):
        assert run("deploy", *WHERE, flag, "--dry-run")[1].startswith("dry run: would ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--project and --region: not given"),
        (["--project", "my-project"], "--region: not given"),
        (["--registry", URI, "--region", "europe-west4"], "--region europe-west4: not the one of --registry"),
        ([*WHERE, "--traffic", "101"], "--traffic: 101 is out of range"),
        ([*WHERE, "--min-replicas", "0"], "--min-replicas: 0 is out of range"),
        ([*WHERE, "--min-replicas", "3", "--max-replicas", "2"], "--max-replicas: 2 is less than"),
        ([*WHERE, "--machine-type", "a3-highgpu-1g"], "--machine-type: 'a3-highgpu-1g': serves no predictions"),
        ([*WHERE, "--machine-type", "big"], "--machine-type: 'big'"),
        ([*WHERE, "--image", "serve"], "--image: 'serve': use prebuilt, or the URI"),
        ([*WHERE, "--endpoint", "Mine"], "--endpoint: 'Mine': use at most 57"),
        ([*WHERE, "--max-latency-ms", "nan"], "--max-latency-ms: nan"),
        (["--manifest"], "--registry: not given; --manifest needs it"),
        ([*WHERE, "--registry", "/nowhere"], "--registry /nowhere: no such folder"),
    ],
)
def test_bad_flags(run: Any, flags: list[str], message: str) -> None:
    code, out, err = run("deploy", *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("no champion", "--version champion: vertex://my-project/us-central1/centernet has no champion yet"),
        ("no version", "--version 9: not in vertex://my-project/us-central1/centernet; its versions are 1, 2, 3"),
        ("no smoke", "smoke.json: no such file, so a deployment can't be tested"),
        ("other smoke", "was recorded with another model"),
        ("other model", "--endpoint taken: serves the model extremenet"),
        ("somebody's", "--endpoint taken: was not made by centernet deploy"),
        ("rollback of none", "--endpoint centernet: there is none in my-project us-central1"),
    ],
)
def test_bad_input_changes_nothing(served: Served, deploy: Deploy, problem: str, message: str) -> None:
    bucket, flags = fsspec.filesystem("gs"), []
    smoke = "my-bucket/runs/2/saved_model/smoke.json"
    match problem:
        case "no champion":
            served.server.models["centernet"][1]["versionAliases"] = []
        case "no version":
            flags = ["--version", "9"]
        case "no smoke":
            bucket.rm(smoke)
        case "other smoke":
            bucket.pipe_file(smoke, recorded_of("1").to_json().encode())
        case "other model" | "somebody's":
            flags = ["--endpoint", "taken"]
            labels = {"centernet-model": "extremenet"} if problem == "other model" else {}
            endpoint = {"labels": labels, "deployedModels": [], "trafficSplit": {}, "etag": "1"}
            served.server.endpoints["taken"] = {**endpoint, "name": f"{PARENT}/endpoints/taken", "displayName": "x"}
        case "rollback of none":
            flags = ["--rollback"]
    before = json.dumps(served.server.endpoints)
    code, _, err = deploy(*flags)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert json.dumps(served.server.endpoints) == before
    assert not served.server.sent("POST") + served.server.sent("PATCH")


def test_our_own_image(served: Served, deploy: Deploy) -> None:
    """The version is uploaded once more, with our container; a rerun finds it by its key."""
    served.server.serve = lambda deployed, image: served.answer({**deployed, "modelVersionId": "2"}, image)
    for _ in range(2):
        assert deploy("--image", OURS)[0] == 0
    (upload,) = served.server.sent("POST", "models:upload")
    model = upload.body["model"]
    assert model["artifactUri"] == "gs://my-bucket/runs/2/saved_model"
    container = model["containerSpec"]
    assert container["imageUri"] == OURS
    assert container["args"][:2] == ["--model", "$(AIP_STORAGE_URI)"]
    assert (container["ports"], container["predictRoute"], container["healthRoute"]) == (
        [{"containerPort": 8080}],
        "/v1/models/centernet:predict",
        "/v2/health/ready",
    )
    main, _ = served.server.sent("POST", ":deployModel")
    assert main.body["deployedModel"]["model"] == f"{PARENT}/models/{upload.body['modelId']}@1"


def test_a_gpu(served: Served, deploy: Deploy) -> None:
    served.server.serve = lambda deployed, image: served.answer({**deployed, "modelVersionId": "2"}, image)
    assert deploy("--machine-type", "g2-standard-8")[0] == 0
    (upload,) = served.server.sent("POST", "models:upload")
    assert upload.body["model"]["containerSpec"]["imageUri"].endswith("/tf2-gpu.2-15:latest")
    machine = served.server.sent("POST", ":deployModel")[0].body["deployedModel"]["dedicatedResources"]["machineSpec"]
    assert machine["machineType"] == "g2-standard-8"
    assert machine["acceleratorCount"] == 1


def test_a_local_registry(served: Served, deploy: Deploy, tmp_path: Path) -> None:
    local = tmp_path / "registry"
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (folder / name).write_text(name)
    registry = LocalRegistry(str(local))
    version = registry.publish(str(folder), {"ap": 0.5, "model_digest": "1" * 64}, key="run")
    (Path(registry.version(version).path) / "smoke.json").write_text(recorded_of("1").to_json())
    flags = ["--registry", str(local), "--version", version, "--endpoint", "local"]
    code, _, err = deploy(*flags)
    assert code == 2
    assert "--staging (not given): the registry" in err
    assert served.server.endpoints == {}
    for _ in range(2):
        assert deploy(*flags, "--staging", "gs://my-bucket/staged")[0] == 0
    (upload,) = served.server.sent("POST", "models:upload")
    copied = upload.body["model"]["artifactUri"]
    assert copied.startswith("gs://my-bucket/staged/")
    bucket = fsspec.filesystem("gs")
    assert {path.rpartition("/")[2] for path in bucket.find(copied)} >= {"saved_model.pb", "variables.index"}
