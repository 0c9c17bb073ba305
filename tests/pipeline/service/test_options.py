"""The target of a submission, changed by its options. tests/pipeline/commands/test_submit.py has the refusals."""

import json

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.graph.request import RunRequest
from pipeline.graph.targets import TARGETS
from pipeline.service import request_checks
from pipeline.service.options import SubmitOptions, target_of
from trainer.shared.google_cloud import Place
from trainer.shared.versions import VERSION

PLACE = Place(project="my-project", region="us-central1")


def test_the_default_image_is_in_the_projects_repository() -> None:
    target = target_of(RunRequest(), SubmitOptions(target="vertex-gpu"), PLACE)
    assert target.image == f"us-central1-docker.pkg.dev/my-project/centernet/python-gpu:{VERSION}"


def test_options_change_the_target_and_nothing_else() -> None:
    options = SubmitOptions(
        target="vertex-multinode-gpu", image="r/i:1", capacity="spot", replicas=4, reduction_servers=2
    )
    target = target_of(RunRequest(notify="owner@example.org"), options, PLACE)
    assert (target.image, target.capacity, target.replicas, target.reduction_servers) == ("r/i:1", "spot", 4, 2)
    assert target.notify == ("owner@example.org",)
    assert target.machine_type == TARGETS["vertex-multinode-gpu"].machine_type


def test_another_machine_has_its_accelerators() -> None:
    options = SubmitOptions(target="vertex-gpu-h100", machine_type="a3-highgpu-2g", capacity="flex-start", max_wait=2)
    target = target_of(RunRequest(), options, PLACE)
    assert (target.accelerator, target.accelerator_count) == ("NVIDIA_H100_80GB", 2)
    assert json.loads(target.runtime)["runtime"]["num_gpus"] == 2
    assert (target.capacity, target.max_wait_hours) == ("flex-start", 2)


def test_a_key_on_dataflow() -> None:
    parameters = {"preprocess_on": "dataflow", "beam_args": ""}
    with pytest.raises(InputError, match="add --param 'beam_args=--dataflow_kms_key=KEY'"):
        request_checks.dataflow_key(parameters, "KEY")
    request_checks.dataflow_key({**parameters, "beam_args": "--dataflow_kms_key=KEY"}, "KEY")
    request_checks.dataflow_key(parameters, "")


def test_an_endpoint_needs_an_image_and_a_target_of_its_own() -> None:
    with pytest.raises(InputError, match="--image: not given"):
        target_of(RunRequest(), SubmitOptions(target="kubeflow"), None)
    for target in ("vertex-cpu", "vertex-tpu-v3"):
        with pytest.raises(InputError, match="with --endpoint choose kubeflow or kubeflow-gpu"):
            target_of(RunRequest(), SubmitOptions(target=target, image="r/i:1"), None)
    with pytest.raises(InputError, match="--target kubeflow: runs on a Kubeflow endpoint"):
        target_of(RunRequest(), SubmitOptions(target="kubeflow"), PLACE)
    with pytest.raises(InputError, match="only a Kubeflow endpoint has pods"):
        target_of(RunRequest(), SubmitOptions(target="vertex-cpu", pods="pods.yaml"), PLACE)


@pytest.mark.parametrize(
    ("name", "place", "wanted"),
    [
        ("slack", PLACE, "projects/my-project/secrets/slack/versions/latest"),
        ("projects/other/secrets/slack/versions/3", PLACE, "projects/other/secrets/slack/versions/3"),
        ("alerts/slack", None, "alerts/slack"),
    ],
)
def test_the_webhooks_secret_by_its_name(name: str, place: Place | None, wanted: str) -> None:
    options = SubmitOptions(target="vertex-gpu" if place else "kubeflow-gpu", image="r/i:1")
    assert target_of(RunRequest(webhook_secret=name), options, place).webhook == wanted


@pytest.mark.parametrize(
    ("name", "place", "says"),
    [
        ("https://hooks.example.org/T0KEN", PLACE, "is an address; store it in a secret"),
        ("a/b", PLACE, "--webhook-secret a/b: not a secret of Secret Manager"),
        ("slack", None, "give a Kubernetes secret with its key, such as alerts/slack"),
    ],
)
def test_not_the_name_of_a_secret(name: str, place: Place | None, says: str) -> None:
    options = SubmitOptions(target="vertex-gpu" if place else "kubeflow-gpu", image="r/i:1")
    with pytest.raises(InputError, match=says) as error:
        target_of(RunRequest(webhook_secret=name), options, place)
    assert "T0KEN" not in str(error.value)
