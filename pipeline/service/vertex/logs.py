"""Log lines of the tasks of a Vertex AI run, from Cloud Logging's REST API."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pipeline.service.run_view import RunView, TaskView
from trainer.shared.google_cloud import CALL_SECONDS, Place, call, credentials

ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"
ENDPOINT = "https://logging.googleapis.com"
PAGE = 1000
"""The maximum number of entries per page that the service allows."""


def read_logs(place: Place, view: RunView, *, task: str, limit: int) -> Iterator[str]:
    """Yields, for each task that ran, its state, its error, its newest log lines, and the address of its whole log.

    Args:
      place: project and region.
      view: the run.
      task: name or display name of the only task to read; "" reads all.
      limit: maximum number of lines per task.

    Raises:
      InputError: the run has no such task.
      CloudError: the log can't be read.
    """
    for found in view.chosen(task):
        yield f"== {found.name}: {found.state}"
        if found.error:
            yield f"error: {found.error}"
        if not found.jobs:
            yield "no log: it has not started a machine (waiting, not needed, or reused from the cache)"
            continue
        query = _filter(found, view.created)
        for entry in reversed(_entries(place, query, limit)):
            yield _line(entry)
        yield f"whole log: {_link(place, query)}"


def _filter(task: TaskView, since: str) -> str:
    """A query for a task's jobs: one custom job, or several if it was retried. The time shortens the search."""
    ids = " OR ".join(f'"{job.rpartition("/")[2]}"' for job in dict.fromkeys(task.jobs))
    begin = f' AND timestamp>="{since}"' if since else ""
    return f'resource.type="ml_job" AND resource.labels.job_id=({ids}){begin}'


def _entries(place: Place, query: str, limit: int) -> list[dict[str, Any]]:
    """The newest entries, newest first."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        asked = {"pageSize": min(limit - len(found), PAGE), **({"pageToken": token} if token else {})}
        page = _page(place, {"filter": query, **asked})
        found += page.get("entries", [])
        token = page.get("nextPageToken", "")
        # An empty page with a token is not the end: the service has not searched everything yet.
        if not token or len(found) >= limit:
            return found


def _page(place: Place, asked: dict[str, Any]) -> dict[str, Any]:
    from google.api_core.exceptions import from_http_response
    from google.auth.transport.requests import AuthorizedSession

    endpoint = os.environ.get(ENDPOINT_VARIABLE, "").rstrip("/") or ENDPOINT
    body = {"resourceNames": [f"projects/{place.project}"], "orderBy": "timestamp desc", **asked}

    def request() -> dict[str, Any]:
        with AuthorizedSession(credentials(endpoint)) as session:
            response = session.post(f"{endpoint}/v2/entries:list", json=body, timeout=CALL_SECONDS)
            if response.status_code >= 400:
                raise from_http_response(response)
            page: dict[str, Any] = response.json()
        return page

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
