"""From flags to a request."""

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.commands import submit
from pipeline.commands.request import options_of, place_of, request_of, runs_as_of
from pipeline.graph.request import RunRequest
from pipeline.service.kubeflow.runs import KubeflowRunsAs
from pipeline.service.options import SubmitOptions
from pipeline.service.vertex.runs import RunsAs
from trainer.shared.google_cloud import Place


def test_every_flag_reaches_the_request() -> None:
    line = (
        "--target vertex-gpu --coco-dir gs://b/coco --config mine.yaml --set gate.min_ap=0.4 --set seed=1 --seed 3 "
        "--registry vertex://p/r/m --only-if-changed --no-cache --notify me@example.org --image r/i:1 --max-wait 2 "
        "--webhook-secret slack "
        "--capacity flex-start --machine-type a3-highgpu-8g --boot-disk-gb 300 --network-attachment n "
        "--encryption-key k --replicas 4 --reduction-servers 2 --labels a=b --param x=1 --param y=2 --no-config-check"
    )
    flags = submit.parser().parse_args(line.split())
    assert request_of(flags) == RunRequest(
        coco_dir="gs://b/coco",
        config="mine.yaml",
        changes=("gate.min_ap=0.4", "seed=1"),
        seed=3,
        registry="vertex://p/r/m",
        only_if_changed=True,
        cached=False,
        notify="me@example.org",
        webhook_secret="slack",
    )
    assert options_of(flags) == SubmitOptions(
        target="vertex-gpu",
        image="r/i:1",
        capacity="flex-start",
        max_wait=2.0,
        machine_type="a3-highgpu-8g",
        boot_disk_gb=300,
        network_attachment="n",
        encryption_key="k",
        replicas=4,
        reduction_servers=2,
        labels=("a=b",),
        param=("x=1", "y=2"),
        config_check=False,
    )


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        ("--init od-api:hg104", ('task.init_checkpoint="od-api:hg104"',)),
        ("--init scratch", ('task.init_checkpoint=""',)),
        (
            "--init gs://b/start --train-steps 0 --set task.init_checkpoint_modules=matching",
            (
                'task.init_checkpoint="gs://b/start"',
                "trainer.train_steps=0",
                "task.init_checkpoint_modules=all",
                "task.init_checkpoint_modules=matching",  # what is set by hand comes last, and wins
            ),
        ),
    ],
)
def test_a_start_is_a_change_of_the_configuration(flags: str, changes: tuple[str, ...]) -> None:
    parsed = submit.parser().parse_args(["--target", "vertex-gpu", *flags.split()])
    assert request_of(parsed).changes == changes


def test_a_whole_detector_brings_its_configuration() -> None:
    assert RunRequest(init="od-api:hg104").config_or("custom-small") == "coco-centernet-hourglass-published"
    assert RunRequest(init="od-api:hg104", config="mine").config_or("custom-small") == "mine"
    assert RunRequest(init="efficientnet-lite0").config_or("custom-small") == "custom-cpu"
    assert RunRequest().config_or("") == ""


def test_a_start_on_this_machine_can_t_be_submitted() -> None:
    flags = submit.parser().parse_args(["--target", "vertex-gpu", "--init", "runs/latest"])
    with pytest.raises(InputError, match="--init runs/latest: on this machine; copy it to a bucket"):
        request_of(flags)


def test_a_project_or_an_endpoint() -> None:
    root = ["--target", "vertex-gpu", "--pipeline-root", "gs://my-bucket/runs"]
    flags = submit.parser().parse_args([*root, "--project", "my-project", "--region", "us-central1"])
    assert place_of(flags) == Place(project="my-project", region="us-central1")
    assert runs_as_of(flags, place_of(flags)) == RunsAs(pipeline_root="gs://my-bucket/runs")
    flags = submit.parser().parse_args([*root, "--endpoint", "http://localhost:8080"])
    assert place_of(flags) is None
    assert runs_as_of(flags, None) == KubeflowRunsAs(pipeline_root="gs://my-bucket/runs")
    flags = submit.parser().parse_args([*root, "--endpoint", "http://localhost:8080", "--project", "my-project"])
    with pytest.raises(InputError, match="given together with --project or --region; give one"):
        place_of(flags)
