"""ModelEvaluations of versions in Vertex AI Model Registry: one per name, with its slices.

Writing it again writes what is missing.
"""

from collections.abc import Mapping
from typing import Any

from trainer.registry.base import RegistryError
from trainer.registry.vertex import VertexRegistry
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError

METRICS_SCHEMA = "gs://google-cloud-aiplatform/schema/modelevaluation/image_object_detection_metrics_1.0.0.yaml"
"""The schema of AutoML's detectors, which the console knows how to show."""
CLASS_DIMENSION = "annotationSpec"
"""Vertex AI's name for a slice by class."""
SLICES_PER_CALL = 50
"""The service's limit, in the source of google-cloud-pipeline-components 2.22."""


def import_evaluation(
    registry: VertexRegistry,
    version: str,
    *,
    name: str,
    metrics: Mapping[str, Any],
    classes: Mapping[str, Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> str:
    """Writes an evaluation and one slice per class. What is there already is not written again.

    Args:
      registry: where.
      version: of the model.
      name: display name, which identifies the evaluation of this version.
      metrics: by METRICS_SCHEMA.
      classes: class name to the metrics of its slice.
      metadata: JSON-able facts.

    Returns:
      What was written, in words.

    Raises:
      RegistryError: the service refuses it or can't be reached.
    """
    service = _Evaluations(registry, version)
    try:
        found = service.find(name)
        written = found is None
        if found is None:
            found = service.create(name, metrics, metadata)
        have = service.slices(found)
        missing = {label: values for label, values in classes.items() if label not in have}
        labels = list(missing)
        for first in range(0, len(labels), SLICES_PER_CALL):
            service.create_slices(found, {label: missing[label] for label in labels[first : first + SLICES_PER_CALL]})
    except (CloudError, ValueError) as error:  # InputError: the service rejects it
        raise RegistryError(f"{registry.uri}: {error}") from error
    if not written and not missing:
        return f"version {version} has it already ({name})"
    return f"{name} of version {version}, with {len(missing)} of {len(classes)} classes"


class _Evaluations:
    """The evaluations of one version."""

    def __init__(self, registry: VertexRegistry, version: str) -> None:
        from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient

        self._place = registry.place
        self._parent = f"{registry.place.parent}/models/{registry.uri.rpartition('/')[2]}@{version}"
        self._client = google_cloud.make_client(ModelServiceClient, registry.place)
        self._version = version

    def find(self, name: str) -> str | None:
        """Resource name of the evaluation with a display name."""
        found = self._call(
            "list the evaluations",
            lambda: list(
                self._client.list_model_evaluations(parent=self._parent, retry=None, timeout=google_cloud.CALL_SECONDS)
            ),
            "list",
        )
        return next((one.name for one in found if one.display_name == name), None)

    def create(self, name: str, metrics: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
        """Its resource name."""
        from google.cloud.aiplatform_v1.types import ModelEvaluation

        evaluation = _parsed(
            ModelEvaluation,
            {"displayName": name, "metricsSchemaUri": METRICS_SCHEMA, "metrics": metrics, "metadata": metadata},
        )

        def request() -> str:
            made = self._client.import_model_evaluation(
                parent=self._parent, model_evaluation=evaluation, retry=None, timeout=google_cloud.CALL_SECONDS
            )
            return str(made.name)

        return str(self._call("import the evaluation", request, "import", after_doubt=lambda: self.find(name)))

    def slices(self, evaluation: str) -> set[str]:
        """Classes that have a slice."""
        found = self._call(
            "list the evaluation's classes",
            lambda: list(
                self._client.list_model_evaluation_slices(
                    parent=evaluation, retry=None, timeout=google_cloud.CALL_SECONDS
                )
            ),
            "list",
        )
        return {one.slice_.value for one in found if one.slice_.dimension == CLASS_DIMENSION}

    def create_slices(self, evaluation: str, classes: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes up to SLICES_PER_CALL slices, all or none."""
        from google.cloud.aiplatform_v1.types import ModelEvaluationSlice

        slices = [
            _parsed(
                ModelEvaluationSlice,
                {
                    "slice": {"dimension": CLASS_DIMENSION, "value": label},
                    "metricsSchemaUri": METRICS_SCHEMA,
                    "metrics": values,
                },
            )
            for label, values in classes.items()
        ]
        self._call(
            "import the evaluation's classes",
            lambda: self._client.batch_import_model_evaluation_slices(
                parent=evaluation,
                model_evaluation_slices=slices,
                retry=None,
                timeout=google_cloud.CALL_SECONDS,
            ),
            "import",
            after_doubt=lambda: True if set(classes) <= self.slices(evaluation) else None,
        )

    def _call(self, action: str, request: Any, verb: str, after_doubt: Any = None) -> Any:
        return google_cloud.call(
            f"{action} of version {self._version}",
            request,
            permission=f"aiplatform.modelEvaluations.{verb}",
            place=self._place,
            after_doubt=after_doubt,
        )


def _parsed(kind: Any, content: Mapping[str, Any]) -> Any:
    from google.protobuf import json_format

    return kind(json_format.ParseDict(content, kind.pb(kind())))
