"""Where Beam preprocesses, and what a Dataflow job is asked for."""

import json
from typing import Any

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, WorkerOptions

from beam_preprocess.base.errors import InputError
from beam_preprocess.engine.options import beam_options
from components.support.dataflow import DATAFLOW, STEP, beam_arguments

OUTPUT = "gs://my-bucket/runs/1/preprocess/records"
LEAST = {"project": "my-project", "region": "us-central1", "sdk_container_image": "example.com/mine/python-beam:1"}


def arguments(place: str = DATAFLOW, beam_args: str = "", output: str = OUTPUT, **changes: Any) -> list[str]:
    return beam_arguments(place, json.dumps({**LEAST, **changes}), beam_args, output=output, split="train")


def test_what_beam_reads_from_them() -> None:
    options = beam_options(
        arguments(
            machine_type="n2-standard-16",
            max_workers=7,
            disk_gb=80,
            service_account="w@my-project.iam.gserviceaccount.com",
            subnetwork="regions/us-central1/subnetworks/private",
            network="projects/123/global/networks/mine",
            flexrs=True,
        ),
        num_workers=1,
    )
    cloud, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    assert options.get_all_options()["runner"] == "DataflowRunner"
    assert (cloud.project, cloud.region, cloud.flexrs_goal) == ("my-project", "us-central1", "COST_OPTIMIZED")
    assert cloud.job_name.startswith("centernet-preprocess-train-")
    assert cloud.temp_location == f"{OUTPUT}-beam/temp"
    assert cloud.staging_location == f"{OUTPUT}-beam/staging"
    assert cloud.service_account_email == "w@my-project.iam.gserviceaccount.com"
    assert cloud.labels == ["pipeline=centernet-preprocess"]
    assert workers.sdk_container_image == LEAST["sdk_container_image"]
    assert (workers.machine_type, workers.max_num_workers, workers.disk_size_gb) == ("n2-standard-16", 7, 80)
    assert workers.subnetwork == "regions/us-central1/subnetworks/private"
    assert workers.network is None, "the subnetwork says which"
    assert workers.use_public_ips is False


def test_a_network_without_subnetwork_goes_by_its_short_name_and_keeps_public_addresses() -> None:
    workers = beam_options(arguments(network="projects/123/global/networks/mine"), num_workers=1).view_as(WorkerOptions)
    assert workers.network == "mine"
    assert workers.use_public_ips is None


def test_the_runs_labels_are_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEX_AI_PIPELINES_RUN_LABELS", '{"team": "vision", "pipeline": "centernet-training"}')
    assert beam_options(arguments(), num_workers=1).view_as(GoogleCloudOptions).labels == [
        "pipeline=centernet-preprocess",
        "team=vision",
    ]


def test_two_jobs_never_share_a_name() -> None:
    names = {word for _ in range(2) for word in arguments() if word.startswith("--job_name=")}
    assert len(names) == 2


def test_in_the_step_only_beam_args_count() -> None:
    assert arguments(STEP, "--runner=BundleBasedDirectRunner", "runs/1") == ["--runner=BundleBasedDirectRunner"]


def test_beam_args_win() -> None:
    options = beam_options(arguments(beam_args="--machine_type=e2-highmem-8"), num_workers=1)
    assert options.view_as(WorkerOptions).machine_type == "e2-highmem-8"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"machinetype": "n2-standard-8"}, r"dataflow\.machinetype: unknown; known keys are disk_gb"),
        ({"project": ""}, r"dataflow\.project: not given"),
        ({"sdk_container_image": ""}, r"dataflow\.sdk_container_image: not given"),
        ({"sdk_container_image": "python-beam"}, "with its registry"),
        ({"region": "Mars"}, r"dataflow\.region: 'Mars'"),
        ({"machine_type": "big"}, "n2-standard-8"),
        ({"max_workers": 0}, r"max_workers: 0; give a whole number"),
        ({"max_workers": "9"}, "max_workers: '9'"),
        ({"disk_gb": 7.5}, "disk_gb: 7.5"),
        ({"flexrs": "yes"}, "true or false"),
        ({"service_account": "me@example.com"}, "service account"),
        ({"subnetwork": "private"}, "regions/REGION/subnetworks/NAME"),
        ({"beam_args": "--runner=FnApiRunner"}, "give one of the two"),
        ({"beam_args": "--runner FnApiRunner"}, "give one of the two"),
        ({"place": STEP, "beam_args": "--runner=DataflowRunner"}, "give preprocess_on=dataflow"),
        ({"beam_args": "--labels='x"}, "quote it"),
        ({"place": "moon"}, "step, dataflow"),
        ({"output": "runs/1"}, r"the pipeline root is runs/1; give gs://"),
    ],
)
def test_what_cannot_be_right(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        arguments(**changes)


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(InputError, match="dataflow: "):
        beam_arguments(DATAFLOW, text, "", output=OUTPUT, split="train")
