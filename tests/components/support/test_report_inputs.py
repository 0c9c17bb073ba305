"""Which run an output belongs to."""

import pytest

from components.support.report_inputs import run_name


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/data/runs/20261122-030000/stages/gate", "20261122-030000"),
        ("/data/runs/20261122-030000-2/stages/gate/", "20261122-030000-2"),
        (
            "gs://b/root/1234/centernet-training-20261124-030000/gate_-8832/decision",
            "centernet-training-20261124-030000",
        ),
        ("gs://b/root/1234/job-1/gate-2_77/decision", "job-1"),
        ("s3://b/somewhere/else", ""),
        ("", ""),
    ],
)
def test_run_name(uri: str, name: str) -> None:
    assert run_name(uri) == name
