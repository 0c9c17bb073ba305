"""How a service runs a request: target, image, machines, labels, and further parameters."""

import re
from dataclasses import dataclass, replace

from beam_preprocess.base.errors import InputError
from pipeline.graph.request import RunRequest
from pipeline.graph.targets import REPOSITORY, TARGETS, Target, find_target
from trainer.shared.google_cloud import Place
from trainer.shared.webhook import CLUSTER_SECRET, SECRET_VERSION

DEFAULT_REPOSITORY = "centernet"
"""Artifact Registry repository of the images, unless --image names another: docs/vertex.md pushes them there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitOptions:
    """How to run it; "" and None mean not given."""

    target: str
    """Name of a target, see `pipeline.graph.targets`."""
    image: str = ""
    spot: bool = False
    replicas: int | None = None
    """Machines that train; None keeps the target's number."""
    reduction_servers: int | None = None
    """As `replicas`."""
    labels: tuple[str, ...] = ()
    """`key=value`."""
    param: tuple[str, ...] = ()
    """`name=value`, any parameter of the pipeline."""
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
    if options.spot:
        if not target.custom_job:
            raise InputError(
                f"--spot: target {target.name} trains as a plain task, which can't use spot capacity; choose a target "
                f"that trains as a custom job ({_names(custom_job=True)})"
            )
        target = replace(target, spot=True)
    for name in ("replicas", "reduction_servers"):
        count = getattr(options, name)
        if count is None:
            continue
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
    if request.webhook_secret:
        target = replace(target, webhook=_webhook(request.webhook_secret, place))
    return target


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
    if place is not None:
        return
    if target.custom_job:
        raise InputError(
            f"--target {target.name}: trains as a custom job of Vertex AI, which an endpoint can't start; choose a "
            f"target that trains as a plain task ({_names(custom_job=False)})"
        )
    if request.notify:
        raise InputError(f"--notify {request.notify}: only Vertex AI sends mail; leave it out with --endpoint")
    if not options.image:
        raise InputError("--image: not given; an endpoint has no default, give the URI that make images pushed")


def _image(target: Target, image: str, place: Place | None) -> str:
    if re.search(r"\s", image):
        raise InputError(f"--image {image!r}: not an image name; give the URI that make images pushed")
    if place is not None and not image:
        ours = f"{place.region}-docker.pkg.dev/{place.project}/{DEFAULT_REPOSITORY}"
        return target.image.replace(REPOSITORY, ours)
    return image


def _names(*, custom_job: bool) -> str:
    return ", ".join(name for name, row in TARGETS.items() if row.custom_job == custom_job and name != "local")
