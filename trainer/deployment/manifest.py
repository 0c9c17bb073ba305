"""A version as an `InferenceService` of KServe: a text to look at, to keep in git, and to apply."""

from typing import Any

from beam_preprocess.base import yaml
from beam_preprocess.base.errors import InputError
from trainer.deployment.plan import CENTERNET_SERVE, PORT, Plan
from trainer.deployment.source import Source
from trainer.registry.digest import model_digest

MODEL_FOLDER = "/mnt/models"
"""Where KServe's storage initializer puts the folder that STORAGE_URI names."""
HEADER = """\
# {title} of {registry}. Apply it with: kubectl apply -f FILE
# A canary needs KServe's serverless mode. canaryTrafficPercent: {traffic} leaves the rest to the revision before.
# Roll back: set it to 0. All traffic: apply the manifest of --traffic 100.
"""


def manifest(source: Source, plan: Plan, *, staging: str = "") -> str:
    """The manifest.

    Args:
      source: the version.
      plan: image, share and replicas; its machine and latency are Vertex AI's.
      staging: a folder in a bucket, for the version of a local registry, which somebody has to copy there.

    Raises:
      InputError: no image, or a model that a cluster can't read.
    """
    if plan.prebuilt:
        raise InputError(
            "--image: not given; a cluster serves with an image of your own that has our model server (TensorFlow "
            "Serving wants numbered folders, which a registry does not have)"
        )
    content = service(source, plan, _storage(source, staging))
    traffic = f"{plan.traffic}" if plan.traffic < 100 else "(not set)"
    return HEADER.format(title=source.title, registry=source.registry, traffic=traffic) + yaml.dump(content)


def service(source: Source, plan: Plan, storage: str) -> dict[str, Any]:
    """The `InferenceService` as plain values."""
    canary = {"canaryTrafficPercent": plan.traffic} if plan.traffic < 100 else {}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": plan.endpoint,
            "annotations": {
                "centernet/version": source.version.version,
                "centernet/model-digest": source.smoke.model_digest,
            },
        },
        "spec": {
            "predictor": {
                **canary,
                "minReplicas": plan.min_replicas,
                "maxReplicas": plan.max_replicas,
                "containers": [
                    {
                        "name": "kserve-container",
                        "image": plan.image,
                        "command": ["centernet", "serve"],
                        "args": ["--model", MODEL_FOLDER, *CENTERNET_SERVE],
                        "env": [{"name": "STORAGE_URI", "value": storage}],
                        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
                        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": PORT}},
                    }
                ],
            }
        },
    }


def _storage(source: Source, staging: str) -> str:
    path = source.version.path
    if "://" in path:
        return path
    if "://" not in staging:
        raise InputError(
            f"--staging {staging or '(not given)'}: {path} is on this machine, where no cluster reads it; give the "
            "folder in a bucket that you copy it to, such as gs://my-bucket/models"
        )
    return f"{staging.rstrip('/')}/{model_digest(path)}"
