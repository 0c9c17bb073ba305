"""Fixtures: three published versions in a Model Registry on loopback, and a server that answers as each was recorded.

A plugin of the root conftest, as `fixtures` is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gcs_emulator import GcsEmulator
    from tests.loopback.vertex_server import VertexServer

URI = "vertex://my-project/us-central1/centernet"
WHERE = ("--project", "my-project", "--region", "us-central1")


@dataclass
class Served:
    """The loopback server with its registry, and what its models answer."""

    server: "VertexServer"
    shifts: dict[tuple[str, str], float] = field(default_factory=dict)
    """(version, endpoint or "") to how far its boxes are off."""

    def answer(self, deployed: dict[str, Any], image: bytes) -> dict[str, Any]:
        from tests.trainer.made_smoke import prediction

        version, endpoint = deployed["modelVersionId"], self.server.served[-1][0]
        shift = self.shifts.get((version, ""), self.shifts.get((version, endpoint), 0.0))
        recorded = recorded_of(version)
        return prediction(recorded.images[int(image.split()[-1])], shift=shift)

    @property
    def split(self) -> dict[str, int]:
        """Version to its share of the endpoint `centernet`."""
        endpoint = self.server.endpoints["centernet"]
        versions = {entry["id"]: entry["modelVersionId"] for entry in endpoint["deployedModels"]}
        return {versions[key]: percent for key, percent in endpoint["trafficSplit"].items()}

    @property
    def versions(self) -> list[str]:
        """Versions that are deployed on the endpoint `centernet`, with and without traffic."""
        return sorted(entry["modelVersionId"] for entry in self.server.endpoints["centernet"]["deployedModels"])

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the endpoint, with versions for ids."""
        endpoint = self.server.endpoints["centernet"]
        versions = {entry["id"]: entry["modelVersionId"] for entry in endpoint["deployedModels"]}
        return {key: versions.get(value, value) for key, value in endpoint["labels"].items()}


def recorded_of(version: str) -> Any:
    """What version N was recorded with: its boxes have another class each."""
    from tests.trainer.made_smoke import smoke

    images = tuple(replace(image, categories=(1, int(version), 1)) for image in smoke().images)
    return smoke(model_digest=version * 64, images=images)


@pytest.fixture
def served(vertex: "VertexServer", gcs: "GcsEmulator", no_long_waits: None) -> Served:
    import fsspec

    from trainer.registry.vertex import VertexRegistry

    bucket, registry = fsspec.filesystem("gs"), VertexRegistry(URI)
    for number in "123":
        folder = f"my-bucket/runs/{number}/saved_model"
        bucket.pipe_file(f"{folder}/saved_model.pb", number.encode())
        bucket.pipe_file(f"{folder}/smoke.json", recorded_of(number).to_json().encode())
        registry.publish(f"gs://{folder}", {"ap": 0.5, "model_digest": number * 64}, key=f"run-{number}")
    registry.swap_alias("champion", "2", expected=None)
    made = Served(vertex)
    vertex.serve = made.answer
    vertex.requests.clear()
    return made


Deploy = Callable[..., tuple[int, str, str]]


@pytest.fixture
def deploy(run: Callable[..., tuple[int, str, str]]) -> Deploy:
    """`centernet deploy` in the project of the loopback server."""
    return lambda *flags: run("deploy", *WHERE, *flags)
