"""CLUSTER_SPEC becomes TF_CONFIG."""

import json

import pytest

from beam_preprocess.base.errors import InputError
from trainer.training.cluster import tf_config

POOLS = {"workerpool0": ["a:1"], "workerpool1": ["b:1", "c:1"], "workerpool2": ["d:1"]}


@pytest.mark.parametrize(
    ("pools", "task", "cluster", "role"),
    [
        (POOLS, {"type": "workerpool0", "index": 0}, {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("chief", 0)),
        (POOLS, {"type": "workerpool1", "index": 1}, {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("worker", 1)),
        (POOLS, {"type": "workerpool1", "index": "1"}, {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("worker", 1)),
    ],
)
def test_roles(pools: object, task: object, cluster: object, role: tuple[str, int]) -> None:
    found = json.loads(tf_config({"CLUSTER_SPEC": json.dumps({"cluster": pools, "task": task})}))
    assert found == {"cluster": cluster, "task": {"type": role[0], "index": role[1]}}


@pytest.mark.parametrize("pools", [{"workerpool0": ["a:1"]}, {"workerpool0": ["a:1"], "workerpool1": []}])
def test_one_machine_needs_none(pools: object) -> None:
    task = {"type": "workerpool0", "index": 0}
    assert tf_config({"CLUSTER_SPEC": json.dumps({"cluster": pools, "task": task})}) == ""
    assert tf_config({}) == ""


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        json.dumps({"cluster": POOLS}),
        json.dumps({"cluster": POOLS, "task": {"type": "ps", "index": 0}}),
    ],
)
def test_damaged(text: str) -> None:
    with pytest.raises(InputError, match="CLUSTER_SPEC"):
        tf_config({"CLUSTER_SPEC": text})
