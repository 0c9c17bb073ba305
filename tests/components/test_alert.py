"""The last step on a service: it posts what the run left, or that it left nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.alert import alert
from components.remember import remember
from components.unchanged import unchanged
from tests.loopback.webhook_server import WebhookServer
from tests.trainer.shared.test_webhook import server as webhook_server
from trainer.registry.local import LocalRegistry

server = webhook_server
RUN: dict[str, Any] = {
    "train_digest": "t",
    "val_digest": "v",
    **{f"{stage}_config": "{}" for stage in ("preprocess", "train", "export", "gate")},
    "seed": 0,
    "image": "i",
}
JOB = "projects/123/locations/us-central1/pipelineJobs/centernet-training-1"
LINK = (
    "https://console.cloud.google.com/vertex-ai/locations/us-central1/pipelines/runs/centernet-training-1?project=123"
)


NO_STATUS = dsl.PipelineTaskFinalStatus(None, None, None, None, None)


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    return str(tmp_path / "model")


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("promoted: v0002 (was v0001)", "promoted"),
        ("held: min_ap 0.4 < 0.5", "held"),
        ("pending approval: v0001 (no champion yet)", "pending approval"),
    ],
)
def test_a_run_that_ended(outcome: str, kind: str, server: WebhookServer, tmp_path: Path, model: str) -> None:
    registry = LocalRegistry(str(tmp_path / "registry"))
    registry.publish(model, {}, key="run-1")
    places = {"registry": str(registry.root), "pipeline_root": str(tmp_path)}
    assert remember(outcome=outcome, report="gs://b/report.html", **RUN, **places, job="7") == outcome
    alert(status=NO_STATUS, secret="MY_WEBHOOK", pipeline_root=str(tmp_path), job="7", run=JOB)
    (posted,) = server.posted
    assert (posted["outcome"], posted["sentence"], posted["report"]) == (kind, outcome, "gs://b/report.html")
    assert (posted["run"], posted["link"]) == ("centernet-training-1", LINK)
    noted = registry.version("v0001").notes
    assert noted == ({"report": "gs://b/report.html"} if kind == "pending approval" else {})


def damaged(root: Path) -> None:
    (root / "outcomes").mkdir()
    (root / "outcomes" / "7.json").write_text("{")


FAILED = dsl.PipelineTaskFinalStatus("FAILED", JOB, "the-run", 9, "The failed tasks are: [train].\nBecause.")


@pytest.mark.parametrize(
    ("leaves", "status", "sentences"),
    [
        (lambda root: None, FAILED, ["failed: The failed tasks are: [train]. Because."]),
        (lambda root: None, replace(FAILED, state="CANCELLED"), ["cancelled: The failed tasks are: [train]. Because."]),
        (lambda root: None, NO_STATUS, ["failed: centernet status shows the task"]),
        (damaged, NO_STATUS, ["failed, or its outcome can't be read"]),
        (lambda root: unchanged(str(root), job="7"), NO_STATUS, []),
    ],
)
def test_a_run_that_failed_or_had_no_news(
    leaves: Callable[[Path], Any],
    status: dsl.PipelineTaskFinalStatus,
    sentences: list[str],
    server: WebhookServer,
    tmp_path: Path,
) -> None:
    leaves(tmp_path)
    alert(status=status, secret="MY_WEBHOOK", pipeline_root=str(tmp_path), job="7", run="run-1")
    assert [posted["outcome"] for posted in server.posted] == ["failed"] * len(sentences)
    for posted, sentence in zip(server.posted, sentences, strict=True):
        assert posted["sentence"].startswith(sentence)


def test_a_run_without_an_alert_leaves_nothing(tmp_path: Path) -> None:
    unchanged(str(tmp_path), job="")
    assert list(tmp_path.iterdir()) == []
