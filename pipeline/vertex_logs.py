"""Lines that the tasks of a Vertex AI run wrote to Cloud Logging, over its REST API."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from beam_preprocess.errors import InputError
from pipeline.run_view import RunView, TaskView
from trainer.vertex_client import CALL_SECONDS, Place, call, credentials

ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"
ENDPOINT = "https://logging.googleapis.com"


def read_logs(place: Place, view: RunView, *, task: str, limit: int) -> Iterator[str]:
    """For each task that ran: its state, its error, its newest log lines, and the address of its whole log.

    Args:
      place: project and region.
      view: the run.
      task: only of this one, by either of its names; "" is all.
      limit: newest lines a task.

    Raises:
      InputError: the run has no such task.
      CloudError: the log can't be read.
    """
    chosen = [found for found in view.tasks if task in ("", found.name, found.task)]
    if not chosen:
        known = ", ".join(found.name for found in view.tasks) or "none yet"
        raise InputError(f"--task {task}: {view.run_id} has no such task; it has {known}")
    for found in chosen:
        yield f"== {found.name}: {found.state}"
        if found.error:
            yield f"error: {found.error}"
        if not found.jobs:
            yield "no log: it has not started a machine (waiting, not needed, or taken from the cache)"
            continue
        query = _filter(found)
        for entry in reversed(_entries(place, query, limit)):
            yield _line(entry)
        yield f"whole log: {_link(place, query)}"


def _filter(task: TaskView) -> str:
    """Each task runs as a custom job; a retried one as several."""
    ids = " OR ".join(f'"{job.rpartition("/")[2]}"' for job in task.jobs)
    return f'resource.type="ml_job" AND resource.labels.job_id=({ids})'


def _entries(place: Place, query: str, limit: int) -> list[dict[str, Any]]:
    """The newest entries, newest first."""
    from google.api_core.exceptions import from_http_response
    from google.auth.transport.requests import AuthorizedSession

    endpoint = os.environ.get(ENDPOINT_VARIABLE, "").rstrip("/") or ENDPOINT
    body = {
        "resourceNames": [f"projects/{place.project}"],
        "filter": query,
        "orderBy": "timestamp desc",
        "pageSize": limit,
    }

    def request() -> list[dict[str, Any]]:
        with AuthorizedSession(credentials(endpoint)) as session:
            response = session.post(f"{endpoint}/v2/entries:list", json=body, timeout=CALL_SECONDS)
            if response.status_code >= 400:
                raise from_http_response(response)
            found: list[dict[str, Any]] = response.json().get("entries", [])
        return found

    return call("read the log", request, permission="logging.logEntries.list", place=place)


def _line(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload") or {}
    text = entry.get("textPayload") or payload.get("message") or str(payload)
    moment = entry.get("timestamp", "")
    if moment:
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00")).strftime("%H:%M:%S")
    return f"  {moment} {entry.get('severity', 'DEFAULT'):<8} {text.rstrip()}"


def _link(place: Place, query: str) -> str:
    return f"https://console.cloud.google.com/logs/query;query={quote(query, safe='')}?project={place.project}"
