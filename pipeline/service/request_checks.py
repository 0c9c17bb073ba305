"""Errors that well-typed parameters can still have, found before anything is sent.

A step of the run would find them too, but after hours that cost money.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from beam_preprocess.base.errors import InputError
from components.support.dataflow import DATAFLOW
from pipeline.graph.parameters import split_pairs
from pipeline.graph.request import DATA
from pipeline.graph.targets import Target
from trainer.config.sections import RunConfig
from trainer.registry.base import VERTEX_SCHEME
from trainer.registry.uri import open_registry

MAX_SEED = 2**31 - 1
"""The limit of NumPy and TensorFlow."""

_OWN_LABELS = ("pipeline", "target", "content")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_BUCKET_URI = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?")


def values(parameters: Mapping[str, Any]) -> None:
    """Checks that data is in a bucket, steps can reach the registry, the seed is in range, and overrides parse.

    Args:
      parameters: by name; those that keep their default are absent.

    Raises:
      InputError: a check fails.
    """
    for name in ("images", *DATA, "work_dir"):
        if uri := parameters.get(name, ""):
            bucket(f"--{name.replace('_', '-')}", uri)
    if registry := parameters.get("registry", ""):
        if not registry.startswith(VERTEX_SCHEME):
            raise InputError(
                f"--registry {registry}: not a registry that all steps of a service can lock; give "
                f"{VERTEX_SCHEME}PROJECT/REGION/MODEL_ID, which is created if it does not exist"
            )
        open_registry(registry)  # checks the URI, without a connection
    seed = parameters.get("seed", 0)
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"--seed {seed}: give a whole number from 0 to {MAX_SEED}")
    _override(parameters.get("runtime", ""))


def root(uri: str) -> None:
    """Checks the folder that a run writes to.

    Raises:
      InputError: it isn't given, or not in Cloud Storage.
    """
    if not uri:
        raise InputError(
            "--pipeline-root: not given; it is the folder below which a run writes everything; give one in a bucket of "
            "yours, such as --pipeline-root gs://my-bucket/runs (or pipeline_root in a profile)"
        )
    bucket("--pipeline-root", uri)


def bucket(flag: str, uri: str) -> None:
    """Checks that a URI is in Cloud Storage.

    Raises:
      InputError: it is not.
    """
    if "://" not in uri or uri.startswith("file://"):
        raise InputError(
            f"{flag} {uri}: a path on this machine, which the cloud can't read; copy it to a bucket (gcloud storage "
            "cp -r) and give its gs:// URI"
        )
    if not _BUCKET_URI.fullmatch(uri):
        raise InputError(f"{flag} {uri}: not a Cloud Storage URI, which the steps need; give gs://BUCKET/FOLDER")


def _override(text: str) -> None:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        found = error
    if text and not isinstance(found, dict) and not (isinstance(found, str) and "=" in found):
        raise InputError(
            f"--param runtime={text}: not an override of training's keys; give YAML such as "
            "'runtime: {mixed_precision_dtype: float32}'"
        )


def labels(pairs: tuple[str, ...]) -> dict[str, str]:
    """`key=value` texts as labels that the service accepts.

    Raises:
      InputError: one is not accepted.
    """
    found = split_pairs("--labels", pairs)
    for key, value in found.items():
        if key in _OWN_LABELS:
            raise InputError(f"--labels {key}={value}: this command sets {key}; choose another key")
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise InputError(
                f"--labels {key}={value}: keys and values have at most 63 of a-z, 0-9, _ and -, and keys begin with a "
                "letter"
            )
    return found


def dataflow_key(parameters: Mapping[str, Any], encryption_key: str) -> None:
    """Checks that a run with a key of its own has one on Dataflow too, which takes it from Beam's options only.

    Raises:
      InputError: it has none.
    """
    on_dataflow = parameters.get("preprocess_on") == DATAFLOW
    if encryption_key and on_dataflow and "dataflow_kms_key" not in parameters.get("beam_args", ""):
        raise InputError(
            f"--encryption-key {encryption_key}: Dataflow's job does not get it; add --param "
            f"'beam_args=--dataflow_kms_key={encryption_key}'"
        )


def batches(config: RunConfig, where: str, target: Target) -> None:
    """Checks that the devices can split each batch evenly. Training checks it too, but only after preprocessing.

    Raises:
      InputError: they can't.
    """
    devices = target.accelerator_count * target.replicas
    if target.tpu_topology:
        devices = math.prod(map(int, target.tpu_topology.split("x")))
    for section in ("train_data", "validation_data"):
        batch = (config.experiment["task"].get(section) or {}).get("global_batch_size", 0)
        if devices and isinstance(batch, int) and batch % devices:
            raise InputError(
                f"--config {where}: task.{section}.global_batch_size: {batch} is not a multiple of the {devices} "
                f"devices of {target.name}; change it, or choose another target"
            )
