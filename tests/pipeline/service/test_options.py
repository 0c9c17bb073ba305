"""The target of a submission, changed by its options. tests/pipeline/commands/test_submit.py has the refusals."""

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.graph.request import RunRequest
from pipeline.graph.targets import TARGETS
from pipeline.service.options import SubmitOptions, target_of
from trainer.shared.google_cloud import Place
from trainer.shared.versions import VERSION

PLACE = Place(project="my-project", region="us-central1")


def test_the_default_image_is_in_the_projects_repository() -> None:
    target = target_of(RunRequest(), SubmitOptions(target="vertex-gpu"), PLACE)
    assert target.image == f"us-central1-docker.pkg.dev/my-project/centernet/python-gpu:{VERSION}"


def test_options_change_the_target_and_nothing_else() -> None:
    options = SubmitOptions(target="vertex-multinode-gpu", image="r/i:1", spot=True, replicas=4, reduction_servers=2)
    target = target_of(RunRequest(notify="owner@example.org"), options, PLACE)
    assert (target.image, target.spot, target.replicas, target.reduction_servers) == ("r/i:1", True, 4, 2)
    assert target.notify == ("owner@example.org",)
    assert target.machine_type == TARGETS["vertex-multinode-gpu"].machine_type


def test_an_endpoint_needs_an_image_and_a_plain_task() -> None:
    with pytest.raises(InputError, match="--image: not given"):
        target_of(RunRequest(), SubmitOptions(target="vertex-gpu"), None)
    with pytest.raises(InputError, match="vertex-cpu, vertex-gpu, vertex-gpu-h100"):
        target_of(RunRequest(), SubmitOptions(target="vertex-tpu-v3", image="r/i:1"), None)


@pytest.mark.parametrize(
    ("name", "place", "wanted"),
    [
        ("slack", PLACE, "projects/my-project/secrets/slack/versions/latest"),
        ("projects/other/secrets/slack/versions/3", PLACE, "projects/other/secrets/slack/versions/3"),
        ("alerts/slack", None, "alerts/slack"),
    ],
)
def test_the_webhooks_secret_by_its_name(name: str, place: Place | None, wanted: str) -> None:
    options = SubmitOptions(target="vertex-gpu", image="r/i:1")
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
    with pytest.raises(InputError, match=says) as error:
        target_of(RunRequest(webhook_secret=name), SubmitOptions(target="vertex-gpu", image="r/i:1"), place)
    assert "T0KEN" not in str(error.value)
