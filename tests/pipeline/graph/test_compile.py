"""The compiled graph is current, and has the form that both runners need."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.graph.compile import compile_pipeline, staleness
from pipeline.graph.request import FILES, WATCH
from pipeline.graph.targets import COMMITTED, TARGETS
from tests.pipeline.graph.golden import in_a_thread

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once

REPOSITORY = Path(__file__).parents[3]
NEVER_CACHED = {"data-check", "should-run", "compare-splits", "resolve-champion", "gate", "promote", "hold", "report"}
NEVER_CACHED |= {"remember"}
NEVER_CACHED |= {"watch", "training-due", "no-training", "resolve-champion-3"}
NEVER_CACHED |= {"unchanged", "resolve-champion-2", "promote-2"}
# Champion and best: a failure to score one must not be cached.
NEVER_CACHED |= {"evaluate-2", "evaluate-3"}


@pytest.fixture(scope="module", params=[*TARGETS, WATCH])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    graph = (TARGETS[COMMITTED], output, WATCH) if request.param == WATCH else (TARGETS[request.param], output)
    in_a_thread(compile_pipeline, *graph)
    documents = list(yaml.load_all(output.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    # Vertex AI's client doesn't read a second one.
    assert len(documents) == (2 if request.param == "kubeflow-gpu" else 1)
    content: dict[str, Any] = documents[0]
    return content


def tasks(compiled: dict[str, Any]) -> dict[str, dict[str, Any]]:
    dags = [compiled["root"]["dag"]] + [c["dag"] for c in compiled["components"].values() if "dag" in c]
    return {name: task for dag in dags for name, task in dag["tasks"].items() if not name.startswith("condition-")}


@pytest.mark.parametrize(("pipeline", "name"), FILES.items())
def test_the_committed_file_is_current(pipeline: str, name: str) -> None:
    difference = in_a_thread(staleness, TARGETS[COMMITTED], REPOSITORY / name, pipeline)
    assert not difference, f"{name} is stale: run make {name}\n{difference}"


def test_every_task_has_a_name_for_people(compiled: dict[str, Any]) -> None:
    names = {task["taskInfo"]["name"] for task in tasks(compiled).values()}
    assert len(names) == len(tasks(compiled)) == (20 if "watch" in names else 18)
    assert {"check the data", "evaluate candidate", "evaluate champion", "promote", "request approval", "hold"} < names


def test_tasks_that_read_the_outside_world_are_not_cached(compiled: dict[str, Any]) -> None:
    cached = {name for name, task in tasks(compiled).items() if task["cachingOptions"].get("enableCache")}
    assert cached == set(tasks(compiled)) - NEVER_CACHED


def test_tasks_use_our_image_and_install_nothing(compiled: dict[str, Any]) -> None:
    images = set()
    for executor in compiled["deploymentSpec"]["executors"].values():
        container = executor["container"]
        if "google-cloud-pipeline-components" in container["image"]:  # Google's launcher, which starts our image
            declared = compiled["components"]["comp-train"]["inputDefinitions"]["parameters"]
            container = declared["worker_pool_specs"]["defaultValue"][0]["container_spec"]
            container = {**container, "image": container["image_uri"]}
        images.add(container["image"])
        assert "pip install" not in " ".join(container["command"])
    assert len(images) == 1
    assert images <= {target.image for target in TARGETS.values()}


def test_the_gate_branches_on_one_unnamed_text(compiled: dict[str, Any]) -> None:
    assert list(compiled["components"]["comp-gate"]["outputDefinitions"]["parameters"]) == ["Output"]
    branches = compiled["components"]["comp-condition-branches-2"]["dag"]["tasks"]
    conditions = [branch["triggerPolicy"]["condition"] for branch in branches.values()]
    promote, ask = (
        f"inputs.parameter_values['pipelinechannel--gate-Output'] == '{word}'" for word in ("promote", "ask")
    )
    assert sorted(conditions) == [f"!({promote}) && !({ask})", f"!({promote}) && {ask}", promote]
    assert set(tasks(compiled)["report"]["dependentTasks"]) >= {"condition-branches-2", "gate"}
