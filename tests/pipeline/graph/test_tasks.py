"""What a task takes from its target."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from kfp import dsl

from components.support.stage import CORES, TIMEOUT
from pipeline.graph import kfp_spec
from pipeline.graph.targets import TARGETS, Resources, Target
from pipeline.graph.tasks import Tasks
from tests.pipeline.graph.golden import in_a_thread

RESOURCES = Resources(cpu="2", memory="4G", accelerator="NVIDIA_TESLA_T4", accelerators=1, timeout_hours=0.5)


def train(text: str) -> str:
    return text


def gate(text: str) -> str:
    return text


def spec_of(target: Target) -> dict[str, Any]:
    @dsl.pipeline(name="probe")
    def probe() -> None:
        task = Tasks(target)
        task(train, "the training", cached=True, text="a")
        task(gate, "the gate", cached=False, text="b")

    return kfp_spec.as_dict(probe)


def test_a_task_has_the_targets_machine_limit_and_retries() -> None:
    target = replace(TARGETS["vertex-cpu"], retries=3, resources=MappingProxyType({"train": RESOURCES}))
    spec = in_a_thread(spec_of, target)
    tasks = spec["root"]["dag"]["tasks"]
    assert tasks["train"]["taskInfo"] == {"name": "the training"}
    assert tasks["train"]["cachingOptions"]["enableCache"] is True
    assert not tasks["gate"].get("cachingOptions", {}).get("enableCache")
    assert tasks["train"]["retryPolicy"]["maxRetryCount"] == 3
    assert "retryPolicy" not in tasks["gate"], "only training is tried again"
    trained = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert trained["resources"]["accelerator"]["type"] == "NVIDIA_TESLA_T4"
    variables = {entry["name"]: entry["value"] for entry in trained["env"]}
    assert (variables[CORES], variables[TIMEOUT]) == ("2", "1800")
    gated = spec["deploymentSpec"]["executors"]["exec-gate"]["container"]
    assert gated["image"] == trained["image"] == target.image
    assert "resources" not in gated


def test_one_component_makes_several_tasks() -> None:
    def twice() -> Any:
        @dsl.pipeline(name="probe")
        def probe() -> None:
            task = Tasks(TARGETS["local"])
            first = task(gate, "first", cached=False, text="a")
            task(gate, "second", cached=False, text=first.output)

        return probe

    names = kfp_spec.display_names(in_a_thread(twice))
    assert names == {"gate": "first", "gate-2": "second"}
