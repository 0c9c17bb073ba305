"""The table of targets, on paper and in the compiled specs."""

import json
import re
from dataclasses import fields, replace

import pytest

from components.support.dataflow import Dataflow
from pipeline.graph.targets import TARGETS
from tests.pipeline.golden import compiled
from tests.pipeline.targets_table import PAGE, table, written

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once


def test_the_table_of_the_docs_is_that_of_the_code() -> None:
    assert written(PAGE.read_text()) == table(), "run `make golden`"


def test_the_docs_name_every_key_of_dataflow_and_no_other() -> None:
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
def test_what_the_place_decides_of_training(name: str, runtime: object) -> None:
    found = TARGETS[name].runtime
    assert (json.loads(found)["runtime"] if found else "") == runtime
    assert compiled(name)["root"]["inputDefinitions"]["parameters"]["runtime"]["defaultValue"] == found


@pytest.mark.parametrize("name", TARGETS)
def test_steps_that_do_not_train_look_for_no_tpu(name: str) -> None:
    """They have none, and the TPU image's TensorFlow would look for minutes."""
    executors = compiled(name)["deploymentSpec"]["executors"]
    skip = {"name": "TPU_SKIP_MDS_QUERY", "value": "1"}
    skipping = {label for label, facts in executors.items() if skip in facts["container"].get("env", [])}
    others = {label for label in executors if label != "exec-train"}
    assert skipping == (others if TARGETS[name].device == "tpu" else set())
