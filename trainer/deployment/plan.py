"""What is deployed: a plan of settings that were checked, and the container and machine that follow from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from beam_preprocess.base.json import read
from trainer.config.deploy_config import PREBUILT, DeployConfig
from trainer.registry.vertex import SERVING_IMAGE

GPU_IMAGE = SERVING_IMAGE.replace("tf2-cpu", "tf2-gpu")
NAME = "centernet"
"""The model's name in the paths of our own server."""
PORT = 8080
CENTERNET_SERVE = ("--name", NAME, "--host", "0.0.0.0", "--port", str(PORT))
COMPILE_AGAIN = "compile the pipeline again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A checked `deploy:` section, with what the machine holds."""

    endpoint: str
    """"" until the registry's model is known."""
    traffic: int
    image: str
    machine_type: str
    accelerator: str = ""
    accelerators: int = 0
    min_replicas: int
    max_replicas: int
    max_latency_ms: float

    @classmethod
    def of(cls, config: DeployConfig, accelerator: str = "", accelerators: int = 0) -> "Plan":
        """The plan of a section.

        Args:
          config: the section.
          accelerator: what the machine holds; "" for none.
          accelerators: how many.
        """
        return cls(**asdict(config), accelerator=accelerator, accelerators=accelerators)

    def for_model(self, model_id: str) -> "Plan":
        """The plan with an endpoint: the given one, or one that is named after the registry's model."""
        return replace(self, endpoint=self.endpoint or model_id.replace("_", "-"))

    @property
    def prebuilt(self) -> bool:
        """Whether Google's container serves."""
        return self.image == PREBUILT

    def container(self) -> dict[str, Any]:
        """The `containerSpec` of the model that is deployed."""
        if self.prebuilt:
            return {"imageUri": GPU_IMAGE if self.accelerators else SERVING_IMAGE}
        return {
            "imageUri": self.image,
            "command": ["centernet", "serve"],
            # Vertex AI puts the model's folder in place of the variable.
            "args": ["--model", "$(AIP_STORAGE_URI)", *CENTERNET_SERVE],
            "ports": [{"containerPort": PORT}],
            "predictRoute": f"/v1/models/{NAME}:predict",
            "healthRoute": "/v2/health/ready",
        }

    def resources(self, *, smoke: bool = False) -> dict[str, Any]:
        """The `dedicatedResources` of the deployed model; the smoke test needs one replica."""
        machine: dict[str, Any] = {"machineType": self.machine_type}
        if self.accelerators:
            machine |= {"acceleratorType": self.accelerator, "acceleratorCount": self.accelerators}
        counts = (1, 1) if smoke else (self.min_replicas, self.max_replicas)
        return {"machineSpec": machine, "minReplicaCount": counts[0], "maxReplicaCount": counts[1]}

    def text(self) -> str:
        """The plan as a text that a pipeline hands on."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """The plan of such a text.

        Raises:
          InputError: it is not one.
        """
        return read(cls, text, "deploy", COMPILE_AGAIN)


def deployed_id(model: str, resources: Mapping[str, Any]) -> str:
    """Id of a deployed model, which follows from what is deployed.

    An endpoint has an id only once. So a call that is repeated, because its answer was lost or its caller died, cannot
    deploy the same thing twice.

    Args:
      model: full name of the model with its version.
      resources: its `dedicatedResources`.
    """
    content = json.dumps([model, resources], sort_keys=True).encode()
    return str(10**9 + int(hashlib.sha256(content).hexdigest(), 16) % (9 * 10**9))
