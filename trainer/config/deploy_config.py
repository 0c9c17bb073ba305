"""The `deploy:` section of a run's configuration."""

import math
import re
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError

PREBUILT = "prebuilt"
ENDPOINT_ID = re.compile(r"[a-z](?:[a-z0-9-]{0,55}[a-z0-9])?")
"""An id that Vertex AI takes, with room for "-smoke"."""

IMAGE_URI = re.compile(r"[a-z0-9.-]+(:\d+)?(/[\w.-]+)+(:[\w.-]+|@sha256:\w+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployConfig:
    """How a promoted version is served on Vertex AI. A configuration without this section deploys nothing."""

    endpoint: str = ""
    """Id of the endpoint, which is created if it does not exist; empty takes the id of the registry's model."""

    traffic: int = 10
    """Percentage of the requests that the new version gets once it has passed the smoke test; the version in use keeps
    the others. The first version of an endpoint gets all of them."""

    image: str = PREBUILT
    """Container that serves: `prebuilt` is Google's for TensorFlow 2.15; or the URI of an image of your own that holds
    this project's model server."""

    machine_type: str = "n1-standard-4"
    """Machine of one replica."""

    min_replicas: int = 1
    """Minimum number of replicas; these always run, and cost."""

    max_replicas: int = 1
    """Maximum number of replicas under load."""

    max_latency_ms: float = 2000.0
    """Maximum median time of a request with one image in the smoke test, network included; the first request does not
    count. 0 sets no bound."""

    def __post_init__(self) -> None:
        if self.endpoint and not ENDPOINT_ID.fullmatch(self.endpoint):
            raise InputError(
                f"deploy.endpoint: {self.endpoint!r}: use at most 57 of a-z, 0-9 and -, beginning with a letter and "
                "not ending with -"
            )
        if not 0 <= self.traffic <= 100:
            raise InputError(f"deploy.traffic: {self.traffic} is out of range; use a percentage from 0 to 100")
        if self.image != PREBUILT and not IMAGE_URI.fullmatch(self.image):
            raise InputError(f"deploy.image: {self.image!r}: use {PREBUILT}, or the URI of an image")
        if self.min_replicas < 1:
            raise InputError(f"deploy.min_replicas: {self.min_replicas} is out of range; Vertex AI needs 1 or more")
        if self.max_replicas < self.min_replicas:
            raise InputError(
                f"deploy.max_replicas: {self.max_replicas} is less than min_replicas {self.min_replicas}; use that or "
                "more"
            )
        if not (math.isfinite(self.max_latency_ms) and self.max_latency_ms >= 0):
            raise InputError(f"deploy.max_latency_ms: {self.max_latency_ms!r} is out of range; use 0 or more")
