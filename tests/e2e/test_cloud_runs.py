"""Two runs in a row on each service, as far as this machine can have it: `centernet submit --wait` sends the run to the
service on loopback, which starts every task of what it received in a process of its own. Data, records, checkpoints,
models and reports are in the emulated bucket, for TensorFlow too; the registry is Vertex AI's on loopback."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.execution import KubeflowSteps, VertexExecution
from tests.e2e.loopback_cloud import DATA, EXIT_CODES, RUNS, Cloud, loopback_cloud
from tests.loopback.kubeflow_launcher import Launcher
from tests.loopback.kubeflow_server import KubeflowServer

pytestmark = pytest.mark.slow

PLACE = ["--project", "my-project", "--region", "us-central1"]
SUBMIT = [
    *("submit", "--wait", "--poll", "1", "--no-config-check"),
    *("--pipeline-root", f"gs://{RUNS}/runs", "--coco-dir", DATA, "--config", "tiny.yaml"),
]
VERTEX = ["--target", "vertex-cpu", *PLACE, "--service-account", "trainer@my-project.iam.gserviceaccount.com"]
SMALL = 100_000
"""Bytes that the launcher may copy into a pod, besides a model's graph: a checkpoint has more."""
NOT_TAKEN = {"request approval", "hold", "nothing new"}
"""Tasks of branches that a promotion leaves out."""


@dataclass(frozen=True)
class Finished:
    """A run that was waited for."""

    process: subprocess.CompletedProcess[str]
    name: str
    states: dict[str, str]
    """By display name."""
    root: str
    """Of its objects."""
    printed: str
    """By its tasks."""


Submit = Callable[..., Finished]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with loopback_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def vertex(cloud: Cloud) -> Submit:
    """Submits to Vertex AI."""
    execution = VertexExecution(cloud.vertex, cloud.folder / "containers", cloud.environment)

    def submit(*flags: str) -> Finished:
        process = cloud.centernet(*SUBMIT, *VERTEX, *flags)
        assert cloud.vertex.jobs, process.stdout + process.stderr
        job = list(cloud.vertex.jobs.values())[-1]
        name = job["name"].rpartition("/")[2]
        shown = dict(execution.display_names(job["pipelineSpec"]))
        states = {shown[task["taskName"]]: task["state"] for task in job["jobDetail"]["taskDetails"]}
        return Finished(
            process, name, states, f"{execution.root_of(job)}/".removeprefix(f"gs://{RUNS}/"), execution.printed(name)
        )

    return submit


@pytest.fixture
def kubeflow(cloud: Cloud) -> Iterator[Submit]:
    """Submits to a Kubeflow endpoint, whose launcher has its rules."""
    server = KubeflowServer()
    with cloud.bucket.in_this_process() as files:
        steps = KubeflowSteps(cloud.folder / "pods", cloud.environment)
        server.launcher = Launcher(files=files, start=steps, in_background=True)
        registry = "vertex://my-project/us-central1/centernet"
        where = ["--target", "kubeflow", "--endpoint", server.url, "--image", "example.org/python-cpu:1"]

        def submit(*flags: str) -> Finished:
            process = cloud.centernet(*SUBMIT, *where, "--registry", registry, *flags)
            assert server.launched, process.stdout + process.stderr
            run = server.launched[-1]
            root = f"{run.root}/".removeprefix(f"gs://{RUNS}/")
            graph = max(
                (len(c) for name, c in cloud.below(root).items() if name.endswith("/saved_model.pb")), default=0
            )
            bulk = {name: size for name, size in run.copied.items() if size > SMALL + graph}
            assert bulk == {}, "of a model, its graph alone"
            return Finished(process, list(server.runs)[-1], run.states, root, f"{run.errors}\n{steps.printed()}")

        yield submit
    server.stop()
    assert server.violations == []


@pytest.mark.parametrize(
    ("service", "skipped"),
    [
        pytest.param("vertex", "NOT_TRIGGERED", marks=pytest.mark.xdist_group("vertex_runs")),
        pytest.param("kubeflow", "SKIPPED", marks=pytest.mark.xdist_group("kubeflow_runs")),
    ],
)
def test_two_runs_in_a_row(service: str, skipped: str, cloud: Cloud, request: pytest.FixtureRequest) -> None:
    submit: Submit = request.getfixturevalue(service)
    first = submit()
    assert first.process.returncode == 0, first.process.stdout + first.process.stderr + first.printed
    assert {name for name, state in first.states.items() if state == skipped} == NOT_TAKEN
    assert {state for name, state in first.states.items() if name not in NOT_TAKEN} == {"SUCCEEDED"}
    summary = cloud.summary(first.root)
    assert (summary["decision"]["outcome"], summary["champion"]["status"]) == ("promoted", "none")
    assert cloud.champion() == ("1", 1)
    cloud.assert_tensorflow_used_the_bucket(first.root)

    second = submit("--seed", "1")
    summary = cloud.summary(second.root)
    outcome = summary["decision"]["outcome"]
    assert second.process.returncode == EXIT_CODES[outcome], second.process.stderr + second.printed
    assert second.states["promote" if outcome == "promoted" else "hold"] == "SUCCEEDED"
    assert (summary["champion"]["status"], summary["champion"]["version"]) == ("scored", "1")
    assert cloud.champion() == {"promoted": ("2", 2), "held": ("1", 1)}[outcome]
    (model,) = cloud.vertex.models.values()
    assert model[0]["artifactUri"].startswith(f"gs://{RUNS}/{first.root}"), "the champion is another run's folder"
    if service == "vertex":
        told = cloud.centernet("status", second.name, *PLACE)
        assert told.returncode == second.process.returncode, told.stderr
        assert f"outcome   {outcome}" in told.stdout
