"""How a service runs a request: target, image, machines, labels, and further parameters."""

import re
from dataclasses import dataclass, replace
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.graph.pods import read_pods
from pipeline.graph.request import RunRequest
from pipeline.graph.targets import REPOSITORY, TARGETS, Target, find_target
from pipeline.service.vertex.rules import CAPACITIES, machine_accelerator, serving_accelerator
from trainer.config.sections import RunConfig
from trainer.deployment.plan import Plan
from trainer.report.tracking import Tracking
from trainer.shared.google_cloud import Place
from trainer.shared.webhook import CLUSTER_SECRET, SECRET_VERSION

_ONE_NODE = "a step of an endpoint is one pod on one node: the graph starts no training operator, which several need"
DEFAULT_REPOSITORY = "centernet"
"""Artifact Registry repository of the images, unless --image names another: docs/vertex.md pushes them there."""
_FLAGS = {"capacity": "--capacity", "machine_type": "--machine-type", "boot_disk_gb": "--boot-disk-gb"}
"""Options that only a custom job has, and their flags."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitOptions:
    """How to run it; "" and None mean not given."""

    target: str
    """Name of a target, see `pipeline.graph.targets`."""
    image: str = ""
    capacity: str = ""
    """on-demand, spot, flex-start, or reservation=NAME."""
    max_wait: float | None = None
    """Hours that flex-start waits for machines."""
    machine_type: str = ""
    """Machine that trains, of a custom job on GPUs."""
    boot_disk_gb: int | None = None
    """Boot disk of the machines of a custom job."""
    network_attachment: str = ""
    encryption_key: str = ""
    replicas: int | None = None
    """Machines that train; None keeps the target's number."""
    reduction_servers: int | None = None
    """As `replicas`."""
    labels: tuple[str, ...] = ()
    """`key=value`."""
    param: tuple[str, ...] = ()
    """`name=value`, any parameter of the pipeline."""
    pods: str = ""
    """File of pods, see `pipeline.graph.pods`; only for an endpoint."""
    config_check: bool = True
    """Also check the configuration's Model Garden sections, which imports TensorFlow (about 5 s)."""


def target_of(request: RunRequest, options: SubmitOptions, place: Place | None) -> Target:
    """The target, changed as the options say.

    Args:
      request: what to run.
      options: how.
      place: project and region, None for a Kubeflow Pipelines endpoint.

    Raises:
      InputError: an unknown target, or an option that the target or the endpoint doesn't support.
    """
    target = find_target(options.target)
    _check_place(target, request, options, place)
    target = replace(target, image=_image(target, options.image, place))
    if options.pods:
        target = target.with_pods(read_pods(options.pods, target.resources))
    target = _custom_job(target, options)
    for name in ("replicas", "reduction_servers"):
        count = getattr(options, name)
        if count is None:
            continue
        if target.pods is not None:
            raise InputError(f"--{name.replace('_', '-')} {count}: {_ONE_NODE}; leave it out")
        if target.strategy != "multi_worker_mirrored":
            several = ", ".join(name for name, row in TARGETS.items() if row.strategy == "multi_worker_mirrored")
            raise InputError(
                f"--{name.replace('_', '-')} {count}: target {target.name} trains on one machine; choose a target that "
                f"trains on several ({several})"
            )
        target = replace(target, **{name: count})
    if request.notify:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", request.notify):
            raise InputError(f"--notify {request.notify}: not a mail address; give one such as owner@example.org")
        target = replace(target, notify=(request.notify,))
    tracking = Tracking(tensorboard=request.tensorboard, experiment=request.experiment)
    if place is not None and tracking.region not in ("", place.region):
        raise InputError(f"--tensorboard {request.tensorboard}: not in --region {place.region}; give one that is")
    target = replace(target, tracking=tracking.text())
    if request.webhook_secret:
        target = replace(target, webhook=_webhook(request.webhook_secret, place))
    return target


def with_deployment(target: Target, config: RunConfig, where: str, place: Place | None) -> Target:
    """The target with the last stage that a configuration's section `deploy:` asks for.

    Args:
      target: without it.
      config: the parsed configuration.
      where: its origin, for messages.
      place: project and region; None for an endpoint of Kubeflow Pipelines.

    Raises:
      InputError: Vertex AI is not asked to run it, or the machine serves no predictions.
    """
    if config.deploy is None:
        return target
    if place is None:
        raise InputError(
            f"--config {where}: deploy: only Vertex AI has this stage; leave the section out, and apply what "
            "centernet deploy --manifest prints"
        )
    try:
        accelerator, count = serving_accelerator(config.deploy.machine_type)
    except InputError as error:
        raise InputError(f"--config {where}: {error}") from error
    return replace(target, deploy=Plan.of(config.deploy, accelerator, count).text())


def _custom_job(target: Target, options: SubmitOptions) -> Target:
    """The target with what only a custom job can have."""
    changes: dict[str, Any] = {}
    kind, _, reservation = options.capacity.partition("=")
    if options.capacity and (kind not in CAPACITIES or (kind == "reservation") != bool(reservation)):
        raise InputError(
            f"--capacity {options.capacity}: unknown; give on-demand, spot, flex-start, or "
            "reservation=projects/PROJECT/zones/ZONE/reservations/NAME"
        )
    if options.max_wait is not None:
        if kind != "flex-start":
            raise InputError(f"--max-wait {options.max_wait:g}: only flex-start waits; add --capacity flex-start")
        changes["max_wait_hours"] = options.max_wait
    if options.capacity:
        changes |= {"capacity": kind, "reservation": reservation}
    if options.machine_type:
        if target.device != "gpu":
            raise InputError(
                f"--machine-type {options.machine_type}: {target.name} does not train on GPUs; leave it out"
            )
        accelerator, count = machine_accelerator(options.machine_type)
        changes |= {"machine_type": options.machine_type, "accelerator": accelerator, "accelerator_count": count}
    if options.boot_disk_gb is not None:
        changes["boot_disk_gb"] = options.boot_disk_gb
    asked = [name for name in _FLAGS if changes.get(name, "on-demand") != "on-demand"]
    if asked and not target.custom_job:
        raise InputError(
            f"{_FLAGS[asked[0]]}: target {target.name} trains as a plain task, whose machine and disk the service "
            f"chooses, on demand; choose a target that trains as a custom job ({_custom_jobs()})"
        )
    if target.custom_job:  # a plain task has the run's
        changes |= {"network_attachment": options.network_attachment, "encryption_key": options.encryption_key}
    return replace(target, **changes)


def _webhook(name: str, place: Place | None) -> str:
    """The secret by its name: in the run's project, or in the endpoint's cluster."""
    if "://" in name:
        raise InputError("--webhook-secret: is an address; store it in a secret, and give the secret's name")
    if place is None:
        if not CLUSTER_SECRET.fullmatch(name):
            raise InputError(f"--webhook-secret {name}: give a Kubernetes secret with its key, such as alerts/slack")
        return name
    full = name if "/" in name else f"projects/{place.project}/secrets/{name}/versions/latest"
    if not SECRET_VERSION.fullmatch(full):
        raise InputError(
            f"--webhook-secret {name}: not a secret of Secret Manager; give its name, or "
            "projects/PROJECT/secrets/NAME/versions/VERSION"
        )
    return full


def _check_place(target: Target, request: RunRequest, options: SubmitOptions, place: Place | None) -> None:
    if target.name == "local":
        raise InputError("--target local: runs on this machine only; use centernet run")
    on_kubernetes = [name for name, row in TARGETS.items() if row.pods is not None]
    if place is not None:
        if target.pods is not None:
            raise InputError(f"--target {target.name}: runs on a Kubeflow endpoint; give --endpoint, or another target")
        if options.pods:
            raise InputError(f"--pods {options.pods}: only a Kubeflow endpoint has pods; leave it out")
        return
    if target.pods is None:
        why = "asks for machines of Vertex AI, which no node of a cluster can give whole"
        if target.replicas > 1:
            why = f"trains on several machines, and {_ONE_NODE}"
        elif target.custom_job:
            why = "trains as a custom job of Vertex AI, which an endpoint can't start"
        raise InputError(f"--target {target.name}: {why}; with --endpoint choose {' or '.join(on_kubernetes)}")
    for name in ("network_attachment", "encryption_key"):
        if value := getattr(options, name):
            raise InputError(f"--{name.replace('_', '-')} {value}: only Vertex AI has it; leave it out with --endpoint")
    if request.notify:
        raise InputError(f"--notify {request.notify}: only Vertex AI sends mail; leave it out with --endpoint")
    for name in ("tensorboard", "experiment"):
        if value := getattr(request, name):
            raise InputError(f"--{name} {value}: only Vertex AI has it; leave it out with --endpoint")
    if not options.image:
        raise InputError("--image: not given; an endpoint has no default, give the URI that make images pushed")


def _image(target: Target, image: str, place: Place | None) -> str:
    if re.search(r"\s", image):
        raise InputError(f"--image {image!r}: not an image name; give the URI that make images pushed")
    if place is not None and not image:
        ours = f"{place.region}-docker.pkg.dev/{place.project}/{DEFAULT_REPOSITORY}"
        return target.image.replace(REPOSITORY, ours)
    return image


def _custom_jobs() -> str:
    return ", ".join(name for name, row in TARGETS.items() if row.custom_job)
