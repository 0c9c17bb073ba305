"""Values of a run: what the run's own flags fill in where the parameter `dataflow` leaves it out."""

import json
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.graph.parameters import Parameter, with_dataflow

IMAGE = "example.com/mine/python-beam:1"
RUN = {
    "project": "my-project",
    "region": "us-central1",
    "service_account": "run@my-project.iam.gserviceaccount.com",
    "network": "projects/1/global/networks/mine",
}


def known(image: str = IMAGE) -> dict[str, Parameter]:
    defaults = {"preprocess_on": "step", "beam_args": "", "dataflow": json.dumps({"sdk_container_image": image})}
    return {
        name: Parameter(name=name, type="STRING", required=False, default=value) for name, value in defaults.items()
    }


def test_the_step_needs_nothing() -> None:
    assert with_dataflow(known(), {"seed": 3}, **RUN) == {"seed": 3}
    assert with_dataflow({}, {"seed": 3}, **RUN) == {"seed": 3}, "another pipeline"


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, {**RUN, "sdk_container_image": IMAGE}),
        ({"region": "europe-west4", "max_workers": 9}, {**RUN, "region": "europe-west4", "max_workers": 9}),
        (
            {"sdk_container_image": "example.com/other/beam:2"},
            {**RUN, "sdk_container_image": "example.com/other/beam:2"},
        ),
    ],
)
def test_dataflow_takes_the_runs_own_place_and_account(given: dict[str, Any], filled: dict[str, Any]) -> None:
    values = {"preprocess_on": "dataflow", "seed": 3, "dataflow": json.dumps(given)}
    found = with_dataflow(known(), values, **RUN)
    assert json.loads(found.pop("dataflow")) == {"sdk_container_image": IMAGE, **filled}
    assert found == {"preprocess_on": "dataflow", "seed": 3}


@pytest.mark.parametrize(
    ("values", "run", "image", "says"),
    [
        ({"preprocess_on": "datafow"}, RUN, IMAGE, "step, dataflow"),
        ({"beam_args": "'"}, RUN, IMAGE, "quote it"),
        ({"preprocess_on": "dataflow"}, {**RUN, "project": ""}, IMAGE, r"dataflow\.project: not given"),
        ({"preprocess_on": "dataflow"}, RUN, "", r"dataflow\.sdk_container_image: not given"),
        ({"preprocess_on": "dataflow", "dataflow": "{"}, RUN, IMAGE, "not JSON"),
        ({"preprocess_on": "dataflow", "dataflow": "[]"}, RUN, IMAGE, "not a JSON object"),
        ({"preprocess_on": "dataflow", "dataflow": '{"workers": 3}'}, RUN, IMAGE, r"dataflow\.workers: unknown"),
    ],
)
def test_what_cannot_be_right(values: dict[str, Any], run: dict[str, str], image: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        with_dataflow(known(image), values, **run)
