"""What of a submission can be known to be wrong although every parameter has its type: told before anything is sent,
since a step would tell it after hours that cost money."""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from beam_preprocess.base.errors import InputError
from pipeline.graph.parameters import split_pairs
from pipeline.graph.targets import Target
from pipeline.preflight.checks import DATA
from trainer.config.sections import RunConfig
from trainer.registry.base import VERTEX_SCHEME
from trainer.registry.uri import open_registry

MOST_SEED = 2**31 - 1
"""Larger ones are no seeds of NumPy's and TensorFlow's."""

_OWN_LABELS = ("pipeline", "target", "content")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_BUCKET_URI = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?")


def values(parameters: Mapping[str, Any]) -> None:
    """Data in a bucket, a registry that the steps can reach, a seed in range, overrides that can be parsed.

    Args:
      parameters: by name; what keeps its default is not there.

    Raises:
      InputError: one is not.
    """
    for name in (*DATA, "work_dir"):
        if uri := parameters.get(name, ""):
            bucket(f"--{name.replace('_', '-')}", uri)
    if registry := parameters.get("registry", ""):
        if not registry.startswith(VERTEX_SCHEME):
            raise InputError(
                f"--registry {registry}: is no folder that all steps of a service can lock; give "
                f"{VERTEX_SCHEME}PROJECT/REGION/MODEL_ID, which is made when absent"
            )
        open_registry(registry)  # reads the URI, and connects to nothing
    seed = parameters.get("seed", 0)
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"--seed {seed}: give a whole number from 0 to {MOST_SEED}")
    _override(parameters.get("runtime", ""))


def bucket(flag: str, uri: str) -> None:
    """
    Raises:
      InputError: the URI is not one of Cloud Storage.
    """
    if "://" not in uri or uri.startswith("file://"):
        raise InputError(
            f"{flag} {uri}: is a path of this machine, which the cloud can't read; copy it to a bucket (gcloud storage "
            "cp -r) and give its gs:// URI"
        )
    if not _BUCKET_URI.fullmatch(uri):
        raise InputError(f"{flag} {uri}: is no URI of Cloud Storage, which the steps read; give gs://BUCKET/FOLDER")


def _override(text: str) -> None:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        found = error
    if text and not isinstance(found, dict) and not (isinstance(found, str) and "=" in found):
        raise InputError(
            f"--param runtime={text}: is no override of training's keys; give YAML such as "
            "'runtime: {mixed_precision_dtype: float32}'"
        )


def labels(pairs: tuple[str, ...]) -> dict[str, str]:
    """`key=value` texts as labels that the service takes.

    Raises:
      InputError: one is not.
    """
    found = split_pairs("--labels", pairs)
    for key, value in found.items():
        if key in _OWN_LABELS:
            raise InputError(f"--labels {key}={value}: {key} is set by this command; take another key")
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise InputError(
                f"--labels {key}={value}: keys and values take a-z, 0-9, _ and -, at most 63 of them, and a key begins "
                "with a letter"
            )
    return found


def batches(config: RunConfig, where: str, target: Target) -> None:
    """Training refuses a batch that its devices can't share, but only after the preprocessing.

    Raises:
      InputError: the configuration has one.
    """
    devices = target.accelerator_count * target.replicas
    if target.tpu_topology:
        devices = math.prod(map(int, target.tpu_topology.split("x")))
    for section in ("train_data", "validation_data"):
        batch = (config.experiment["task"].get(section) or {}).get("global_batch_size", 0)
        if devices and isinstance(batch, int) and batch % devices:
            raise InputError(
                f"--config {where}: task.{section}.global_batch_size: {batch} is not a multiple of the {devices} "
                f"devices of {target.name}; change it, or take another target"
            )
