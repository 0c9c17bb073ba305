"""What Vertex AI keeps about a version of a model besides the model: its description and its evaluations."""

import uuid
from typing import Any

from google.cloud import aiplatform_v1 as v1

from tests.loopback.server import Json, Rejected, Request
from tests.loopback.vertex_checks import matches, message, needs, query

SCHEMAS = r"gs://google-cloud-aiplatform/schema/modelevaluation/\w+_metrics_1\.0\.0\.yaml"
SLICES_PER_CALL = 50
"""In the source of google-cloud-pipeline-components 2.22."""
METRICS = {"boundingBoxMetrics", "boundingBoxMeanAveragePrecision", "evaluatedBoundingBoxCount"}
"""Fields of ImageObjectDetectionEvaluationMetrics in the service's discovery document."""


class ModelNotes:
    """Handlers of `VertexServer`; `_model` is its own."""

    evaluations: dict[str, list[Json]]
    """Name of the version to its evaluations; the slices are in "slices" of each."""

    def _model(self, name: str) -> Json:
        raise NotImplementedError

    def _models_get(self, name: str, request: Request) -> Json:
        model, _, rest = name.partition("/evaluations")
        entry = self._model(model)
        if "/evaluations" not in name:
            return entry
        query(request, v1.ListModelEvaluationsRequest, {"filter", "pageSize", "pageToken", "readMask"})
        found = self._kept(entry)
        if not rest:
            return {"modelEvaluations": [{k: v for k, v in one.items() if k != "slices"} for one in found]}
        return {"modelEvaluationSlices": self._evaluation(name.removesuffix("/slices"))["slices"]}

    def _models_patch(self, name: str, request: Request) -> Json:
        entry = self._model(name)
        mask = query(request, v1.UpdateModelRequest, {"updateMask"}).get("updateMask", "")
        change = message(v1.Model, request.body)
        # Each has its own fields: the comments of UpdateModelRequest in the client.
        allowed = {"versionDescription", "version_description"} if "@" in name else {"displayName", "description"}
        if not mask or not set(mask.split(",")) <= allowed:
            raise Rejected(400, f"updateMask {mask!r}: {name} takes {sorted(allowed)}")
        entry["versionDescription"] = change["versionDescription"]
        return entry

    def _models_import(self, name: str, request: Request) -> Json:
        entry = self._model(name.removesuffix("/evaluations"))
        made = message(v1.ImportModelEvaluationRequest, request.body)["modelEvaluation"]
        needs(made, "metrics", "metricsSchemaUri")
        _check(made)
        full = f"{entry['name']}@{entry['versionId']}/evaluations/{uuid.uuid4().int % 10**15}"
        evaluation = {**made, "name": full, "slices": []}
        self._kept(entry).append(evaluation)
        return {"name": full, **made}

    def _models_batchImport(self, name: str, request: Request) -> Json:  # noqa: N802 - named as the verb
        evaluation = self._evaluation(name.removesuffix("/slices"))
        slices = message(v1.BatchImportModelEvaluationSlicesRequest, request.body)["modelEvaluationSlices"]
        if len(slices) > SLICES_PER_CALL:
            raise Rejected(400, f"{len(slices)} slices, {SLICES_PER_CALL} are allowed")
        for one in slices:
            needs(one, "metrics", "metricsSchemaUri", "slice")
            needs(one["slice"], "dimension", "value")
            _check(one)
            one["name"] = f"{evaluation['name']}/slices/{uuid.uuid4().int % 10**15}"
        evaluation["slices"] += slices
        return {"importedModelEvaluationSlices": [one["name"] for one in slices]}

    def _kept(self, entry: Json) -> list[Json]:
        if not hasattr(self, "evaluations"):
            self.evaluations = {}
        return self.evaluations.setdefault(entry["versionId"], [])

    def _evaluation(self, name: str) -> Json:
        for one in self._kept(self._model(name.partition("/")[0])):
            if one["name"].endswith(f"/{name.rpartition('/')[2]}"):
                return one
        raise Rejected(404, f"ModelEvaluation {name} was not found")


def _check(evaluation: Json) -> None:
    matches("metricsSchemaUri", evaluation["metricsSchemaUri"], SCHEMAS)
    metrics: Any = evaluation["metrics"]
    if not isinstance(metrics, dict) or not set(metrics) <= METRICS:
        raise Rejected(400, f"metrics: {sorted(set(metrics) - METRICS)} are not in the schema")
    for entry in metrics.get("boundingBoxMetrics", ()):
        if not set(entry) <= {"iouThreshold", "meanAveragePrecision", "confidenceMetrics"}:
            raise Rejected(400, f"boundingBoxMetrics: {sorted(entry)}")
