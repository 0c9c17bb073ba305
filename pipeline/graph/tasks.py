"""From a component's function to a task of the graph, with what the target gives: image, machine, limits, retries."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.support.stage import CORES, TIMEOUT
from pipeline.graph.custom_job import as_custom_job, environment
from pipeline.graph.targets import Resources, Target


def component(function: Callable[..., Any], target: Target, *, trains: bool = False) -> Callable[..., dsl.PipelineTask]:
    """A factory of tasks: `task(display_name, cached=..., **arguments)`."""
    # The image holds this repository and kfp: nothing is installed when a task starts.
    built = dsl.component(function, base_image=target.image, install_kfp_package=False)
    in_custom_job = trains and target.custom_job
    if in_custom_job:
        built = as_custom_job(built, target)
    resources = target.resources.get(function.__name__)

    def task(display_name: str, *, cached: bool, **arguments: Any) -> dsl.PipelineTask:
        made = built(**arguments).set_display_name(display_name).set_caching_options(cached)
        if trains and target.retries:
            made.set_retry(target.retries, backoff_duration="60s")
        if not in_custom_job:
            for name, value in (environment(target) if trains else _beside_training(target)).items():
                made.set_env_variable(name, value)
            if resources is not None:
                _give(made, resources)
        return made

    return task


def _beside_training(target: Target) -> dict[str, str]:
    """Environment variables of the steps that don't train. The TPU image's TensorFlow looks for a TPU at import, for
    minutes on a machine without one."""
    return {"TPU_SKIP_MDS_QUERY": "1"} if target.device == "tpu" else {}


def _give(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
        task.set_env_variable(CORES, resources.cpu)
    if resources.accelerators:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.accelerators)
    task.set_env_variable(TIMEOUT, str(round(resources.timeout_hours * 3600)))
