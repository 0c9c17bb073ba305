"""Requests that Vertex AI refuses: those that don't fit its own messages, and those against its documented rules."""

import json
import re
from typing import Any

from google.cloud import aiplatform_v1 as v1
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.loopback.server import Json, Rejected, Request
from tests.loopback.vertex_limits import check_limits


def check_job(job: Json) -> None:
    """Checks a PipelineJob.

    Raises:
      Rejected: the service would refuse it.
    """
    needs(job, "displayName", "pipelineSpec", "runtimeConfig")
    check_spec(job["pipelineSpec"])
    runtime = job["runtimeConfig"]
    needs(runtime, "gcsOutputDirectory")
    matches("gcsOutputDirectory", runtime["gcsOutputDirectory"], r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/.*)?")
    declared = job["pipelineSpec"]["root"].get("inputDefinitions", {}).get("parameters", {})
    given = runtime.get("parameterValues", {})
    for name, value in given.items():
        if name not in declared:
            raise Rejected(400, f"parameter {name} is not in the pipeline")
        if not FITS[declared[name]["parameterType"]](value):
            raise Rejected(400, f"parameter {name}: {value!r} is not a {declared[name]['parameterType']}")
    missing = [n for n, p in declared.items() if n not in given and "defaultValue" not in p and not p.get("isOptional")]
    if missing:
        raise Rejected(400, f"parameters without value: {', '.join(missing)}")
    check_limits(job)
    if "serviceAccount" in job:
        matches("serviceAccount", job["serviceAccount"], r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")


def check_spec(spec: Json) -> None:
    """Checks a compiled pipeline, with its executors and the worker pools of its custom jobs, for unknown fields.

    Raises:
      Rejected: there is one.
    """
    parse("pipelineSpec", spec, pipeline_spec_pb2.PipelineSpec())
    parse("deploymentSpec", spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    for component in spec["components"].values():
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        for pool in declared.get("worker_pool_specs", {}).get("defaultValue", ()):
            parse("worker_pool_specs", pool, v1.WorkerPoolSpec.pb(v1.WorkerPoolSpec()))


def parse(name: str, content: Json, message: Any) -> None:
    try:
        json_format.ParseDict(content, message)
    except json_format.ParseError as error:
        raise Rejected(400, f"{name}: {error}") from error


FITS: dict[str, Any] = {
    "STRING": lambda v: isinstance(v, str),
    "BOOLEAN": lambda v: isinstance(v, bool),
    "NUMBER_INTEGER": lambda v: not isinstance(v, bool) and isinstance(v, int | float) and v == int(v),
    "NUMBER_DOUBLE": lambda v: not isinstance(v, bool) and isinstance(v, int | float),
    "LIST": lambda v: isinstance(v, list),
    "STRUCT": lambda v: isinstance(v, dict),
}


def check_cron(cron: str) -> None:
    plain = re.sub(r"^(CRON_)?TZ=\S+ ", "", cron)
    if len(plain.split()) != 5:
        raise Rejected(400, f"cron {cron!r} does not have 5 fields")


def message(kind: Any, body: Any) -> Json:
    """The body as the message's canonical JSON: enums by name, fields in camelCase.

    Raises:
      Rejected: a field is unknown, misplaced or of another type.
    """
    if not isinstance(body, dict):
        raise Rejected(400, f"{kind.__name__}: not a JSON object")
    parsed = kind.pb(kind())
    try:
        json_format.ParseDict(body, parsed)
    except json_format.ParseError as error:
        raise Rejected(400, f"{kind.__name__}: {error}") from error
    return json.loads(json_format.MessageToJson(parsed))


def query(request: Request, kind: Any, names: set[str]) -> dict[str, str]:
    values = {name: value for name, value in request.query.items() if not name.startswith("$")}
    if not set(values) <= names:
        raise Rejected(400, f"{kind.__name__}: unknown query parameters {sorted(set(values) - names)}")
    return values


def needs(values: Json, *names: str) -> None:
    missing = [name for name in names if name not in values]
    if missing:
        raise Rejected(400, f"required fields are missing: {', '.join(missing)}")


def matches(name: str, value: str, pattern: str) -> None:
    if not re.fullmatch(pattern, value):
        raise Rejected(400, f"{name} {value!r} does not match {pattern}")
