"""kfp's compiler: every touch of what it does not document, and nothing else.

What kfp 2.17 does, and what this module makes of it:
- A component's or pipeline's spec is a protobuf message, read here as a dict (`as_dict`). A component that is loaded
  from an edited spec must be named as the graph names it in all places at once, else kfp nests it as a pipeline of its
  own (`edited`).
- A task has two names: the display name, and its component's (with "-2", "-3" for further tasks of one component),
  which the local runner prints (`display_names`).
- A pipeline is a function whose parameters kfp reads with `inspect.signature` and from its annotations. One that is
  made around another needs both set by hand (`in_exit_handler`).

tests/pipeline/graph/test_kfp_spec.py tells what to do when one of these changes.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import yaml
from google.protobuf import json_format
from kfp import components, dsl

Spec = dict[str, Any]


def as_dict(component: Any) -> Spec:
    """The spec of a pipeline or component: what kfp's compiler writes as YAML."""
    spec: Spec = json_format.MessageToDict(component.pipeline_spec)
    return spec


def platform(pipeline: Any) -> Spec:
    """What Kubernetes needs besides the spec: the second document of a compiled file; {} if there is nothing."""
    found: Spec = json_format.MessageToDict(pipeline.platform_spec)
    return found


def edited(component: Any, edit: Callable[[Spec], None], *, old_name: str, new_name: str) -> Any:
    """The component with a changed spec.

    Args:
      component: any component.
      edit: changes the spec in place.
      old_name: the component's name.
      new_name: its name in the graph.
    """
    spec = as_dict(component)
    edit(spec)
    names = {f"{prefix}{old_name}": f"{prefix}{new_name}" for prefix in ("", "comp-", "exec-")}
    # JSON first: it turns protobuf's own types into plain ones.
    plain = _renamed(json.loads(json.dumps(spec)), names)
    return components.load_component_from_text(yaml.safe_dump(plain))


def display_names(pipeline: Any) -> dict[str, str]:
    """The local runner's name of every task to the name that the graph shows."""
    spec, names = as_dict(pipeline), {}
    for dag in [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]:
        for task in dag["tasks"].values():
            names[task["componentRef"]["name"].removeprefix("comp-")] = task["taskInfo"]["name"]
    return names


def in_exit_handler(
    graph: Callable[..., str], name: str, exit_tasks: Sequence[Callable[[], dsl.PipelineTask]]
) -> Callable[..., None]:
    """The graph with tasks that run at its end, however it ends.

    The result has no output: kfp lets none out of an exit handler. It allows one task per handler and no handler in
    another; further tasks that follow the handler and ignore its failure have the same form in the spec.

    Args:
      graph: a pipeline function.
      name: display name of the handler.
      exit_tasks: make the tasks.
    """

    @wraps(graph)
    def handled(*arguments: Any) -> None:
        with dsl.ExitHandler(exit_tasks[0](), name=name) as handler:
            graph(*arguments)
        for make in exit_tasks[1:]:
            make().after(handler).ignore_upstream_failure()

    signature = inspect.signature(graph).replace(return_annotation=inspect.Signature.empty)
    handled.__signature__ = signature  # type: ignore[attr-defined]
    del handled.__annotations__["return"], handled.__wrapped__
    return handled


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The value with every text that is one of `names`, keys included, replaced."""
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(content, names) for key, content in value.items()}
    if isinstance(value, list):
        return [_renamed(content, names) for content in value]
    return names.get(value, value) if isinstance(value, str) else value
