"""A Dataflow service on loopback that does the work: it takes a job from the real client, fetches the staged pipeline
from the bucket and executes that very proto, in this process instead of in the worker's image."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.cloud.dataflow_v1beta3 import Job, JobState
from google.protobuf import json_format

JOB_ID = "2026-11-24_03_00_00-1234567890123456789"


class DataflowService:
    """One region of one project, for one job.

    Args:
      fs: gcsfs, pointed at the bucket that holds the staged files.
      states: what each further look at the job finds; the last one stays. The pipeline is executed when the job is
        created, unless it never gets to JOB_STATE_RUNNING.
      namespace: of the counters that it reports.
    """

    def __init__(self, fs: Any, states: list[str], namespace: str = "beam_preprocess") -> None:
        self._fs, self._states, self._namespace = fs, list(states), namespace
        self.jobs: list[dict[str, Any]] = []
        """As they arrived, in the form of the REST documentation."""
        self.requested: list[str] = []
        """States that a client asked for."""
        self.unknown: list[str] = []
        """Requests that the service doesn't have."""
        self.images: set[str] = set()
        """Container images of the staged pipeline."""
        self._counters: dict[str, int] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_port}"
        """The client speaks REST to an endpoint that holds the word localhost, else gRPC."""
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, method: str, path: str, body: Any) -> dict[str, Any] | None:
        """The JSON-able answer; None where there is none."""
        _, _, place = path.partition("/v1b3/projects/my-project/locations/us-central1/jobs")
        if method == "POST" and path.endswith("/jobs"):
            # Parsed as the service does: an unknown field is an error, and enumerations get their names.
            self.jobs.append(json_format.MessageToDict(json_format.ParseDict(body, Job.pb()())))
            if "JOB_STATE_RUNNING" in self._states:
                self._execute(body["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])
            return {**_job("JOB_STATE_PENDING"), "clientRequestId": body["clientRequestId"]}
        if place == f"/{JOB_ID}" and method == "PUT":
            self.requested.append(JobState(body["requestedState"]).name)
            self._states = ["JOB_STATE_CANCELLED"]
            return _job("JOB_STATE_CANCELLED")
        if place == f"/{JOB_ID}":
            return _job(self._states.pop(0) if len(self._states) > 1 else self._states[0])
        if place == f"/{JOB_ID}/messages":
            return {"jobMessages": []}
        if place == f"/{JOB_ID}/metrics":
            return {"metrics": [self._metric(name, tentative) for name in self._counters for tentative in (0, 1)]}
        self.unknown.append(f"{method} {path}")
        return None

    def _metric(self, name: str, tentative: int) -> dict[str, Any]:
        context = {"namespace": self._namespace, "step": "WriteShard"}
        context |= {"tentative": "true"} if tentative else {}
        return {
            "name": {"origin": "user", "name": name, "context": context},
            "scalar": self._counters[name],
        }

    def _execute(self, staged: str) -> None:
        proto = beam_runner_api_pb2.Pipeline.FromString(self._fs.cat_file(staged))
        for environment in proto.components.environments.values():
            if environment.urn == common_urns.environments.DOCKER.urn:
                payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
                self.images.add(payload.container_image)
                environment.urn = "beam:env:embedded_python:v1"
                environment.payload = b""
        result = FnApiRunner().run_via_runner_api(proto, PipelineOptions(["--runner=FnApiRunner"]))
        result.wait_until_finish()
        found = result.metrics().query(MetricsFilter().with_namespace(self._namespace))["counters"]
        self._counters = {counter.key.metric.name: counter.result for counter in found}


def _job(state: str) -> dict[str, Any]:
    return {
        "id": JOB_ID,
        "name": "centernet-preprocess",
        "projectId": "my-project",
        "location": "us-central1",
        "currentState": state,
    }


def _handler(service: DataflowService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = service.answer(self.command, urlsplit(self.path).path, json.loads(raw) if raw else None)
            payload = json.dumps(found if found is not None else {"error": {"code": 404}}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that the library looks for

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
