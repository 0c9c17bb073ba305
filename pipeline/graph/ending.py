"""How a graph ends: tasks that tell people, however the others ended."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.alert import alert
from pipeline.graph import kfp_spec, pods
from pipeline.graph.targets import Target
from pipeline.graph.tasks import Tasks
from trainer.shared.webhook import CLUSTER_SECRET, CLUSTER_VARIABLE, SECRET_VERSION


def pipeline_of(graph: Callable[..., str], name: str, description: str, target: Target, task: Tasks) -> Any:
    """The pipeline of a graph's function, with the mail and the alert that the target asks for."""
    last = []
    if target.notify:
        last.append(lambda: _mail(target.notify))
    if target.webhook:
        last.append(lambda: _alert(task, target.webhook))
    described = dsl.pipeline(name=name, description=description)
    return described(kfp_spec.in_exit_handler(graph, "the run", last) if last else graph)


def _mail(recipients: tuple[str, ...]) -> dsl.PipelineTask:
    # It takes seconds to import, and other runs don't need it.
    from google_cloud_pipeline_components.v1.vertex_notification_email import VertexNotificationEmailOp

    made: dsl.PipelineTask = VertexNotificationEmailOp(recipients=list(recipients))
    return made.set_display_name("mail the outcome").set_caching_options(False)


def _alert(task: Tasks, secret: str) -> dsl.PipelineTask:
    # Only Vertex AI fills in the resource name, which has the project that a link needs.
    vertex = SECRET_VERSION.fullmatch(secret)
    added = task(
        alert,
        "alert",
        cached=False,
        secret=secret,
        pipeline_root=dsl.PIPELINE_ROOT_PLACEHOLDER,
        job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        run=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER if vertex else dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
    )
    if cluster := CLUSTER_SECRET.fullmatch(secret):
        pods.place(added, pods.Pod(secrets=(pods.Secret(name=cluster[1], key=cluster[2], env=CLUSTER_VARIABLE),)))
    return added
