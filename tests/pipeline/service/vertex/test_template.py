"""gs:// of the pipeline's own commands and of Google's high-level SDK, against a storage emulator: the pipeline root, a
template, and what is looked at before anything is sent. Records are in tests/beam_preprocess/test_gcs.py, models in
test_vertex_registry.py."""

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
import yaml
from google.auth.credentials import AnonymousCredentials

from pipeline.graph.targets import find_target
from pipeline.preflight import checks as preflight
from pipeline.service.submission import compiled
from tests.gcs_emulator import TOKEN, GcsEmulator
from tests.loopback.invocations import ACCOUNT, IMAGES, WHAT, WHERE, Run, spec_of
from tests.loopback.server import LoopbackServer, Rejected, Request
from tests.loopback.vertex_server import PARENT, VertexServer

TEMPLATE = "gs://my-bucket/templates/pipeline.yaml"


def bucket() -> Any:
    return fsspec.filesystem("gs", skip_instance_cache=True)


def test_compile_writes_into_a_bucket(gcs: GcsEmulator, run: Run) -> None:
    code, out, _ = run("compile", "--target", "vertex-tpu-v5e", "--output", TEMPLATE)
    assert code == 0
    assert TEMPLATE in out
    assert yaml.load(bucket().cat_file(TEMPLATE), yaml.SafeLoader) == compiled(find_target("vertex-tpu-v5e"))
    names = [path.rpartition("/")[2] for path in bucket().ls("my-bucket/templates")]
    assert names == ["pipeline.yaml"], "whole, and no temporary file beside it"
    assert gcs.tokens == {f"Bearer {TOKEN}"}, "as the account that the environment names"


def test_the_sdk_submits_our_template_from_the_bucket(
    vertex: VertexServer, gcs: GcsEmulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What anybody may do with the committed file: `aiplatform.PipelineJob` reads it, makes the pipeline root's bucket
    and sends what `submit` sends."""
    from google.cloud import aiplatform

    config = aiplatform.initializer._Config()
    monkeypatch.setattr(aiplatform.initializer, "global_config", config)  # of this test only
    image = f"{IMAGES}/python-gpu:0.1.0"
    assert run("compile", "--image", image, "--output", TEMPLATE)[0] == 0
    config.init(
        project="my-project",
        location="us-central1",
        credentials=AnonymousCredentials(),
        api_endpoint=vertex.url,
        api_transport="rest",
    )
    data = {name: f"gs://my-data/{name}" for name in preflight.DATA}
    job = aiplatform.PipelineJob(
        display_name="by hand",
        template_path=TEMPLATE,
        job_id="by-hand",
        pipeline_root="gs://new-root/runs",
        parameter_values={**data, "config": "gate: {}", "registry": "vertex://my-project/us-central1/centernet"},
        enable_caching=False,
    )
    # With an account named the SDK makes the bucket, and looks for no project number over gRPC.
    job.submit(service_account=ACCOUNT)
    (request,) = vertex.sent("POST", "pipelineJobs")
    assert request.path == f"/v1/{PARENT}/pipelineJobs"
    sent = request.body
    assert sent["runtimeConfig"]["gcsOutputDirectory"] == "gs://new-root/runs"
    assert sent["serviceAccount"] == ACCOUNT
    assert sent["pipelineSpec"]["deploymentSpec"] == spec_of("vertex-gpu")["deploymentSpec"]
    assert bucket().isdir("new-root")


def test_a_pipeline_root_that_is_not_there(vertex: VertexServer, run: Run) -> None:
    code, _, err = run("submit", *WHERE, *WHAT, "--pipeline-root", "gs://no-such-bucket/runs")
    assert code == 2
    assert "--pipeline-root gs://no-such-bucket/runs: no such bucket" in err
    assert vertex.requests == []
    new = "gs://my-bucket/a/folder/that/runs/make"
    assert run("submit", *WHERE, *WHAT, "--pipeline-root", new)[0] == 0


class ObjectsOnly(LoopbackServer):
    """A storage service whose caller may read objects, but not buckets; this one is empty."""

    def answer(self, request: Request) -> Any:
        if request.path.endswith("/o"):
            return {"kind": "storage#objects", "items": []}
        raise Rejected(403, "storage.buckets.get denied")


def test_an_empty_bucket_that_may_only_be_listed_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ObjectsOnly()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    assert preflight.check_buckets({}, "gs://empty/runs") == []
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    server.stop()


class Denying(LoopbackServer):
    """A storage service that lets nobody read."""

    def answer(self, request: Request) -> Any:
        raise Rejected(403, "storage.objects.list denied")


@pytest.fixture
def denying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Denying]:
    server = Denying()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    file_system = fsspec.get_filesystem_class("gs")
    file_system.clear_instance_cache()
    yield server
    file_system.clear_instance_cache()
    server.stop()


def test_what_cannot_be_looked_at_is_said_and_sent(denying: Denying, vertex: VertexServer, run: Run) -> None:
    """Who submits may lack the right to read the data, which the steps have."""
    code, _, err = run("submit", *WHERE, *WHAT)
    assert code == 0
    assert "note: --train-images gs://my-data/train: could not look" in err
    assert "storage.objects.list denied" in err
    assert denying.requests
    assert len(vertex.jobs) == 1
