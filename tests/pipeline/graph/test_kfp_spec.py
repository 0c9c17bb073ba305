"""kfp's compiler behaves as `pipeline.graph.kfp_spec` expects.

If a test here fails after an upgrade of kfp: read the description of the habit in the module's docstring, compile a
small pipeline and look at its spec, and change `kfp_spec`. Nothing else of `pipeline.graph` knows about these habits.
"""

from typing import Any

import pytest
from kfp import dsl

from pipeline.graph import kfp_spec
from tests.pipeline.graph.golden import in_a_thread


def tell(text: str) -> str:
    return text


def component() -> Any:
    return dsl.component(tell, base_image="example.com/python:1", install_kfp_package=False)


def pipeline(task: Any) -> Any:
    @dsl.pipeline(name="probe")
    def probe(text: str = "tell") -> str:
        first = task(text=text).set_display_name("tell it")
        second = task(text=first.output).set_display_name("again").set_env_variable("A", "1")
        return second.output

    return probe


def test_the_spec_is_a_dict_with_the_keys_that_the_yaml_has() -> None:
    spec = kfp_spec.as_dict(in_a_thread(pipeline, component()))
    assert spec["pipelineInfo"] == {"name": "probe"}
    assert {"root", "components", "deploymentSpec", "schemaVersion"} <= set(spec)
    assert "exec-tell" in spec["deploymentSpec"]["executors"]


def test_local_names_are_those_of_components() -> None:
    names = kfp_spec.display_names(in_a_thread(pipeline, component()))
    assert names == {"tell": "tell it", "tell-2": "again"}


def test_an_edited_component_is_a_plain_task_under_its_new_name() -> None:
    made = component()

    def edit(spec: dict[str, Any]) -> None:
        spec["deploymentSpec"]["executors"]["exec-tell"]["container"]["image"] = "example.com/other:2"

    other = kfp_spec.edited(made, edit, old_name="tell", new_name="train")
    spec = kfp_spec.as_dict(in_a_thread(pipeline, other))
    assert not any("dag" in facts for facts in spec["components"].values()), "a task, not a pipeline of its own"
    assert set(spec["root"]["dag"]["tasks"]) == {"train", "train-2"}
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] == "example.com/other:2"
    assert spec["root"]["inputDefinitions"]["parameters"]["text"]["defaultValue"] == "tell", "values are left alone"
    assert "exec-tell" in kfp_spec.as_dict(made)["deploymentSpec"]["executors"], "the component itself is unchanged"


def test_a_graph_in_an_exit_handler_keeps_its_parameters() -> None:
    task = component()

    def graph(text: str, times: int = 2) -> str:
        return task(text=text).set_display_name("tell it").output

    def compiled() -> Any:
        last = [lambda name=name: task(text="bye").set_display_name(name) for name in ("at the end", "after it")]
        return dsl.pipeline(name="probe")(kfp_spec.in_exit_handler(graph, "the run", last))

    spec = kfp_spec.as_dict(in_a_thread(compiled))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["text"] == {"parameterType": "STRING"}
    assert parameters["times"]["defaultValue"] == 2
    tasks = {task["taskInfo"]["name"]: task for task in spec["root"]["dag"]["tasks"].values()}
    for name in ("at the end", "after it"):
        assert tasks[name]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}, name
        assert tasks[name]["dependentTasks"] == ["exit-handler-1"], name
    assert "outputDefinitions" not in spec["root"]


def test_a_graph_with_an_output_cannot_be_in_an_exit_handler() -> None:
    """When kfp allows it, `in_exit_handler` can keep the output."""
    task = component()

    def graph() -> str:
        with dsl.ExitHandler(task(text="bye")):
            told = task(text="hello")
        return told.output

    with pytest.raises(Exception, match="output"):
        in_a_thread(dsl.pipeline(name="probe"), graph)
