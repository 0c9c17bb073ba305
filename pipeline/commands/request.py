"""From parsed flags to what a pipeline service is asked: what to run, where, and on whose behalf."""

import argparse
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.service.submission import RunRequest
from trainer.shared.google_cloud import Place


def request_of(arguments: argparse.Namespace) -> RunRequest:
    """What the flags of `submit` and `schedule create` ask to run."""
    names = (
        "target",
        "train_images",
        "train_annotations",
        "val_images",
        "val_annotations",
        "coco_dir",
        "config",
        "seed",
        "registry",
        "image",
        "spot",
        "replicas",
        "reduction_servers",
        "only_if_changed",
        "notify",
    )
    given = {name: getattr(arguments, name) for name in names}
    return RunRequest(
        **given,
        param=tuple(arguments.param),
        labels=tuple(arguments.labels),
        cached=not arguments.no_cache,
        config_check=not arguments.no_config_check,
    )


def place_of(arguments: argparse.Namespace) -> Place | None:
    """The project and region; None for an endpoint.

    Raises:
      InputError: neither or both are given.
    """
    if arguments.endpoint:
        if arguments.project or arguments.region:
            raise InputError(f"--endpoint {arguments.endpoint}: given together with --project or --region; give one")
        return None
    missing = [f"--{name}" for name in ("project", "region") if not getattr(arguments, name)]
    if missing:
        raise InputError(f"{' and '.join(missing)}: not given; give --project and --region, or --endpoint")
    return Place(project=arguments.project, region=arguments.region)


def runs_as_of(arguments: argparse.Namespace, place: Place | None) -> Any:
    """Where runs keep their files and as whom they act: a `RunsAs`, or a `KubeflowRunsAs` for an endpoint.

    Raises:
      InputError: a flag that the place can't take.
    """
    given = {name: getattr(arguments, name) for name in ("pipeline_root", "service_account", "network")}
    if place is None:
        from pipeline.service.kubeflow.runs import KubeflowRunsAs

        return KubeflowRunsAs(**given, labels=tuple(arguments.labels))
    from pipeline.service.vertex.runs import RunsAs

    return RunsAs(**given)
