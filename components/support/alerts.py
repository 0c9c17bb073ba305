"""The alert at the end of a run on a service."""

import re

from trainer.promotion.outcome import Ended, read_ended, read_said
from trainer.shared.webhook import Alert, send

NO_NEWS = ("unchanged", "steady", "no champion")
"""Outcomes that are not posted."""
_KINDS = "|".join(("promoted", "held", "pending approval", "drifted", "too few images", *NO_NEWS))
_JOB = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")


def send_outcome(secret: str, pipeline_root: str, job: str, run: str, failure: str) -> None:
    """Posts how the run ended: promoted, held, pending approval or failed; after a watch with what it said, or that
    alone if it found drift or too few images. A run without news posts nothing.

    Args:
      secret: name of the webhook's secret, see `trainer.shared.webhook.read_address`.
      pipeline_root: where the run left its outcome.
      job: the service's id of the run.
      run: the run's name, on Vertex AI its resource name.
      failure: what the service says about a run that left no outcome: "failed: …", "cancelled: …".
    """
    link = ""
    if found := _JOB.fullmatch(run):
        run = found[3]
        link = (
            f"https://console.cloud.google.com/vertex-ai/locations/{found[2]}/pipelines/runs/{run}?project={found[1]}"
        )
    said = ""
    try:
        said, ended = read_said(pipeline_root, job), read_ended(pipeline_root, job)
    except Exception as error:  # whatever a file system raises, somebody must hear of the run
        ended = Ended(outcome=f"failed, or its outcome can't be read ({error})", report="")
    if ended is None:
        ended = Ended(outcome=" ".join(failure.split()), report="")
    outcome = re.match(_KINDS, ended.outcome)
    kind = outcome[0] if outcome else "failed"
    if kind in NO_NEWS:
        print(f"result: no alert: {ended.outcome}", flush=True)
        return
    watched = f" (watched: {said})" if said and not ended.outcome.startswith(said) else ""
    send(secret, Alert(outcome=kind, sentence=ended.outcome + watched, run=run, link=link, report=ended.report))
