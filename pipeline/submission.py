"""What is sent to a pipeline service: the compiled graph, its parameters, labels, and an identity made from them."""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from beam_preprocess.errors import InputError
from pipeline import preflight
from pipeline.cost import Prices, Step, steps
from pipeline.parameters import check_values, signature, split_pairs
from pipeline.targets import Target, find_target
from trainer.config import find_config, parse_config

DATA_FLAGS = ("train_images", "train_annotations", "val_images", "val_annotations")
DEFAULT_MODEL = "centernet"
"""Id of the model in Vertex AI Model Registry when --registry doesn't say."""

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What the user asked to run; "" is not given."""

    target: str
    train_images: str = ""
    train_annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    coco_dir: str = ""
    config: str = "custom-small"
    """A YAML file or a shipped config's name; its text travels."""
    seed: int = 0
    registry: str = ""
    param: tuple[str, ...] = ()
    """`name=value`, any parameter of the pipeline."""
    labels: tuple[str, ...] = ()
    image: str = ""
    spot: bool = False
    cached: bool = True
    only_if_changed: bool = False
    notify: str = ""
    config_check: bool = True
    """Check the config's Model Garden sections too, which imports TensorFlow (about 5 s)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A run that is known to be well-formed."""

    pipeline: str
    target: Target
    spec: dict[str, Any] = field(repr=False)
    parameters: dict[str, Any]
    """By name; what keeps its default is not here."""
    labels: dict[str, str]

    def digest(self, **context: Any) -> str:
        """SHA-256 over everything that shapes the run, hexadecimal; `context` adds the place."""
        content = {"spec": self.spec, "parameters": self.parameters, "labels": self.labels, **context}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def job_id(self, now: datetime, **context: Any) -> str:
        """Name of the run: pipeline, content hash, time of the invocation. Every retry of an invocation has the same,
        and the service takes a name once, so that an invocation can start only one run."""
        return f"{self.pipeline}-{self.digest(**context)[:8]}-{now.astimezone(UTC):%Y%m%d-%H%M%S}"

    def with_run_id(self, run_id: str) -> "Submission":
        """The submission with parameter `run_id` set, if the pipeline has it and nobody set it."""
        if "run_id" not in signature(self.spec) or self.parameters.get("run_id"):
            return self
        return replace(self, parameters={**self.parameters, "run_id": run_id})

    def steps(self, prices: Prices) -> list[Step]:
        return steps(
            self.spec,
            {name: resources.timeout_hours for name, resources in self.target.resources.items()},
            prices.default_machine,
        )


def prepare(request: RunRequest, *, default_registry: str, schedule: bool = False) -> Submission:
    """Compiles the graph for the target and checks every parameter.

    Args:
      request: what to run.
      default_registry: where --registry isn't given.
      schedule: the run happens many times; nothing may then name one of them.

    Raises:
      InputError: an unknown target, parameter or label, a wrong or missing value, a config that is wrong, a local path.
    """
    target = find_target(request.target)
    if target.name == "local":
        raise InputError("--target local: runs on this machine only; use python -m pipeline run")
    target = replace(target, image=request.image or target.image)
    if request.spot:
        target = replace(target, spot=True)
    if request.notify:
        target = replace(target, notify=(request.notify,))
    labels = _labels(request.labels)
    texts = split_pairs("--param", request.param)
    if schedule and texts.get("run_id"):
        raise InputError("--param run_id: a schedule's runs need one each; leave it out")
    config_path = find_config(request.config)
    config = config_path.read_text()
    parse_config(config, str(config_path))
    config_check = preflight.ConfigCheck(config_path) if request.config_check else None
    try:
        spec = compiled(target, cached=request.cached)
        if request.spot and not any(machine.spot for step in steps(spec, {}, "") for machine in step.machines):
            raise InputError(
                f"--spot: target {target.name} trains as a plain task, which can't ask for spot capacity; take a "
                "target that trains as a custom job (vertex-multinode-gpu, vertex-tpu-v3, vertex-tpu-v5e)"
            )
        known = signature(spec)
        values = _flag_values(request, texts, config, default_registry)
        if not schedule and "run_id" in known and "run_id" not in texts:
            values["run_id"] = ""  # the job's name, once it is known
        parameters = check_values(known, texts, values)
        _check_uris(parameters)
        if config_check is not None:
            config_check.wait()
    finally:
        if config_check is not None:
            config_check.stop()
    return Submission(
        pipeline=spec["pipelineInfo"]["name"],
        target=target,
        spec=spec,
        parameters=parameters,
        labels={"pipeline": spec["pipelineInfo"]["name"], "target": target.name, **labels},
    )


def compiled(target: Target, *, cached: bool = True) -> dict[str, Any]:
    """The pipeline spec for a target; with `cached` False no task may take an earlier run's result."""
    from pipeline.compile import compile_pipeline

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compile_pipeline(target, path)
        # libyaml reads the spec five times faster than the Python parser.
        spec: dict[str, Any] = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not cached:
        for graph in (spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)):
            for task in graph["tasks"].values():
                task["cachingOptions"] = {}
    return spec


def check_data_exists(parameters: Mapping[str, Any]) -> list[str]:
    """Looks whether annotation files and image folders are there.

    Returns:
      What could not be looked at, and why (no permission, no credentials): the first step looks again.

    Raises:
      InputError: one is not there.
    """
    import fsspec

    unseen = []
    for name in DATA_FLAGS:
        uri = parameters.get(name, "")
        if not uri.startswith("gs://"):
            continue
        flag = f"--{name.replace('_', '-')}"
        try:
            filesystem, path = fsspec.core.url_to_fs(uri)
            there = filesystem.isdir(path) if name.endswith("_images") else filesystem.isfile(path)
        except Exception as error:  # gcsfs and google-auth raise many kinds, and none of them says the data is wrong
            unseen.append(
                f"{flag} {uri}: could not look ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            )
            continue
        if not there:
            kind = "folder" if name.endswith("_images") else "file"
            raise InputError(f"{flag} {uri}: no such {kind}; give the URI of one that exists")
    return unseen


def _flag_values(request: RunRequest, texts: Mapping[str, str], config: str, default_registry: str) -> dict[str, Any]:
    """What flags say; a value that `--param` gives replaces a flag's default, but not a flag that was given."""
    values: dict[str, Any] = {name: getattr(request, name) for name in DATA_FLAGS if getattr(request, name)}
    if request.coco_dir:
        if values:
            given = f"--{next(iter(values)).replace('_', '-')}"
            raise InputError(f"--coco-dir {request.coco_dir}: given together with {given}; give one")
        folder = request.coco_dir.rstrip("/")
        for split in preflight.SPLITS:
            values[f"{split}_images"] = f"{folder}/{split}2017"
            values[f"{split}_annotations"] = f"{folder}/annotations/instances_{split}2017.json"
    if "config" not in texts:
        values["config"] = config
    if request.registry or (default_registry and "registry" not in texts):
        values["registry"] = request.registry or default_registry
    if request.seed:
        values["seed"] = request.seed
    if request.only_if_changed:
        values["only_if_changed"] = True
    return values


def _check_uris(parameters: Mapping[str, Any]) -> None:
    for name in (*DATA_FLAGS, "registry", "work_dir"):
        value = parameters.get(name, "")
        if value and "://" not in value:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: is a path of this machine, which the cloud can't read; "
                "copy it to a bucket (gcloud storage cp -r) and give its gs:// URI"
            )


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    labels = split_pairs("--labels", pairs)
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise InputError(
                f"--labels {key}={value}: keys and values take a-z, 0-9, _ and -, at most 63 of them, and a key begins "
                "with a letter"
            )
    return labels
