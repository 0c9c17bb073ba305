"""A Vertex AI endpoint on loopback: keeps state, and accepts only requests that fit the service's own messages.

Every body is parsed into its `aiplatform_v1` message, so an unknown or misplaced field is an error 400 and a violation;
so is an unknown query parameter. A pipeline spec is parsed into kfp's `PipelineSpec`, its executors into kfp's
`PipelineDeploymentConfig`, worker pools into `aiplatform_v1.WorkerPoolSpec`. Documented rules
beyond types (name patterns, required fields, pipeline parameters against the spec) are checked as well, and the limits
of machines, names and sizes (vertex_limits.py). Quotas, what is free at the moment and permissions, which only Google's
servers know, are not. Operations take effect at a later request, as the service's do.
"""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from google.cloud import aiplatform_v1 as v1

from tests.loopback.server import Json, LoopbackServer, Rejected, Request
from tests.loopback.vertex_checks import check_cron, check_job, matches, message, needs, query
from tests.loopback.vertex_endpoints import Endpoints, OperationFailed
from tests.loopback.vertex_limits import check_labels
from tests.loopback.vertex_models import ModelNotes

PROJECT, REGION = "my-project", "us-central1"
PARENT = f"projects/{PROJECT}/locations/{REGION}"


class VertexServer(ModelNotes, Endpoints, LoopbackServer):
    """PipelineJobs, Schedules, Models and Endpoints of one project and region."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Json] = {}
        self.schedules: dict[str, Json] = {}
        self.models: dict[str, list[Json]] = {}
        """Model id to its versions, oldest first."""
        self.timeline: list[Json] = []
        """What each further read of a job returns: state, jobDetail, error. The last one stays."""
        self.execute: Callable[[str], None] | None = None
        """Starts to run the job of this name, see vertex_execution.py; without it, jobs stay pending."""
        self.log_entries: list[Json] = []
        """Newest first."""
        self.operations: dict[str, Json] = {}
        self.operation_requests = 1
        """An operation takes effect at this many requests after the one that started it."""
        self.operations_address = "/ui/"
        """Where operations can be read: Google's client asks at /ui/…; with "/v1/" it gets a 404."""
        self._pending: list[tuple[int, Callable[[], None]]] = []
        self.start_endpoints()

    def answer(self, request: Request) -> Any:
        if request.path == "/v2/entries:list":
            return self._logs(request)
        self._pass_time()
        # Google's client reads operations at the first of the paths in the service's definition, /ui/….
        path = re.sub(rf"^{self.operations_address}(?=.*/operations/)", "/v1/", request.path)
        found = re.fullmatch(r"/v1/(projects/([^/]+)/locations/([^/]+))/(.+)", path)
        if not found:
            raise Rejected(404, f"no route {request.path}")
        if found[1] != PARENT:
            raise Rejected(404, f"{found[1]} was not found")
        kind, _, rest = found[4].partition("/")
        name, _, verb = rest.partition(":")
        if ":" in kind:
            kind, verb = kind.split(":")
        try:
            handler = getattr(self, f"_{kind}_{verb or request.method.lower()}", None)
            if handler is None:
                raise Rejected(404, f"no route {request.method} {request.path}")
            return handler(name, request)
        except Rejected as error:
            if error.status == 400:
                self.violations.append(f"{request.method} {request.path}: {error.message}")
            raise

    # Pipeline jobs

    def _pipelineJobs_post(self, _name: str, request: Request) -> Json:  # noqa: N802 - named as the resource
        values = query(request, v1.CreatePipelineJobRequest, {"pipelineJobId"})
        job_id = values.get("pipelineJobId") or f"job-{uuid.uuid4().hex[:8]}"
        matches("pipelineJobId", job_id, r"[a-z][-a-z0-9]{0,127}")
        job = message(v1.PipelineJob, request.body)
        check_job(job)
        name = f"{PARENT}/pipelineJobs/{job_id}"
        if name in self.jobs:
            raise Rejected(409, f"PipelineJob {name} already exists")
        self.jobs[name] = {**job, "name": name, "createTime": _now(), "state": "PIPELINE_STATE_PENDING"}
        created = dict(self.jobs[name])
        if self.execute:
            self.execute(name)
        return created

    def _pipelineJobs_get(self, name: str, request: Request) -> Json:  # noqa: N802
        if not name:
            asked = query(
                request, v1.ListPipelineJobsRequest, {"filter", "pageSize", "pageToken", "orderBy", "readMask"}
            )
            if asked.get("orderBy", "create_time desc") != "create_time desc":
                raise Rejected(400, f"orderBy {asked['orderBy']}: this server knows create_time desc")
            # A filter may name the pipeline, which a job has in its spec only.
            named = [{**job, "pipelineName": job["pipelineSpec"]["pipelineInfo"]["name"]} for job in self.jobs.values()]
            page = _page("pipelineJobs", named[::-1], request)
            wanted = set(asked["readMask"].split(",")) if asked.get("readMask") else set(v1.PipelineJob.meta.fields)
            keys = {re.sub(r"_(\w)", lambda m: m[1].upper(), name) for name in wanted}
            page["pipelineJobs"] = [{k: v for k, v in job.items() if k in keys} for job in page["pipelineJobs"]]
            return page
        job = self._existing(self.jobs, "pipelineJobs", name)
        if self.timeline and job["state"] not in ("PIPELINE_STATE_CANCELLED", "PIPELINE_STATE_FAILED"):
            job.update(self.timeline.pop(0) if len(self.timeline) > 1 else self.timeline[0])
        return dict(job)

    def _pipelineJobs_cancel(self, name: str, request: Request) -> Json:  # noqa: N802
        message(v1.CancelPipelineJobRequest, request.body or {})
        job = self._existing(self.jobs, "pipelineJobs", name)
        if job["state"] in ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED"):
            raise Rejected(400, f"PipelineJob {name} is already in a final state")
        job["state"] = "PIPELINE_STATE_CANCELLED"
        return {}

    # Schedules

    def _schedules_post(self, _name: str, request: Request) -> Json:
        query(request, v1.CreateScheduleRequest, set())
        schedule = message(v1.Schedule, request.body)
        needs(schedule, "displayName", "cron", "createPipelineJobRequest", "maxConcurrentRunCount")
        check_cron(schedule["cron"])
        inner = schedule["createPipelineJobRequest"]
        if inner.get("parent") != PARENT:
            raise Rejected(400, f"createPipelineJobRequest.parent is {inner.get('parent')!r}")
        if "pipelineJobId" in inner:
            raise Rejected(400, "createPipelineJobRequest.pipelineJobId: every run would have the same id")
        check_job(inner["pipelineJob"])
        name = f"{PARENT}/schedules/{1000 + len(self.requests)}"
        self.schedules[name] = {
            **schedule,
            "name": name,
            "state": "ACTIVE",
            "createTime": _now(),
            "startedRunCount": "0",
            "nextRunTime": "2026-11-30T03:00:00Z",
        }
        return self.schedules[name]

    def _schedules_get(self, name: str, request: Request) -> Json:
        if name:
            return self._existing(self.schedules, "schedules", name)
        query(request, v1.ListSchedulesRequest, {"filter", "pageSize", "pageToken", "orderBy"})
        return _page("schedules", list(self.schedules.values()), request)

    def _schedules_patch(self, name: str, request: Request) -> Json:
        schedule = self._existing(self.schedules, "schedules", name)
        mask = query(request, v1.UpdateScheduleRequest, {"updateMask"}).get("updateMask", "")
        change = message(v1.Schedule, request.body)
        fields = [re.sub(r"_(\w)", lambda m: m[1].upper(), part) for part in mask.split(",")]
        # The spec can't be updated: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/.../schedules/patch
        allowed = {"displayName", "cron", "maxConcurrentRunCount", "maxRunCount", "startTime", "endTime"}
        if not set(fields) <= allowed:
            raise Rejected(400, f"updateMask {mask}: only {', '.join(sorted(allowed))} can be updated")
        if "cron" in fields:
            check_cron(change["cron"])
        schedule.update({field: change[field] for field in fields})
        return schedule

    def _schedules_pause(self, name: str, request: Request) -> Json:
        message(v1.PauseScheduleRequest, request.body or {})
        self._change(name, "ACTIVE", "PAUSED")
        return {}

    def _schedules_resume(self, name: str, request: Request) -> Json:
        message(v1.ResumeScheduleRequest, request.body or {})
        self._change(name, "PAUSED", "ACTIVE")
        return {}

    def _change(self, name: str, before: str, after: str) -> None:
        schedule = self._existing(self.schedules, "schedules", name)
        if schedule["state"] != before:
            raise Rejected(400, f"Schedule {name} is {schedule['state']}")
        schedule["state"] = after

    def _schedules_delete(self, name: str, _request: Request) -> Json:
        schedule = self._existing(self.schedules, "schedules", name)

        def delete() -> Json:
            self.schedules.pop(schedule["name"], None)
            return {}

        return self._operation("google.protobuf.Empty", delete)

    # Models

    def _models_upload(self, _name: str, request: Request) -> Json:
        asked = message(v1.UploadModelRequest, request.body)
        model = asked["model"]
        needs(model, "displayName", "artifactUri", "containerSpec")
        needs(model["containerSpec"], "imageUri")
        matches("artifactUri", model["artifactUri"], r"gs://[^/]+/.+")
        check_labels(model.get("labels", {}))
        if "parentModel" in asked:
            model_id = asked["parentModel"].rpartition("/")[2]
            if model_id not in self.models:
                raise Rejected(404, f"{asked['parentModel']} was not found")
        else:
            model_id = asked.get("modelId") or str(uuid.uuid4().int)[:19]
            matches("modelId", model_id, r"[a-z0-9_-]{1,63}")
            if model_id in self.models:
                raise Rejected(409, f"Model {model_id} already exists")

        def upload() -> Json:
            versions = self.models.setdefault(model_id, [])
            aliases = model.pop("versionAliases", [])
            entry = {
                **model,
                "name": f"{PARENT}/models/{model_id}",
                "versionId": str(1 + max((int(version["versionId"]) for version in versions), default=0)),
                "versionCreateTime": _now(),
                "versionAliases": [] if versions else ["default"],
                "etag": uuid.uuid4().hex,
            }
            versions.append(entry)
            self._merge(model_id, entry, aliases)
            return {"model": entry["name"], "modelVersionId": entry["versionId"]}

        return self._operation("google.cloud.aiplatform.v1.UploadModelResponse", upload)

    def _models_listVersions(self, name: str, request: Request) -> Json:  # noqa: N802
        query(request, v1.ListModelVersionsRequest, {"pageSize", "pageToken", "filter", "orderBy", "readMask"})
        self._model(name)
        return _page("models", self.models[name.partition("@")[0]], request)

    def _models_mergeVersionAliases(self, name: str, request: Request) -> Json:  # noqa: N802
        asked = message(v1.MergeVersionAliasesRequest, request.body)
        needs(asked, "versionAliases")
        entry = self._model(name)
        self._merge(name.partition("@")[0], entry, asked["versionAliases"])
        return entry

    def _models_deleteVersion(self, name: str, _request: Request) -> Json:  # noqa: N802
        entry = self._model(name)
        if "default" in entry["versionAliases"]:
            raise Rejected(400, f"{name} is the default version; make another version the default first")

        def delete() -> Json:
            self.models[name.partition("@")[0]].remove(entry)
            return {}

        return self._operation("google.protobuf.Empty", delete)

    def _merge(self, model_id: str, entry: Json, aliases: list[str]) -> None:
        for alias in aliases:
            plain = alias.removeprefix("-")
            matches("versionAliases", plain, r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9-]")
            if alias.startswith("-"):
                entry["versionAliases"] = [a for a in entry["versionAliases"] if a != plain]
                continue
            for other in self.models[model_id]:
                other["versionAliases"] = [a for a in other["versionAliases"] if a != alias]
            entry["versionAliases"].append(alias)

    def _model(self, name: str) -> Json:
        model_id, _, version = name.partition("@")
        versions = self.models.get(model_id, [])
        for entry in versions:
            if (version or "default") in (entry["versionId"], *entry["versionAliases"]):
                return entry
        raise Rejected(404, f"Model {PARENT}/models/{name} was not found")

    # Long-running operations

    def _operation(self, kind: str, effect: Callable[[], Json]) -> Json:
        """A started operation, as the service returns it; a later request finds its effect."""
        name = f"{PARENT}/operations/{uuid.uuid4().int % 10**15}"
        self.operations[name] = {"name": name}

        def end() -> None:
            try:
                answer = {"@type": f"type.googleapis.com/{kind}", **effect()}
            except OperationFailed as error:
                self.operations[name] |= {"done": True, "error": {"code": error.code, "message": error.text}}
                return
            self.operations[name] |= {"done": True, "response": answer}

        self._pending.append((self.operation_requests, end))
        self._pass_time(0)
        return {"name": name}

    def _pass_time(self, requests: int = 1) -> None:
        waiting = [(left - requests, end) for left, end in self._pending]
        self._pending = [(left, end) for left, end in waiting if left > 0]
        for left, end in waiting:
            if left <= 0:
                end()

    def _operations_get(self, name: str, _request: Request) -> Json:
        return self._existing(self.operations, "operations", name)

    # Cloud Logging, which has another address

    def _logs(self, request: Request) -> Json:
        body = request.body
        unknown = set(body) - {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}
        if unknown or body.get("resourceNames") != [f"projects/{PROJECT}"]:
            raise Rejected(400, f"entries.list: {unknown or body.get('resourceNames')}")
        if not 0 < body["pageSize"] <= 1000:
            raise Rejected(400, f"entries.list: pageSize {body['pageSize']}")
        if "pageToken" not in body:
            return {"nextPageToken": "0"}  # as after a long search without results: no entries, but not the end
        start = int(body["pageToken"])
        end = start + body["pageSize"]
        more = {"nextPageToken": str(end)} if end < len(self.log_entries) else {}
        return {"entries": self.log_entries[start:end], **more}

    def _existing(self, store: dict[str, Json], kind: str, name: str) -> Json:
        full = f"{PARENT}/{kind}/{name}"
        if full not in store:
            raise Rejected(404, f"{full} was not found")
        return store[full]


def _page(kind: str, resources: list[Json], request: Request) -> Json:
    """One page of the requested size; filters have the form `field="value"`, in which "*" matches any text."""
    for field, value in re.findall(r'([\w.-]+)\s*=\s*"((?:[^"\\]|\\.)*)"', request.query.get("filter", "")):
        text = re.sub(r"\\(.)", r"\1", value)
        resources = [resource for resource in resources if fnmatchcase(str(_field(resource, field)), text)]
    size, start = int(request.query.get("pageSize") or 100), int(request.query.get("pageToken") or 0)
    page: Json = {kind: resources[start : start + size]}
    if start + size < len(resources):
        page["nextPageToken"] = str(start + size)
    return page


def _field(resource: Json, path: str) -> Any:
    value: Any = resource
    for part in path.split("."):
        camel = re.sub(r"_(\w)", lambda m: m[1].upper(), part)
        value = value.get(part, value.get(camel)) if isinstance(value, dict) else None
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
