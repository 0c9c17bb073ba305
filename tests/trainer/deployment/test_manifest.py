"""KServe's manifest: by the fields of its published schema, and by kserve's own classes where they are installed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_preprocess.base.errors import InputError
from tests.loopback.deployments import recorded_of
from trainer.config.deploy_config import DeployConfig
from trainer.deployment.manifest import manifest
from trainer.deployment.plan import Plan
from trainer.deployment.source import Source
from trainer.registry.base import Version

IMAGE = "europe-west4-docker.pkg.dev/my-project/centernet/serve:1.0"


def source(path: str = "gs://my-bucket/runs/3/saved_model") -> Source:
    version = Version(version="3", path=path, key="run-3", created="2026-11-26", metadata={"model_digest": "3" * 64})
    return Source(registry="vertex://my-project/us-central1/centernet", version=version, smoke=recorded_of("3"))


def plan(**changes: Any) -> Plan:
    return Plan.of(DeployConfig(**{"image": IMAGE, **changes})).for_model("my_model")


@pytest.mark.parametrize("traffic", [0, 10, 100])
def test_the_service(traffic: int) -> None:
    text = manifest(source(), plan(traffic=traffic, max_replicas=3))
    found = yaml.safe_load(text)
    assert (found["apiVersion"], found["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert found["metadata"]["name"] == "my-model"
    predictor = found["spec"]["predictor"]
    assert set(predictor) == {"minReplicas", "maxReplicas", "containers"} | (
        {"canaryTrafficPercent"} if traffic < 100 else set()
    )
    assert predictor.get("canaryTrafficPercent", 100) == traffic
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container", "the name that KServe's webhook looks for"
    assert container["env"] == [{"name": "STORAGE_URI", "value": "gs://my-bucket/runs/3/saved_model"}]
    assert container["args"][:2] == ["--model", "/mnt/models"]
    assert text.startswith("# centernet version 3 of vertex://my-project/us-central1/centernet.")


@pytest.mark.parametrize(
    ("path", "changes", "staging", "message"),
    [
        ("gs://b/m", {"image": "prebuilt"}, "", "--image: not given; a cluster serves with an image of your own"),
        ("/registry/versions/v0003", {}, "", "is on this machine, where no cluster reads it"),
    ],
)
def test_what_a_cluster_cannot_serve(path: str, changes: dict[str, Any], staging: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        manifest(source(path), plan(**changes), staging=staging)


def test_a_local_version_by_the_folder_that_it_is_copied_to(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    assert "value: gs://my-bucket/models/" in manifest(source(str(tmp_path)), plan(), staging="gs://my-bucket/models/")


@pytest.mark.skipif(importlib.util.find_spec("kserve") is None, reason="kserve is not installed")
def test_kserves_own_classes_take_it() -> None:
    """Each field is one of the class, by its name in JSON, down to Kubernetes' container."""
    import kserve
    from kubernetes import client

    def build(kind: str, value: Any) -> Any:
        if kind.startswith(("list[", "List[")):
            return [build(kind[5:-1], entry) for entry in value]
        made = getattr(kserve, kind, None) or getattr(client, kind, None)
        if made is None or not hasattr(made, "openapi_types"):
            return value
        names = {alias: name for name, alias in made.attribute_map.items()}
        assert set(value) <= set(names), f"{kind} has no {sorted(set(value) - set(names))}"
        return made(**{names[key]: build(made.openapi_types[names[key]], entry) for key, entry in value.items()})

    found = build("V1beta1InferenceService", yaml.safe_load(manifest(source(), plan())))
    predictor = found.spec.predictor
    assert predictor.canary_traffic_percent == 10
    assert predictor.containers[0].env[0].name == "STORAGE_URI"
    with pytest.raises(AssertionError, match="has no"):
        build("V1beta1PredictorSpec", {"canaryTrafficPercentage": 10})
