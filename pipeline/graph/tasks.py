"""From a component's function to a task of the graph, with the target's image, machines, limits and retries."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.support.stage import CORES, TIMEOUT
from pipeline.graph.custom_job import as_custom_job, environment
from pipeline.graph.pods import Pod, place, pod_of
from pipeline.graph.targets import Resources, Target

TRAINS = "train"
"""Name of the component that trains."""


class Tasks:
    """Makes the tasks of one target's graph."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._built: dict[str, Callable[..., dsl.PipelineTask]] = {}

    def __call__(
        self, function: Callable[..., Any], display_name: str, *, cached: bool, **arguments: Any
    ) -> dsl.PipelineTask:
        """Adds a task to the graph that is being defined.

        Args:
          function: a component's.
          display_name: the stage's name for people.
          cached: the task may take the result of an earlier one with the same inputs.
          arguments: of the function.
        """
        name, target = function.__name__, self._target
        if name not in self._built:
            self._built[name] = self._component(function)
        task = self._built[name](**arguments).set_display_name(display_name).set_caching_options(cached)
        trains = name == TRAINS
        if trains and target.retries:
            task.set_retry(target.retries, backoff_duration="60s")
        if trains and target.custom_job:
            return task
        for key, value in (environment(target) if trains else _not_training(target)).items():
            task.set_env_variable(key, value)
        resources = target.resources.get(name, Resources())
        if name in target.resources:
            _request(task, resources)
        if target.pods is not None:
            pod = pod_of(target.pods, name, accelerated=resources.accelerators > 0)
            if pod != Pod():
                place(task, pod)
        return task

    def _component(self, function: Callable[..., Any]) -> Callable[..., dsl.PipelineTask]:
        # The image holds this repository and kfp: nothing is installed when a task starts.
        built: Callable[..., dsl.PipelineTask] = dsl.component(
            function, base_image=self._target.image, install_kfp_package=False
        )
        in_custom_job = function.__name__ == TRAINS and self._target.custom_job
        return as_custom_job(built, self._target) if in_custom_job else built


def _not_training(target: Target) -> dict[str, str]:
    """Environment variables of the tasks that don't train.

    The TPU image's TensorFlow looks for a TPU when it is imported: for minutes, on a machine without one.
    """
    return {"TPU_SKIP_MDS_QUERY": "1"} if target.device == "tpu" else {}


def _request(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
        task.set_env_variable(CORES, resources.cpu)
    if resources.accelerators:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.accelerators)
    task.set_env_variable(TIMEOUT, str(round(resources.timeout_hours * 3600)))
