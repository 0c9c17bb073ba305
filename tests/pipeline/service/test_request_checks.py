"""Checks of a request before it is sent. tests/pipeline/commands/test_submit.py has them from the command line."""

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.service import request_checks


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_values_that_are_accepted(seed: int) -> None:
    parameters = {"train_images": "gs://my-data/train", "registry": "vertex://my-project/us-central1/centernet"}
    request_checks.values({**parameters, "seed": seed, "runtime": "runtime.mixed_precision_dtype=float32"})


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"seed": 2**31}, "--seed 2147483648: give a whole number"),
        ({"work_dir": "runs"}, "--work-dir runs: a path on this machine"),
        ({"val_images": "s3://my-data/val"}, "not a Cloud Storage URI"),
        ({"registry": "registry"}, "not a registry that all steps of a service can lock"),
        ({"runtime": "- 1"}, "not an override of training's keys"),
    ],
)
def test_values_that_are_refused(parameters: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        request_checks.values(parameters)


def test_labels() -> None:
    assert request_checks.labels(("team=vision", "stage=")) == {"team": "vision", "stage": ""}
    for wrong in ("Team=x", "team=X", "1=x", f"team={'x' * 64}", "content=x"):
        with pytest.raises(InputError, match="--labels"):
            request_checks.labels((wrong,))
