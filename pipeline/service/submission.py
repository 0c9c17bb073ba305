"""What is sent to a pipeline service: the compiled graph, its parameters, labels, and an identity made from them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from beam_preprocess.base.config_text import ConfigText, resolve
from beam_preprocess.base.errors import InputError
from components.support.dataflow import DATAFLOW, Dataflow
from pipeline.graph.parameters import check_values, signature, split_pairs, with_dataflow
from pipeline.graph.request import TRAINING, RunRequest
from pipeline.graph.targets import Target
from pipeline.preflight import weights
from pipeline.preflight.configuration import ConfigCheck
from pipeline.preflight.reported_ap import gate_warning
from pipeline.service import request_checks
from pipeline.service.cost import Step, steps
from pipeline.service.options import SubmitOptions, target_of, with_deployment
from pipeline.service.vertex import rules
from trainer.config.sections import parse_config
from trainer.shared.google_cloud import Place

DEFAULT_MODEL = "centernet"
"""Id of the model in Vertex AI Model Registry, unless --registry names another."""
DEFAULT_CONFIG = "custom-cpu"


class ActsAs(Protocol):
    """Where a run writes its files and which service account its steps run as: `RunsAs`, or `KubeflowRunsAs`."""

    @property
    def service_account(self) -> str: ...
    @property
    def network(self) -> str: ...
    def context(self) -> dict[str, str]:
        """The part that belongs to a submission's identity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A run that passed all checks of its form."""

    pipeline: str
    target: Target
    spec: dict[str, Any] = field(repr=False)
    parameters: dict[str, Any]
    """By name; those that keep their default are absent."""
    config_where: str
    """Origin of the configuration, for messages."""
    labels: dict[str, str]
    platform: dict[str, Any] = field(default_factory=dict, repr=False)
    """Where Kubernetes places the pods, and what it mounts; {} on Vertex AI."""
    weights: str = ""
    """Where the training's weights start, for people."""
    weights_uri: str = ""
    """The checkpoint that they start from; "" is from scratch."""
    warnings: tuple[str, ...] = ()

    def digest(self, **context: Any) -> str:
        """SHA-256 over everything that shapes the run, hexadecimal; `context` adds the place."""
        content = {"spec": self.spec, "parameters": self.parameters, "labels": self.labels, **context}
        if self.platform:
            content["platform"] = self.platform
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def job_id(self, now: datetime, **context: Any) -> str:
        """Name of the run: pipeline, content hash, time of the invocation.

        Every retry of an invocation has the same name, and the service accepts a name only once, so an invocation can
        start only one run.
        """
        return f"{self.pipeline}-{self.digest(**context)[:8]}-{now.astimezone(UTC):%Y%m%d-%H%M%S}"

    def with_run_id(self, run_id: str) -> "Submission":
        """The submission with the parameter `run_id` set, if the pipeline has it and it has no value yet."""
        if "run_id" not in signature(self.spec) or self.parameters.get("run_id"):
            return self
        return replace(self, parameters={**self.parameters, "run_id": run_id})

    def steps(self) -> list[Step]:
        """Its steps and their machines."""
        values = {name: parameter.default for name, parameter in signature(self.spec).items()} | self.parameters
        dataflow = Dataflow.parse(values["dataflow"]) if values["preprocess_on"] == DATAFLOW else None
        return steps(self.spec, dataflow)


def content_of(submission: Submission, runs_as: ActsAs) -> str:
    """A label's text that identifies what a run or a schedule runs."""
    return submission.digest(**runs_as.context())[:16]


def prepare(
    request: RunRequest,
    options: SubmitOptions,
    *,
    place: Place | None,
    runs_as: ActsAs,
    schedule: bool = False,
) -> Submission:
    """Compiles the graph for the target and checks every parameter.

    Args:
      request: what to run.
      options: on which machines, and how.
      place: project and region, whose registry and image repository are the defaults; None for a Kubeflow Pipelines
        endpoint, which has neither.
      runs_as: its account and network are also those of a custom job and of a Dataflow job.
      schedule: the run repeats, so nothing may name a single one.

    Raises:
      InputError: an unknown target, parameter or label, a wrong or missing value, a wrong configuration, a local path,
        or something that an endpoint can't do.
    """
    target = target_of(request, options, place)
    labels = request_checks.labels(options.labels)
    texts = split_pairs("--param", options.param)
    for name in ("run_id", "work_dir"):  # in a shared folder a run would overwrite the champion's model
        if schedule and texts.get(name):
            raise InputError(f"--param {name}: each run of a schedule needs its own; leave it out")
    if place is None and texts.get("work_dir"):
        raise InputError(
            f"--param work_dir={texts['work_dir']}: an endpoint refuses outputs outside the run's own folder below the "
            "pipeline root; leave it out"
        )
    if "config" in texts:
        raise InputError("--param config: use --config, which takes a file or a name and checks it")
    config = resolve(request.config_or("") or _default_config(target), request.changes)
    parsed = parse_config(config.text, config.where)
    target = with_deployment(target, parsed, config.where, place)
    start = weights.check_name(parsed, config.where)
    if "runtime" not in texts:  # an override may change the number of devices
        request_checks.batches(parsed, config.where, target)
    weights.check_in_bucket(parsed, config.where)
    config_check = ConfigCheck(config) if options.config_check else None
    try:
        spec = compiled(target, cached=request.cached, pipeline=request.pipeline)
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
        labels = {"pipeline": spec["pipelineInfo"]["name"], "target": target.name, **labels}
        if place is not None:
            keys = {name: getattr(options, name) for name in ("network_attachment", "encryption_key")}
            connection = rules.Connection(region=place.region, network=runs_as.network, **keys)
            rules.check(spec, labels, connection)
            request_checks.dataflow_key(parameters, options.encryption_key)
        if config_check is not None:
            print("checking the configuration, including Model Garden's sections", flush=True)
            config_check.wait()
    finally:
        if config_check is not None:
            config_check.stop()
    return Submission(
        pipeline=spec["pipelineInfo"]["name"],
        target=target,
        spec=spec,
        parameters=parameters,
        config_where=config.where,
        platform=platform_of(target, request.pipeline),
        labels=labels,
        weights=start,
        weights_uri=weights.start_of(parsed),
        warnings=tuple(filter(None, [gate_warning(parsed)])),
    )


def compiled(target: Target, *, cached: bool = True, pipeline: str = TRAINING) -> dict[str, Any]:
    """The pipeline spec for a target; with `cached` False no task may reuse an earlier run's result."""
    from google.protobuf import json_format

    from pipeline.graph import pipelines

    # The same as kfp's compiler writes as YAML, without writing and reading it.
    spec: dict[str, Any] = json_format.MessageToDict(pipelines.make_pipeline(target, pipeline).pipeline_spec)
    if not cached:
        for graph in (spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)):
            for task in graph["tasks"].values():
                task["cachingOptions"] = {}
    return spec


def platform_of(target: Target, pipeline: str = TRAINING) -> dict[str, Any]:
    """The part of the compiled pipeline that only Kubernetes reads; {} for a target of Vertex AI."""
    from pipeline.graph import kfp_spec, pipelines

    return kfp_spec.platform(pipelines.make_pipeline(target, pipeline)) if target.pods is not None else {}


def _default_config(target: Target) -> str:
    if target.device != "cpu":
        raise InputError(
            f"--config: not given, and the default {DEFAULT_CONFIG} is for CPUs, not for {target.name}; give "
            "custom-gpu, a reference configuration, or your own file"
        )
    return DEFAULT_CONFIG


def _flag_values(
    request: RunRequest, texts: Mapping[str, str], config: ConfigText, place: Place | None
) -> dict[str, Any]:
    """Values from flags. `--param` may replace the default of a flag, but not a flag that was given."""
    values: dict[str, Any] = {**request.watched(), **request.data(), "config": config.text}
    if request.registry:
        values["registry"] = request.registry
    elif place is not None and "registry" not in texts:
        values["registry"] = f"vertex://{place.project}/{place.region}/{DEFAULT_MODEL}"
    if request.seed:
        values["seed"] = request.seed
    for name in ("only_if_changed", "strict"):
        if getattr(request, name):
            values[name] = True
    return values
