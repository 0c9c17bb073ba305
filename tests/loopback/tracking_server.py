"""Vertex AI on loopback with TensorBoards and a metadata store; see `VertexServer` for its rules."""

import re
from typing import Any

from google.cloud import aiplatform_v1 as v1

from tests.loopback.server import Json, Rejected, Request
from tests.loopback.vertex_checks import matches, message, needs, query
from tests.loopback.vertex_server import PARENT, VertexServer

TENSORBOARD = f"{PARENT}/tensorboards/77"
STORE = f"{PARENT}/metadataStores/default"
_IDS = {"experiments": "tensorboardExperimentId", "runs": "tensorboardRunId"}
_KINDS = {"experiments": v1.TensorboardExperiment, "runs": v1.TensorboardRun}
_ASKS = {"experiments": v1.CreateTensorboardExperimentRequest, "runs": v1.CreateTensorboardRunRequest}


class TrackingServer(VertexServer):
    """One TensorBoard, and the default metadata store."""

    def __init__(self) -> None:
        super().__init__()
        self.boards: dict[str, Json] = {TENSORBOARD: {}}
        """Resources below a TensorBoard by their names; a series has its points by step."""
        self.contexts: dict[str, Json] = {}

    def _tensorboards_post(self, name: str, request: Request) -> Json:
        parent, kind = f"{PARENT}/tensorboards/{name}".rsplit("/", 1)
        self._board(parent)
        chosen = query(request, _ASKS[kind], {_IDS[kind]})[_IDS[kind]]
        matches(_IDS[kind], chosen, r"[a-z0-9-]{1,128}")
        made = message(_KINDS[kind], request.body)
        needs(made, "displayName")
        if (full := f"{parent}/{kind}/{chosen}") in self.boards:
            raise Rejected(409, f"{full} already exists")
        self.boards[full] = {**made, "name": full}
        return self.boards[full]

    def _tensorboards_get(self, name: str, request: Request) -> Json:
        query(request, v1.ListTensorboardTimeSeriesRequest, {"pageSize", "pageToken", "filter", "orderBy", "readMask"})
        parent = f"{PARENT}/tensorboards/{name.removesuffix('/timeSeries')}"
        self._board(parent)
        found = [one for full, one in self.boards.items() if full.startswith(f"{parent}/timeSeries/")]
        return {"tensorboardTimeSeries": [{k: v for k, v in one.items() if k != "points"} for one in found]}

    def _tensorboards_batchCreate(self, name: str, request: Request) -> Json:  # noqa: N802 - named as the method
        self._board(f"{PARENT}/tensorboards/{name}")
        asked = message(v1.BatchCreateTensorboardTimeSeriesRequest, request.body)["requests"]
        if len(asked) > 1000:
            raise Rejected(400, f"requests: {len(asked)}, more than 1000")
        made = []
        for one in asked:
            self._board(one["parent"])
            needs(one["tensorboardTimeSeries"], "displayName", "valueType")
            full = f"{one['parent']}/timeSeries/{len(self.boards)}"
            self.boards[full] = {**one["tensorboardTimeSeries"], "name": full, "points": {}}
            made.append({k: v for k, v in self.boards[full].items() if k != "points"})
        return {"tensorboardTimeSeries": made}

    def _tensorboards_write(self, name: str, request: Request) -> Json:
        run = f"{PARENT}/tensorboards/{name}"
        data = message(v1.WriteTensorboardRunDataRequest, request.body)["timeSeriesData"]
        if sum(len(series["values"]) for series in data) > 5000:
            raise Rejected(400, "timeSeriesData: more than 5000 points")
        for series in data:
            needs(series, "tensorboardTimeSeriesId", "valueType", "values")
            board = self._board(f"{run}/timeSeries/{series['tensorboardTimeSeriesId']}")
            for point in series["values"]:
                board["points"][int(point.get("step", 0))] = point["scalar"].get("value", 0.0)
        return {}

    def _board(self, full: str) -> Json:
        if full not in self.boards:
            raise Rejected(404, f"{full} was not found")
        return self.boards[full]

    def _metadataStores_post(self, name: str, request: Request) -> Json:  # noqa: N802
        matches("parent", name, "default/contexts")
        chosen = query(request, v1.CreateContextRequest, {"contextId"})["contextId"]
        matches("contextId", chosen, r"[a-z0-9][a-z0-9-]{0,127}")
        full = f"{STORE}/contexts/{chosen}"
        if full in self.contexts:
            raise Rejected(409, f"{full} already exists")
        self.contexts[full] = {**message(v1.Context, request.body), "name": full, "children": []}
        return {key: value for key, value in self.contexts[full].items() if key != "children"}

    def _metadataStores_addContextChildren(self, name: str, request: Request) -> Json:  # noqa: N802
        found = re.fullmatch(r"default/contexts/([^/]+)", name)
        full = f"{STORE}/contexts/{found[1]}" if found else ""
        if full not in self.contexts:
            raise Rejected(404, f"{full} was not found")
        children: Any = message(v1.AddContextChildrenRequest, request.body)["childContexts"]
        self.contexts[full]["children"] += [child for child in children if child not in self.contexts[full]["children"]]
        return {}
