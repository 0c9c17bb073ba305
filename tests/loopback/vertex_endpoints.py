"""Vertex AI's endpoints on loopback: deployed models, splits, and requests that are routed by percentage.

As strict as the comments of the service's messages: Endpoint, DeployedModel, DedicatedResources, DeployModelRequest,
UndeployModelRequest, PredictRequest. No request can name a deployed model (googleapis/python-aiplatform#827).
"""

import base64
import binascii
import re
import uuid
from collections.abc import Callable
from typing import Any

from google.cloud import aiplatform_v1 as v1

from tests.loopback.server import Json, Rejected, Request
from tests.loopback.vertex_checks import matches, message, needs, query
from tests.loopback.vertex_limits import TABLE, check_labels, refuse

PROJECT_NUMBER = "123456789"
"""The service's answers have the number where requests have the project's id."""
REQUEST_BYTES = 1_500_000
"""Online prediction on a public endpoint."""
ID = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}"
PREBUILT = r"us-docker\.pkg\.dev/vertex-ai/prediction/tf2-(cpu|gpu)\.2-15:latest"


class OperationFailed(Exception):
    """An operation that ends with an error."""

    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code, self.text = code, text


class Endpoints:
    """Handlers of `VertexServer`."""

    endpoints: dict[str, Json]
    serve: Callable[[Json, bytes], Json]
    """What a deployed model answers about an image: the prediction's JSON."""
    late_split: int
    """Number of requests that a new split takes effect after."""
    full: int
    """Number of deployments that end for want of machines."""

    def start_endpoints(self) -> None:
        """The state of a new server."""
        self.endpoints, self.full = {}, 0
        self.late_split, self._late = 0, 0
        self._old: dict[str, int] = {}
        self.serve = lambda _deployed, _image: {}
        self._begun: set[tuple[str, str]] = set()
        self._asked = 0
        self.deployments: list[tuple[str, str]] = []
        """(endpoint, deployed model) of each deployment that was begun."""
        self.served: list[tuple[str, str]] = []
        """(endpoint, deployed model) of each prediction."""

    def _operation(self, kind: str, effect: Callable[[], Json]) -> Json:
        raise NotImplementedError

    def _model(self, name: str) -> Json:
        raise NotImplementedError

    def _endpoints_post(self, _name: str, request: Request) -> Json:
        asked = query(request, v1.CreateEndpointRequest, {"endpointId"})
        endpoint = message(v1.Endpoint, request.body)
        needs(endpoint, "displayName")
        known = {"displayName", "labels", "description"}
        refuse(not set(endpoint) <= known, f"{sorted(set(endpoint) - known)} cannot be set at creation")
        refuse(len(endpoint["displayName"]) > TABLE["names"]["display"], "displayName is too long")
        check_labels(endpoint.get("labels", {}))
        endpoint_id = asked.get("endpointId") or str(uuid.uuid4().int)[:9]
        matches("endpointId", endpoint_id, ID)
        if endpoint_id in self.endpoints:
            raise Rejected(409, f"Endpoint {endpoint_id} already exists")

        def create() -> Json:
            full = f"projects/{PROJECT_NUMBER}/locations/us-central1/endpoints/{endpoint_id}"
            self.endpoints[endpoint_id] = {**endpoint, "name": full, "trafficSplit": {}, "deployedModels": []}
            return self._touched(endpoint_id)

        return self._operation("google.cloud.aiplatform.v1.Endpoint", create)

    def _endpoints_get(self, name: str, _request: Request) -> Json:
        return self._endpoint(name)

    def _endpoints_patch(self, name: str, request: Request) -> Json:
        endpoint = self._endpoint(name)
        mask = query(request, v1.UpdateEndpointRequest, {"updateMask"}).get("updateMask", "")
        change = message(v1.Endpoint, request.body)
        fields = [re.sub(r"_(\w)", lambda m: m[1].upper(), part) for part in mask.split(",")]
        refuse(not set(fields) <= {"labels", "trafficSplit", "displayName"}, f"updateMask {mask!r}")
        if change.get("etag") not in (None, endpoint["etag"]):
            raise Rejected(409, f"Endpoint {name}: the etag is not the current one")
        if "labels" in fields:
            check_labels(change.get("labels", {}))
        if "trafficSplit" in fields:
            self._check_split(endpoint, change.get("trafficSplit", {}))
            self._old, self._late = dict(endpoint["trafficSplit"]), self.late_split
        endpoint.update({field: change.get(field, {}) for field in fields})
        return self._touched(name)

    def _endpoints_delete(self, name: str, _request: Request) -> Json:
        endpoint = self._endpoint(name)
        refuse(bool(endpoint["deployedModels"]), f"Endpoint {name} has deployed models; undeploy them first")

        def delete() -> Json:
            self.endpoints.pop(name, None)
            return {}

        return self._operation("google.protobuf.Empty", delete)

    def _endpoints_deployModel(self, name: str, request: Request) -> Json:  # noqa: N802 - named as the verb
        endpoint = self._endpoint(name)
        asked = message(v1.DeployModelRequest, {"endpoint": name, **request.body})
        needs(asked, "deployedModel")
        deployed, split = asked["deployedModel"], asked.get("trafficSplit", {})
        needs(deployed, "model", "dedicatedResources")
        check_resources(deployed["dedicatedResources"])
        found = re.fullmatch(r"projects/my-project/locations/us-central1/models/(.+)", deployed["model"])
        refuse(found is None, f"model {deployed['model']!r}")
        assert found is not None
        model = self._model(found[1])
        check_container(model["containerSpec"])
        deployed_id = deployed.get("id") or str(uuid.uuid4().int)[:10]
        matches("id", deployed_id, r"[0-9]{1,10}")
        if (name, deployed_id) in self._begun or deployed_id in self._ids(endpoint):
            raise Rejected(409, f"DeployedModel {deployed_id} already exists or is being deployed")
        if split:
            self._check_split(endpoint, split, new="0")
        self._begun.add((name, deployed_id))
        self.deployments.append((name, deployed_id))

        def deploy() -> Json:
            self._begun.discard((name, deployed_id))
            if self.full:
                self.full -= 1
                raise OperationFailed(8, "The following quotas are exceeded: CustomModelServingCPUsPerProjectPerRegion")
            entry = {
                **deployed,
                "id": deployed_id,
                "model": f"projects/{PROJECT_NUMBER}/locations/us-central1/models/{found[1]}",
                "modelVersionId": model["versionId"],
            }
            endpoint["deployedModels"].append(entry)
            if split:
                endpoint["trafficSplit"] = {deployed_id if key == "0" else key: value for key, value in split.items()}
            self._touched(name)
            return {"deployedModel": entry}

        return self._operation("google.cloud.aiplatform.v1.DeployModelResponse", deploy)

    def _endpoints_undeployModel(self, name: str, request: Request) -> Json:  # noqa: N802
        endpoint = self._endpoint(name)
        asked = message(v1.UndeployModelRequest, {"endpoint": name, **request.body})
        needs(asked, "deployedModelId")
        gone, split = asked["deployedModelId"], asked.get("trafficSplit")
        if gone not in self._ids(endpoint):
            raise Rejected(404, f"DeployedModel {gone} was not found")
        last = len(endpoint["deployedModels"]) == 1
        left = endpoint["trafficSplit"] if split is None else split
        refuse(bool(left.get(gone)) and not last, f"DeployedModel {gone} has traffic")

        def undeploy() -> Json:
            endpoint["deployedModels"] = [entry for entry in endpoint["deployedModels"] if entry["id"] != gone]
            endpoint["trafficSplit"] = {} if last else {key: value for key, value in left.items() if key != gone}
            self._touched(name)
            return {}

        return self._operation("google.cloud.aiplatform.v1.UndeployModelResponse", undeploy)

    def _endpoints_predict(self, name: str, request: Request) -> Json:
        endpoint = self._endpoint(name)
        refuse(int(request.headers["Content-Length"]) > REQUEST_BYTES, "the request exceeds 1.5 MB")
        asked = message(v1.PredictRequest, {"endpoint": name, **request.body})
        needs(asked, "instances")
        if not endpoint["trafficSplit"]:
            raise Rejected(400, f"Endpoint {name} doesn't have traffic_split")
        deployed = self._routed(endpoint)
        self.served.append((name, deployed["id"]))
        images = [_image(instance) for instance in asked["instances"]]
        return {
            "predictions": [self.serve(deployed, image) for image in images],
            "deployedModelId": deployed["id"],
            "model": deployed["model"].partition("@")[0],
            "modelVersionId": deployed["modelVersionId"],
            "modelDisplayName": deployed.get("displayName", ""),
        }

    def _routed(self, endpoint: Json) -> Json:
        """By percentage: of any 100 requests in a row, each model gets its share, in a mixed order."""
        place = self._asked * 37 % 100
        self._asked += 1
        self._late -= 1
        split = self._old if self._late >= 0 and self._old else endpoint["trafficSplit"]
        for deployed_id, percent in sorted(split.items()):
            place -= percent
            if place < 0:
                return next(entry for entry in endpoint["deployedModels"] if entry["id"] == deployed_id)
        raise AssertionError("a split adds up to 100")

    def _check_split(self, endpoint: Json, split: dict[str, int], new: str = "") -> None:
        known = {*self._ids(endpoint), *([new] if new else [])}
        refuse(not set(split) <= known, f"trafficSplit names {sorted(set(split) - known)}, which are not deployed")
        refuse(any(not 0 <= percent <= 100 for percent in split.values()), f"trafficSplit {split}")
        refuse(bool(split) and sum(split.values()) != 100, f"trafficSplit {split} does not add up to 100")

    def _ids(self, endpoint: Json) -> set[str]:
        return {entry["id"] for entry in endpoint["deployedModels"]}

    def _touched(self, name: str) -> Json:
        self.endpoints[name]["etag"] = uuid.uuid4().hex
        return self.endpoints[name]

    def _endpoint(self, name: str) -> Json:
        if name not in self.endpoints:
            raise Rejected(404, f"Endpoint {name} was not found")
        return self.endpoints[name]


def check_resources(resources: Json) -> None:
    """DedicatedResources, with the machines that serve."""
    needs(resources, "machineSpec", "minReplicaCount")
    least, most = resources["minReplicaCount"], resources.get("maxReplicaCount", resources["minReplicaCount"])
    refuse(least < 1, f"minReplicaCount {least} is less than 1")
    refuse(most < least, f"maxReplicaCount {most} is less than minReplicaCount {least}")
    machine = resources["machineSpec"]
    needs(machine, "machineType")
    kind = machine["machineType"]
    accelerator = (machine.get("acceleratorType", ""), machine.get("acceleratorCount", 0))
    if kind in TABLE["gpu_machines"]:
        row = TABLE["gpu_machines"][kind]
        refuse(accelerator != (row["accelerator"], row["count"]), f"{kind} holds other accelerators than {accelerator}")
        return
    refuse(kind not in TABLE["serving_machines"], f"machineType {kind} serves no predictions")
    refuse(accelerator != ("", 0), f"{kind} with {accelerator}")


def check_container(container: Json) -> None:
    """Google's container brings its own routes; any other names port, paths, and stays within Artifact Registry."""
    if re.fullmatch(PREBUILT, container["imageUri"]):
        refuse(set(container) != {"imageUri"}, "a prebuilt container takes no other field")
        return
    refuse(".pkg.dev/" not in container["imageUri"], f"{container['imageUri']} is not in Artifact Registry")
    refuse(not container.get("ports"), "a custom container without ports")
    for port in container["ports"]:
        refuse(not 1 <= port.get("containerPort", 0) <= 65535, f"port {port}")
    for name in ("predictRoute", "healthRoute"):
        refuse(not container.get(name, "").startswith("/"), f"{name} is not a path")


def _image(instance: Any) -> bytes:
    """The image of an instance, as TensorFlow Serving reads it: the signature's input is image_bytes."""
    value = instance.get("image_bytes", instance) if isinstance(instance, dict) else None
    refuse(not isinstance(value, dict) or set(value) != {"b64"}, f"instance {str(instance)[:80]}")
    assert isinstance(value, dict)
    try:
        return base64.b64decode(value["b64"], validate=True)
    except binascii.Error as error:
        raise Rejected(400, f"b64: {error}") from error
