"""`centernet list` of runs on a Vertex AI on loopback."""

import pytest

from pipeline.graph import training_pipeline
from tests.loopback.invocations import PLACE, Run, submitted
from tests.loopback.vertex_server import PARENT, VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")


def test_list(vertex: VertexServer, run: Run) -> None:
    assert run("list", *PLACE) == (0, "no runs\n", "")
    ids = [submitted(vertex, run, "--seed", str(seed)) for seed in (1, 2)]
    code, out, _ = run("list", *PLACE)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ids[::-1]
    assert run("list", *PLACE, "--limit", "1")[1].split()[0] == ids[1]
    asked = vertex.sent("GET")[-1].query
    assert asked["filter"] == f'pipeline_name="{training_pipeline.NAME}"', "other pipelines of the project are not ours"
    assert (asked["pageSize"], asked["orderBy"]) == ("1", "create_time desc")
    assert asked["readMask"] == "name,state,createTime,labels", "the specs, which are large, stay with the service"
    other = f"{PARENT}/pipelineJobs/other"
    vertex.jobs[other] = {**vertex.jobs[f"{PARENT}/pipelineJobs/{ids[1]}"], "name": other}
    vertex.jobs[other] |= {"pipelineSpec": {"pipelineInfo": {"name": "another-pipeline"}}}
    assert "other" not in run("list", *PLACE)[1]
