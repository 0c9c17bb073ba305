"""What is sent to a pipeline service: the compiled graph, its parameters, labels, and an identity made from them."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from beam_preprocess.base.errors import InputError
from components.support.dataflow import DATAFLOW, Dataflow
from pipeline.graph.parameters import check_values, signature, split_pairs, with_dataflow
from pipeline.graph.targets import REPOSITORY, TARGETS, Target, find_target
from pipeline.preflight import checks as preflight
from pipeline.service import request_checks
from pipeline.service.cost import Prices, Step, steps
from trainer.config.sections import find_config, parse_config
from trainer.shared.google_cloud import Place

DEFAULT_MODEL = "centernet"
"""Id of the model in Vertex AI Model Registry when --registry doesn't say."""
DEFAULT_CONFIG = "custom-small"
DEFAULT_REPOSITORY = "centernet"
"""Artifact Registry repository of the images when --image doesn't say: where docs/vertex.md has them pushed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What the user asked to run; "" is not given."""

    target: str
    train_images: str = ""
    train_annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    coco_dir: str = ""
    config: str = ""
    """A YAML file or a shipped config's name; its text travels. "" is custom-small, which is for CPUs."""
    seed: int = 0
    registry: str = ""
    param: tuple[str, ...] = ()
    """`name=value`, any parameter of the pipeline."""
    labels: tuple[str, ...] = ()
    image: str = ""
    spot: bool = False
    replicas: int | None = None
    """Machines that train; None is the target's, as `reduction_servers`."""
    reduction_servers: int | None = None
    cached: bool = True
    only_if_changed: bool = False
    notify: str = ""
    config_check: bool = True
    """Check the config's Model Garden sections too, which imports TensorFlow (about 5 s)."""


class ActsAs(Protocol):
    """Where a run keeps its files and as whom it acts: `RunsAs`, or `KubeflowRunsAs`."""

    @property
    def service_account(self) -> str: ...
    @property
    def network(self) -> str: ...
    def context(self) -> dict[str, str]:
        """What of it is part of a submission's identity."""


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
        """What it runs on which machines."""
        values = {name: parameter.default for name, parameter in signature(self.spec).items()} | self.parameters
        dataflow = Dataflow.parse(values["dataflow"]) if values["preprocess_on"] == DATAFLOW else None
        return steps(self.spec, prices.default_machine, dataflow)


def content_of(submission: Submission, runs_as: ActsAs) -> str:
    """What tells a run or a schedule of this from those of something else: a label's text."""
    return submission.digest(**runs_as.context())[:16]


def prepare(request: RunRequest, *, place: Place | None, runs_as: ActsAs, schedule: bool = False) -> Submission:
    """Compiles the graph for the target and checks every parameter.

    Args:
      request: what to run.
      place: project and region, whose registry and image repository are the defaults; None for a Kubeflow Pipelines
        endpoint, which has neither.
      runs_as: whose account and network a custom job and a Dataflow job take over.
      schedule: the run happens many times; nothing may then name one of them.

    Raises:
      InputError: an unknown target, parameter or label, a wrong or missing value, a config that is wrong, a local path,
        or something that an endpoint can't do.
    """
    target = _target(request, place)
    labels = request_checks.labels(request.labels)
    texts = split_pairs("--param", request.param)
    for name in ("run_id", "work_dir"):  # a folder that they share would be the champion's model, written again
        if schedule and texts.get(name):
            raise InputError(f"--param {name}: a schedule's runs need one each; leave it out")
    if "config" in texts:
        raise InputError("--param config: give --config, which takes a file, and checks it")
    config_path = find_config(request.config or _default_config(target))
    config = config_path.read_text()
    parsed = parse_config(config, str(config_path))
    if "runtime" not in texts:  # which changes how many devices there are
        request_checks.batches(parsed, str(config_path), target)
    config_check = preflight.ConfigCheck(config_path) if request.config_check else None
    try:
        spec = compiled(target, cached=request.cached)
        known = signature(spec)
        values = _flag_values(request, texts, config, place)
        if not schedule and "run_id" in known and "run_id" not in texts:
            values["run_id"] = ""  # the job's name, once it is known
        account = {"service_account": runs_as.service_account, "network": runs_as.network} if place else {}
        if target.custom_job:
            values |= {name: value for name, value in account.items() if value and name not in texts}
        parameters = with_dataflow(
            known,
            check_values(known, texts, values),
            project=place.project if place else "",
            region=place.region if place else "",
            service_account=account.get("service_account", ""),
            network=account.get("network", ""),
        )
        request_checks.values(parameters)
        if config_check is not None:
            print("checking the configuration, Model Garden's sections too", flush=True)
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
    from google.protobuf import json_format

    from pipeline.graph import training_pipeline

    # What kfp's compiler writes as YAML, without writing and reading it.
    spec: dict[str, Any] = json_format.MessageToDict(training_pipeline.make_pipeline(target).pipeline_spec)
    if not cached:
        for graph in (spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)):
            for task in graph["tasks"].values():
                task["cachingOptions"] = {}
    return spec


def _target(request: RunRequest, place: Place | None) -> Target:
    """The target with what the flags change of it."""
    target = find_target(request.target)
    if target.name == "local":
        raise InputError("--target local: runs on this machine only; use python -m pipeline run")
    if place is None and target.custom_job:
        plain = ", ".join(name for name, row in TARGETS.items() if not row.custom_job and name != "local")
        raise InputError(
            f"--target {target.name}: trains as a custom job of Vertex AI, which an endpoint can't start; take one "
            f"that trains as a plain task ({plain})"
        )
    if place is None and request.notify:
        raise InputError(f"--notify {request.notify}: only Vertex AI mails; leave it out with --endpoint")
    if place is None and not request.image:
        raise InputError("--image: not given; an endpoint has no default, give the URI that make images pushed")
    image = request.image
    if re.search(r"\s", image):
        raise InputError(f"--image {image!r}: is no image's name; give the URI that make images pushed")
    if place is not None and not image:
        image = target.image.replace(REPOSITORY, f"{place.region}-docker.pkg.dev/{place.project}/{DEFAULT_REPOSITORY}")
    target = replace(target, image=image)
    if request.spot and not target.custom_job:
        jobs = ", ".join(name for name, row in TARGETS.items() if row.custom_job)
        raise InputError(
            f"--spot: target {target.name} trains as a plain task, which can't ask for spot capacity; take one that "
            f"trains as a custom job ({jobs})"
        )
    if request.spot:
        target = replace(target, spot=True)
    for name in ("replicas", "reduction_servers"):
        count = getattr(request, name)
        if count is None:
            continue
        if target.strategy != "multi_worker_mirrored":
            several = ", ".join(name for name, row in TARGETS.items() if row.strategy == "multi_worker_mirrored")
            raise InputError(
                f"--{name.replace('_', '-')} {count}: target {target.name} trains on one machine; take one that trains "
                f"on several ({several})"
            )
        target = replace(target, **{name: count})
    if request.notify:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", request.notify):
            raise InputError(f"--notify {request.notify}: is no mail address; give one such as owner@example.org")
        target = replace(target, notify=(request.notify,))
    return target


def _default_config(target: Target) -> str:
    if target.device != "cpu":
        raise InputError(
            f"--config: not given, and custom-small is for CPUs, not for {target.name}; give custom-gpu, a reference "
            "config, or your own file"
        )
    return DEFAULT_CONFIG


def _flag_values(request: RunRequest, texts: Mapping[str, str], config: str, place: Place | None) -> dict[str, Any]:
    """What flags say; a value that `--param` gives replaces a flag's default, but not a flag that was given."""
    values: dict[str, Any] = {name: getattr(request, name) for name in preflight.DATA if getattr(request, name)}
    if request.coco_dir:
        if values:
            given = f"--{next(iter(values)).replace('_', '-')}"
            raise InputError(f"--coco-dir {request.coco_dir}: given together with {given}; give one")
        folder = request.coco_dir.rstrip("/")
        for split in preflight.SPLITS:
            values[f"{split}_images"] = f"{folder}/{split}2017"
            values[f"{split}_annotations"] = f"{folder}/annotations/instances_{split}2017.json"
    values["config"] = config
    if request.registry:
        values["registry"] = request.registry
    elif place is not None and "registry" not in texts:
        values["registry"] = f"vertex://{place.project}/{place.region}/{DEFAULT_MODEL}"
    if request.seed:
        values["seed"] = request.seed
    if request.only_if_changed:
        values["only_if_changed"] = True
    return values
