"""The table of targets: in the documentation, and in the compiled specs."""

import json
import re
from dataclasses import fields, replace
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from components.support.dataflow import Dataflow
from pipeline.graph.targets import TARGETS, find_target
from tests.pipeline.graph.golden import compiled
from tests.pipeline.graph.targets_table import PAGE, table, written

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once


def test_the_documentation_has_the_current_table() -> None:
    assert written(PAGE.read_text()) == table(), "run `make golden`"


def test_the_documentation_lists_exactly_the_keys_of_dataflow() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text().split("| key | default |")[1], re.MULTILINE)
    assert rows == [field.name for field in fields(Dataflow)]


@pytest.mark.parametrize(
    ("image", "beam"),
    [
        ("example.com/mine/python-gpu:0.1.0", "example.com/mine/python-beam:0.1.0"),
        ("example.com/mine/python-tpu:v2_x", "example.com/mine/python-beam:v2_x"),
        ("example.com/mine/python-gpu@sha256:" + "0" * 64, ""),
        ("example.com/mine/trainer:1", ""),
    ],
)
def test_dataflows_workers_take_the_image_of_the_same_build(image: str, beam: str) -> None:
    target = replace(TARGETS["vertex-gpu"], image=image)
    assert target.beam_image == beam
    assert json.loads(target.dataflow) == {"sdk_container_image": beam}


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("local", ""),
        (
            "vertex-multinode-gpu",
            {"distribution_strategy": "multi_worker_mirrored", "num_gpus": 8, "mixed_precision_dtype": "float16"},
        ),
        (
            "vertex-tpu-v3",
            {"distribution_strategy": "tpu", "num_gpus": 0, "tpu": "local", "mixed_precision_dtype": "bfloat16"},
        ),
    ],
)
def test_the_runtime_that_the_target_decides(name: str, runtime: object) -> None:
    found = TARGETS[name].runtime
    assert (json.loads(found)["runtime"] if found else "") == runtime
    assert compiled(name)["root"]["inputDefinitions"]["parameters"]["runtime"]["defaultValue"] == found


@pytest.mark.parametrize("name", TARGETS)
def test_steps_that_do_not_train_do_not_look_for_a_tpu(name: str) -> None:
    """They have none, and the TPU image's TensorFlow would search for minutes."""
    executors = compiled(name)["deploymentSpec"]["executors"]
    skip = {"name": "TPU_SKIP_MDS_QUERY", "value": "1"}
    skipping = {label for label, facts in executors.items() if skip in facts["container"].get("env", [])}
    others = {label for label in executors if label != "exec-train"}
    assert skipping == (others if TARGETS[name].device == "tpu" else set())


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("vertex-gpu", {"replicas": 2}, "need custom_job"),
        ("vertex-multinode-gpu", {"replicas": 0}, "replicas"),
        ("vertex-tpu-v3", {"reduction_servers": 2}, "no gradients to exchange"),
        ("vertex-tpu-v3", {"timeout_hours": 0}, "timeout_hours"),
        ("vertex-tpu-v3", {"machine_type": ""}, "machine_type"),
        ("vertex-gpu", {"capacity": "spot"}, "capacity: spot needs custom_job"),
        ("vertex-gpu-job", {"capacity": "reservation"}, "reservation"),
        ("vertex-gpu-job", {"reservation": "projects/1/zones/a/reservations/b"}, "reservation"),
    ],
)
def test_a_target_that_contradicts_itself(target: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TARGETS[target], **change)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(InputError, match="known targets are local, vertex-cpu, vertex-gpu"):
        find_target("moon")
