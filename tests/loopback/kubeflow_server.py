"""A Kubeflow Pipelines API (v2beta1) on loopback, for kfp's own client: experiments, runs, recurring runs."""

import json
import re
import uuid
from typing import Any

import kfp_server_api
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.loopback.kubeflow_launcher import Launcher, Run
from tests.loopback.server import Json, LoopbackServer, Rejected, Request
from tests.loopback.vertex_checks import FITS, check_spec, parse

BASE = "/apis/v2beta1"


class KubeflowServer(LoopbackServer):
    """Keeps state. A field that the API's own models lack is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.experiments: dict[str, Json] = {}
        self.runs: dict[str, Json] = {}
        self.recurring: dict[str, Json] = {}
        self.timeline: list[Json] = []
        self.launcher: Launcher | None = None
        """Runs what arrives; without one, runs stay pending."""
        self.launched: list[Run] = []
        self._live: dict[str, Run] = {}

    def answer(self, request: Request) -> Any:
        found = re.fullmatch(rf"{BASE}/(\w+)(?:/([\w-]+))?(?::(\w+))?", request.path)
        if not found:
            raise Rejected(404, f"no route {request.path}")
        kind, name, verb = found[1], found[2], found[3]
        try:
            return getattr(self, f"_{kind}_{verb or request.method.lower()}")(name, request)
        except Rejected as error:
            if error.status == 400:
                self.violations.append(f"{request.method} {request.path}: {error.message}")
            raise

    def _healthz_get(self, _name: str, _request: Request) -> Json:
        return {"multi_user": False}

    def _experiments_get(self, name: str, request: Request) -> Json:
        if name:
            return self.experiments[name]
        (wanted,) = json.loads(request.query["filter"])["predicates"]
        same = (wanted["stringValue"], request.query.get("namespace", ""))
        found = self.experiments.values()
        return {"experiments": [one for one in found if (one["display_name"], one.get("namespace", "")) == same]}

    def _experiments_post(self, _name: str, request: Request) -> Json:
        _fields(request.body, kfp_server_api.V2beta1Experiment)
        made = {**request.body, "experiment_id": str(uuid.uuid4())}
        self.experiments[made["experiment_id"]] = made
        return made

    def _runs_post(self, _name: str, request: Request) -> Json:
        _fields(request.body, kfp_server_api.V2beta1Run)
        _check_run(request.body)
        made = {**request.body, "run_id": str(uuid.uuid4()), "state": "PENDING", "created_at": "2026-11-24T03:00:00Z"}
        self.runs[made["run_id"]] = made
        if self.launcher:
            sent, runtime = request.body["pipeline_spec"], request.body["runtime_config"]
            spec, platform = sent.get("pipeline_spec", sent), sent.get("platform_spec", {})
            where = {"root": runtime["pipeline_root"], "run_id": made["run_id"]}
            run = self.launcher.run(spec, platform, runtime["parameters"], **where)
            self.launched.append(run)
            self._live[made["run_id"]] = run
        return self._seen(made["run_id"])

    def _runs_get(self, name: str, request: Request) -> Json:
        if not name:
            only = request.query.get("experiment_id")
            runs = [run for run in reversed(self.runs.values()) if not only or run.get("experiment_id") == only]
            start, size = int(request.query.get("page_token") or 0), min(int(request.query.get("page_size") or 10), 200)
            more = {"next_page_token": str(start + size)} if start + size < len(runs) else {}
            return {"runs": runs[start : start + size], **more}
        if name not in self.runs:
            raise Rejected(404, f"run {name} not found")
        if self.timeline:
            self.runs[name].update(self.timeline.pop(0) if len(self.timeline) > 1 else self.timeline[0])
        return self._seen(name)

    def _seen(self, name: str) -> Json:
        """A run with what its launcher says of it now."""
        if (run := self._live.get(name)) and self.runs[name]["state"] != "CANCELED":
            self.runs[name].update(state=run.state, run_details={"task_details": run.details()})
        return dict(self.runs[name])

    def _runs_terminate(self, name: str, _request: Request) -> Json:
        self.runs[name]["state"] = "CANCELED"
        return {}

    def _recurringruns_post(self, _name: str, request: Request) -> Json:
        _fields(request.body, kfp_server_api.V2beta1RecurringRun)
        _check_run(request.body)
        cron = request.body["trigger"]["cron_schedule"]["cron"]
        if len(cron.split()) != 6:
            raise Rejected(400, f"cron {cron!r} does not have 6 fields")
        status = "ENABLED" if request.body["mode"] == "ENABLE" else "DISABLED"
        made = {**request.body, "recurring_run_id": str(uuid.uuid4()), "status": status}
        self.recurring[made["recurring_run_id"]] = made
        return made

    def _recurringruns_get(self, name: str, _request: Request) -> Json:
        return self.recurring[name] if name else {"recurringRuns": list(self.recurring.values())}

    def _recurringruns_enable(self, name: str, _request: Request) -> Json:
        self.recurring[name]["status"] = "ENABLED"
        return {}

    def _recurringruns_disable(self, name: str, _request: Request) -> Json:
        self.recurring[name]["status"] = "DISABLED"
        return {}

    def _recurringruns_delete(self, name: str, _request: Request) -> Json:
        del self.recurring[name]
        return {}


def _fields(body: Json, model: Any) -> None:
    unknown = set(body) - set(model.attribute_map.values())
    if unknown:
        raise Rejected(400, f"{model.__name__}: unknown fields {sorted(unknown)}")


def _check_run(body: Json) -> None:
    spec = body["pipeline_spec"].get("pipeline_spec", body["pipeline_spec"])
    check_spec(spec)
    _check_platform(body["pipeline_spec"].get("platform_spec", {}))
    # The backend fills in only the ids and names of the run and its tasks.
    unfilled = set(re.findall(r'"\{\{\$\.(\w+)\}\}"', json.dumps(spec))) - {"pipeline_job_uuid", "pipeline_job_name"}
    if unfilled:
        raise Rejected(400, f"placeholders that the backend does not fill in: {sorted(unfilled)}")
    declared = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in body["runtime_config"]["parameters"].items():
        if name not in declared or not FITS[declared[name]["parameterType"]](value):
            raise Rejected(400, f"parameter {name}: {value!r}")


def _check_platform(platform: Json) -> None:
    """Checks what is for Kubernetes alone against kfp's and kfp-kubernetes' own messages."""
    if not platform:
        return
    from kfp.kubernetes import kubernetes_executor_config_pb2

    parse("platform_spec", platform, pipeline_spec_pb2.PlatformSpec())
    for config in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        parse("platform_spec", config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
