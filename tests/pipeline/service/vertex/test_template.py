"""The compiled pipeline as a template in a bucket: `compile` writes it, Google's high-level SDK submits it."""

from typing import Any

import fsspec
import pytest
import yaml
from google.auth.credentials import AnonymousCredentials

from pipeline.graph.request import DATA
from pipeline.graph.targets import find_target
from pipeline.service.submission import compiled
from tests.gcs_emulator import TOKEN, GcsEmulator
from tests.loopback.invocations import ACCOUNT, IMAGES, Run, spec_of
from tests.loopback.vertex_server import PARENT, VertexServer
from trainer.shared.versions import VERSION

pytestmark = pytest.mark.usefixtures("loopback_cloud")

TEMPLATE = "gs://my-bucket/templates/pipeline.yaml"


def bucket() -> Any:
    return fsspec.filesystem("gs", skip_instance_cache=True)


def test_compile_writes_into_a_bucket(gcs: GcsEmulator, run: Run) -> None:
    code, out, _ = run("compile", "--target", "vertex-tpu-v5e", "--output", TEMPLATE)
    assert code == 0
    assert TEMPLATE in out
    assert yaml.load(bucket().cat_file(TEMPLATE), yaml.SafeLoader) == compiled(find_target("vertex-tpu-v5e"))
    names = [path.rpartition("/")[2] for path in bucket().ls("my-bucket/templates")]
    assert names == ["pipeline.yaml"], "whole, and no temporary file next to it"
    assert gcs.tokens == {f"Bearer {TOKEN}"}, "with the account that the environment names"


def test_the_sdk_submits_our_template_from_the_bucket(
    vertex: VertexServer, gcs: GcsEmulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A use of the committed file without us: `aiplatform.PipelineJob` reads it, creates the pipeline root's bucket
    and sends what `submit` sends."""
    from google.cloud import aiplatform

    config = aiplatform.initializer._Config()
    monkeypatch.setattr(aiplatform.initializer, "global_config", config)  # for this test only
    image = f"{IMAGES}/python-gpu:{VERSION}"
    assert run("compile", "--image", image, "--output", TEMPLATE)[0] == 0
    config.init(
        project="my-project",
        location="us-central1",
        credentials=AnonymousCredentials(),
        api_endpoint=vertex.url,
        api_transport="rest",
    )
    data = {name: f"gs://my-data/{name}" for name in DATA}
    job = aiplatform.PipelineJob(
        display_name="by hand",
        template_path=TEMPLATE,
        job_id="by-hand",
        pipeline_root="gs://new-root/runs",
        parameter_values={**data, "config": "gate: {}", "registry": "vertex://my-project/us-central1/centernet"},
        enable_caching=False,
    )
    # With an account the SDK creates the bucket, and does not ask for a project number over gRPC.
    job.submit(service_account=ACCOUNT)
    (request,) = vertex.sent("POST", "pipelineJobs")
    assert request.path == f"/v1/{PARENT}/pipelineJobs"
    sent = request.body
    assert sent["runtimeConfig"]["gcsOutputDirectory"] == "gs://new-root/runs"
    assert sent["serviceAccount"] == ACCOUNT
    assert sent["pipelineSpec"]["deploymentSpec"] == spec_of("vertex-gpu")["deploymentSpec"]
    assert bucket().isdir("new-root")
