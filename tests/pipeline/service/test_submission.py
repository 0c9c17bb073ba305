"""A submission's parameters and identity."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from pipeline.commands.plan import deployment_line
from pipeline.graph.request import RunRequest
from pipeline.graph.targets import find_target
from pipeline.service.options import SubmitOptions, with_deployment
from pipeline.service.submission import Submission, content_of, prepare
from pipeline.service.vertex.runs import RunsAs
from trainer.config.deploy_config import DeployConfig
from trainer.config.sections import parse_config
from trainer.deployment.plan import Plan
from trainer.shared.google_cloud import Place

pytestmark = pytest.mark.usefixtures("loopback_cloud")

PLACE = Place(project="my-project", region="us-central1")
RUNS_AS = RunsAs(pipeline_root="gs://my-bucket/runs")
WEIGHTS = "task.init_checkpoint=gs://my-data/weights/extremenet"
REQUEST = RunRequest(coco_dir="gs://my-data/coco", config="coco-centernet-hourglass-gpu", changes=(WEIGHTS,))
OPTIONS = SubmitOptions(target="vertex-gpu", config_check=False)
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def submission(request: RunRequest = REQUEST, options: SubmitOptions = OPTIONS, **more: bool) -> Submission:
    return prepare(request, options, place=PLACE, runs_as=RUNS_AS, **more)


def test_a_coco_folder_names_the_four_data_parameters() -> None:
    parameters = submission().parameters
    assert parameters["train_images"] == "gs://my-data/coco/train2017"
    assert parameters["val_annotations"] == "gs://my-data/coco/annotations/instances_val2017.json"
    assert parameters["registry"] == "vertex://my-project/us-central1/centernet"


def test_a_param_may_replace_a_default_of_a_flag() -> None:
    options = replace(OPTIONS, param=("registry=vertex://other-project/us-central1/mine", "seed=4"))
    assert submission(options=options).parameters["registry"] == "vertex://other-project/us-central1/mine"
    assert submission(options=options).parameters["seed"] == 4
    with pytest.raises(InputError, match="by a flag"):
        submission(replace(REQUEST, seed=3), options)


def test_the_identity_is_the_content() -> None:
    first, same, other = submission(), submission(), submission(replace(REQUEST, seed=3))
    assert content_of(first, RUNS_AS) == content_of(same, RUNS_AS) != content_of(other, RUNS_AS)
    assert content_of(first, RUNS_AS) != content_of(first, replace(RUNS_AS, pipeline_root="gs://my-bucket/more"))
    job = first.job_id(NOW, **RUNS_AS.context())
    assert job == f"centernet-training-{content_of(first, RUNS_AS)[:8]}-20261124-030000"
    assert first.with_run_id(job).parameters["run_id"] == job
    assert first.with_run_id(job).with_run_id("another").parameters["run_id"] == job


def test_runs_of_a_schedule_share_no_folder() -> None:
    for name in ("run_id", "work_dir"):
        options = replace(OPTIONS, param=(f"{name}=gs://my-bucket/one",))
        with pytest.raises(InputError, match=f"--param {name}: each run of a schedule needs its own; leave it out"):
            submission(options=options, schedule=True)


def test_set_changes_the_configuration_that_is_sent() -> None:
    found = submission(replace(REQUEST, changes=(WEIGHTS, "gate.min_ap=0.41")))
    assert parse_config(found.parameters["config"]).gate.min_ap == 0.41


def test_a_section_deploy_adds_the_last_stage() -> None:
    """After the report; a run whose deployment failed does not count as completed."""

    def tasks(found: Submission) -> dict[str, Any]:
        dags = [component["dag"]["tasks"] for component in found.spec["components"].values() if "dag" in component]
        return next(dag for dag in dags if "report" in dag)

    plain = submission()
    assert "deploy" not in tasks(plain)
    assert not plain.target.deploy
    deployed = submission(replace(REQUEST, changes=(*REQUEST.changes, "deploy.traffic=20")))
    found = tasks(deployed)
    assert "report" in found["deploy"]["dependentTasks"]
    assert "deploy" in found["remember"]["dependentTasks"]
    plan = found["deploy"]["inputs"]["parameters"]["plan"]["runtimeValue"]["constant"]
    assert Plan.parse(plan) == Plan.of(DeployConfig(traffic=20))
    assert deployment_line(plan) == (
        "a promoted version gets 20 % of the endpoint of its model; besides the run, machine-hours a day at most: "
        "24 of n1-standard-4"
    )
    added = {"deploy"} ^ set(found)
    assert added == set(tasks(plain))


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ("deploy.machine_type=big", PLACE, "deploy.machine_type: 'big': serves no predictions on demand"),
        ("deploy.traffic=10", None, "deploy: only Vertex AI has this stage"),
    ],
)
def test_a_deployment_that_cannot_be(change: str, place: Place | None, message: str) -> None:
    text = resolve("custom-cpu", (change,))
    config = parse_config(text.text, text.where)
    with pytest.raises(InputError, match=message):
        with_deployment(find_target("vertex-cpu"), config, text.where, place)
