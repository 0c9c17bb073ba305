"""The graph of every target: the compiled specs are those of tests/golden."""

import difflib
from typing import Any

import pytest

from pipeline.graph.custom_job import REDUCTION_SERVER
from tests.pipeline.graph.golden import CASES, FOLDER, WATCHES, compiled, golden

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once


@pytest.mark.parametrize("case", [*CASES, *WATCHES])
def test_specs_are_the_golden_ones(case: str) -> None:
    path, found = golden(case)
    difference = difflib.unified_diff(
        path.read_text().splitlines(keepends=True), found.splitlines(keepends=True), str(path), "compiled"
    )
    assert path.read_text() == found, "run `make golden` if this is meant:\n" + "".join(difference)


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {golden(case)[0].name for case in (*CASES, *WATCHES)}


def pools(case: str) -> list[dict[str, Any]]:
    declared = compiled(case)["components"]["comp-train"]["inputDefinitions"]["parameters"]
    found: list[dict[str, Any]] = declared["worker_pool_specs"]["defaultValue"]
    return found


def test_a_tpu_slice_has_its_topology_and_the_tpu_image() -> None:
    (pool,) = pools("vertex-tpu-v5e")
    assert pool["machine_spec"]["machine_type"] == "ct5lp-hightpu-8t"
    assert pool["machine_spec"]["tpu_topology"] == "2x4"
    assert "python-tpu" in pool["container_spec"]["image_uri"]


def test_workers_run_the_same_program_and_the_third_pool_is_the_reduction_servers() -> None:
    chief, workers, reduction = pools("vertex-multinode-gpu-spot-reduction")
    assert (chief["replica_count"], workers["replica_count"], reduction["replica_count"]) == (1, 3, 4)
    assert chief["container_spec"] == workers["container_spec"]
    assert chief["container_spec"]["image_uri"] == "example.com/python-own:1"
    assert reduction["container_spec"] == {"image_uri": REDUCTION_SERVER}
