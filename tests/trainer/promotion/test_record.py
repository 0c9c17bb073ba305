"""The evaluation of a version in Model Registry, through Google's own client, against a service on loopback."""

from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from tests.gcs_emulator import GcsEmulator
from tests.loopback.server import Fault
from tests.loopback.vertex_server import VertexServer
from tests.trainer.made_decision import evaluation
from tests.trainer.made_evaluation import write_evaluation
from trainer.coco.metrics import ClassMetrics
from trainer.config.gate_config import GateConfig
from trainer.promotion.judge import judge
from trainer.promotion.record import record
from trainer.registry.local import LocalRegistry
from trainer.registry.uri import open_registry
from trainer.registry.vertex import VertexRegistry
from trainer.registry.vertex_evaluation import METRICS_SCHEMA

pytestmark = pytest.mark.usefixtures("no_long_waits", "gcs")
CLASSES = 120
"""More than fit into two calls."""


@pytest.fixture
def registry(vertex: VertexServer, gcs: GcsEmulator) -> VertexRegistry:
    fsspec.filesystem("gs").pipe_file("my-bucket/record/saved_model.pb", b"model")
    made = open_registry("vertex://my-project/us-central1/centernet")
    assert isinstance(made, VertexRegistry)
    assert made.publish("gs://my-bucket/record", {"ap": 0.5}, key="run-1") == "1"
    return made


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """decision.json and evaluation.json."""
    scored = evaluation(0.6)
    uri = write_evaluation(tmp_path / "new", scored)
    decision = tmp_path / "decision.json"
    decision.write_text(judge(uri, None, GateConfig(resamples=100)).to_json())
    classes = tuple(
        ClassMetrics(category_id=i, name=f"class {i}", ap=None if i == 3 else 0.5, ap50=0.7, images=2, objects=i)
        for i in range(CLASSES)
    )
    path = tmp_path / "many.json"
    path.write_text(replace(scored, per_class=classes).to_json())
    return str(decision), str(path)


def test_what_arrives_once(
    vertex: VertexServer, registry: VertexRegistry, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second time as after a promotion that ran again
        record(registry, "1", *files)
    ((found,),) = (vertex.evaluations["1"],)
    assert found["metricsSchemaUri"] == METRICS_SCHEMA
    metrics = found["metrics"]
    assert metrics["boundingBoxMeanAveragePrecision"] == 0.6
    assert [entry["iouThreshold"] for entry in metrics["boundingBoxMetrics"]] == [0.5, 0.75]
    assert metrics["evaluatedBoundingBoxCount"] == 3
    assert found["metadata"]["coco"]["ap"] == 0.6
    gate = found["metadata"]["gate"]
    assert gate["rules"]["min_ap"]["verdict"] in ("pass", "FAIL")
    assert len(found["slices"]) == CLASSES
    slices = {one["slice"]["value"]: one for one in found["slices"]}
    assert slices["class 7"]["slice"]["dimension"] == "annotationSpec"
    assert slices["class 7"]["metrics"]["boundingBoxMeanAveragePrecision"] == 0.5
    assert "boundingBoxMeanAveragePrecision" not in slices["class 3"]["metrics"], "a class without objects"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"of version 1, with {CLASSES} of {CLASSES} classes")
    assert "has it already" in lines[1]


@pytest.mark.parametrize("path", ["evaluations:import", "slices:batchImport"])
@pytest.mark.parametrize("fault", [Fault(cut="after"), Fault(status=503)])
def test_an_answer_that_was_lost(
    path: str, fault: Fault, vertex: VertexServer, registry: VertexRegistry, files: tuple[str, str]
) -> None:
    vertex.next_fault("POST", path, fault)
    record(registry, "1", *files)
    (found,) = vertex.evaluations["1"]
    values = [one["slice"]["value"] for one in found["slices"]]
    assert len(values) == len(set(values)) == CLASSES


def test_what_cannot_be_written_is_a_warning(
    vertex: VertexServer,
    registry: VertexRegistry,
    files: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vertex.next_fault("POST", "slices:batchImport", Fault(status=403))
    record(registry, "1", *files)
    assert "warning: the evaluation of version 1 is not in Model Registry" in capsys.readouterr().out
    assert vertex.evaluations["1"][0]["slices"] == []
    record(registry, "1", *files)  # the promotion again: what is missing is written
    assert len(vertex.evaluations["1"]) == 1
    assert len(vertex.evaluations["1"][0]["slices"]) == CLASSES
    record(registry, "1", files[0], "")
    assert "no evaluation was given" in capsys.readouterr().out
    record(LocalRegistry(str(tmp_path)), "v0001", *files)
    assert capsys.readouterr().out == "", "a local registry has no place for it"
