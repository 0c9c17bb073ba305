"""From parsed flags to a request: what to run, how, in which project, under which account."""

import argparse
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.commands.flags import SCRATCH, start_changes
from pipeline.graph.request import DATA, RunRequest
from pipeline.service.options import SubmitOptions
from trainer.shared.google_cloud import Place
from trainer.weights.catalogue import is_path


def request_of(flags: argparse.Namespace) -> RunRequest:
    """What the flags of `submit` and `schedule create` ask to run."""
    what = ("pipeline", "images", "since", *DATA, "coco_dir", "val_fraction", "config", "seed", "registry")
    names = (*what, "only_if_changed", "strict", "notify", "webhook_secret", "tensorboard", "experiment")
    given = {name: getattr(flags, name) for name in names}
    start = flags.init or ""
    if start != SCRATCH and is_path(start) and "://" not in start:
        raise InputError(f"--init {start}: on this machine; copy it to a bucket and give its gs:// address")
    changes = (*start_changes(flags), *flags.changes)
    return RunRequest(**given, changes=changes, init=start, cached=not flags.no_cache)


def options_of(flags: argparse.Namespace) -> SubmitOptions:
    """How to run it."""
    machines = ("replicas", "reduction_servers", "capacity", "max_wait", "machine_type", "boot_disk_gb")
    names = ("target", "image", "pods", *machines, "network_attachment", "encryption_key")
    given = {name: getattr(flags, name) for name in names}
    return SubmitOptions(
        **given, labels=tuple(flags.labels), param=tuple(flags.param), config_check=not flags.no_config_check
    )


def place_of(flags: argparse.Namespace) -> Place | None:
    """The project and region; None for an endpoint.

    Raises:
      InputError: neither or both are given.
    """
    if flags.endpoint:
        if flags.project or flags.region:
            raise InputError(f"--endpoint {flags.endpoint}: given together with --project or --region; give one")
        return None
    missing = [f"--{name}" for name in ("project", "region") if not getattr(flags, name)]
    if missing:
        raise InputError(f"{' and '.join(missing)}: not given; give --project and --region, or --endpoint")
    return Place(project=flags.project, region=flags.region)


def runs_as_of(flags: argparse.Namespace, place: Place | None) -> Any:
    """Pipeline root, service account and network: a `RunsAs`, or a `KubeflowRunsAs` for an endpoint.

    Raises:
      InputError: a flag is wrong, or an endpoint doesn't support it.
    """
    given = {name: getattr(flags, name) for name in ("pipeline_root", "service_account", "network")}
    if place is None:
        from pipeline.service.kubeflow.runs import KubeflowRunsAs

        return KubeflowRunsAs(**given, labels=tuple(flags.labels))
    from pipeline.service.vertex.runs import RunsAs

    names = ("network_attachment", "encryption_key")
    return RunsAs(**given, **{name: getattr(flags, name) for name in names})
