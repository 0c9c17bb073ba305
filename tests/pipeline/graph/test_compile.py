"""The compiled graph: current, and of the form that both runners need."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_preprocess.base.errors import InputError
from pipeline.commands.cli import main
from pipeline.graph.compile import DEFAULT_TARGET, compile_pipeline, staleness
from pipeline.graph.targets import TARGETS, find_target
from tests.pipeline.golden import in_a_thread

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once

REPOSITORY = Path(__file__).parents[3]
NEVER_CACHED = {"data-check", "should-run", "resolve-champion", "gate", "promote", "hold", "report", "remember"}
NEVER_CACHED |= {"unchanged", "resolve-champion-2"}
# Of champion and best: a model that couldn't be scored once would be held against the next run's candidate, too.
NEVER_CACHED |= {"evaluate-2", "evaluate-3"}


@pytest.fixture(scope="module", params=TARGETS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    in_a_thread(compile_pipeline, TARGETS[request.param], output)
    # One document: Vertex AI's client reads no second one.
    content: dict[str, Any] = yaml.load(output.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content


def tasks(compiled: dict[str, Any]) -> dict[str, dict[str, Any]]:
    dags = [compiled["root"]["dag"]] + [c["dag"] for c in compiled["components"].values() if "dag" in c]
    return {name: task for dag in dags for name, task in dag["tasks"].items() if not name.startswith("condition-")}


def test_the_committed_file_is_current() -> None:
    difference = in_a_thread(staleness, find_target(DEFAULT_TARGET), REPOSITORY / "pipeline.yaml")
    assert not difference, f"pipeline.yaml is stale: run make pipeline.yaml\n{difference}"


def test_a_stale_file_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "pipeline.yaml"
    assert in_a_thread(main, ["compile", "--output", str(output)]) == 0
    text = output.read_text()
    output.write_text(text.replace("sdkVersion: kfp-", "sdkVersion: kfp-9."))
    assert in_a_thread(main, ["compile", "--output", str(output), "--check"]) == 0
    output.write_text(text.replace("gate", "gait", 1))
    assert in_a_thread(main, ["compile", "--output", str(output), "--check"]) == 1
    assert "gait" in capsys.readouterr().out


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "folder"
    output.mkdir()
    assert in_a_thread(main, ["compile", "--output", str(output)]) == 2
    assert f"--output {output}: cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "cannot be read"), ("- 1\n", "no compiled pipeline"), ("", "no compiled pipeline")],
)
def test_a_file_that_is_no_pipeline(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "pipeline.yaml"
    output.write_text(text)
    assert main(["compile", "--output", str(output), "--check"]) == 2
    assert main(["compile", "--output", "gs://my-bucket/pipeline.yaml", "--check"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert says in errors[0]
    assert "--check compares a file of this machine" in errors[1]


def test_every_task_has_a_name_for_people(compiled: dict[str, Any]) -> None:
    names = {task["taskInfo"]["name"] for task in tasks(compiled).values()}
    assert len(names) == len(tasks(compiled)) == 17
    assert {"check the data", "evaluate candidate", "evaluate champion", "promote", "hold"} < names


def test_what_reads_the_outside_world_is_not_cached(compiled: dict[str, Any]) -> None:
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


def test_the_gate_branches_on_one_unnamed_bool(compiled: dict[str, Any]) -> None:
    assert list(compiled["components"]["comp-gate"]["outputDefinitions"]["parameters"]) == ["Output"]
    branches = compiled["components"]["comp-condition-branches-2"]["dag"]["tasks"]
    conditions = [branch["triggerPolicy"]["condition"] for branch in branches.values()]
    gate = "inputs.parameter_values['pipelinechannel--gate-Output'] == true"
    assert sorted(conditions) == [f"!({gate})", gate]
    assert set(tasks(compiled)["report"]["dependentTasks"]) >= {"condition-branches-2", "gate"}


def test_unknown_target() -> None:
    with pytest.raises(InputError, match="known targets are local, vertex-cpu, vertex-gpu"):
        find_target("moon")
