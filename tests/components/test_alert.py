"""The last step on a service: it posts what the run left, or that it left nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    alert(secret="MY_WEBHOOK", pipeline_root=str(tmp_path), job="7", run=JOB)
    (posted,) = server.posted
    assert (posted["outcome"], posted["sentence"], posted["report"]) == (kind, outcome, "gs://b/report.html")
    assert (posted["run"], posted["link"]) == ("centernet-training-1", LINK)
    noted = registry.version("v0001").notes
    assert noted == ({"report": "gs://b/report.html"} if kind == "pending approval" else {})


def damaged(root: Path) -> None:
    (root / "outcomes").mkdir()
    (root / "outcomes" / "7.json").write_text("{")


@pytest.mark.parametrize(
    ("leaves", "posts"), [(lambda root: None, 1), (damaged, 1), (lambda root: unchanged(str(root), job="7"), 0)]
)
def test_a_run_that_failed_or_had_no_news(
    leaves: Callable[[Path], Any], posts: int, server: WebhookServer, tmp_path: Path
) -> None:
    leaves(tmp_path)
    alert(secret="MY_WEBHOOK", pipeline_root=str(tmp_path), job="7", run="run-1")
    assert [posted["outcome"] for posted in server.posted] == ["failed"] * posts


def test_a_run_without_an_alert_leaves_nothing(tmp_path: Path) -> None:
    unchanged(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
