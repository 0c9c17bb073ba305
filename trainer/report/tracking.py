"""A training's curves in Vertex AI TensorBoard, and its run in an experiment of Vertex AI Experiments.

The curves are the rows of history.jsonl, written through TensorBoard's API after the training: so it works for plain
tasks too, whereas Vertex AI's own upload exists for custom jobs only. A repeated call overwrites the same points. The
run joins the experiment as the SDK's `PipelineJob.submit(experiment=…)` lets it join: its context becomes a child of
the experiment's.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from beam_preprocess.base import json as strict
from beam_preprocess.base.errors import InputError
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError, Place, call

EXPERIMENT = "centernet-training"
"""TensorBoard's experiment of runs without an experiment of their own."""
MAX_POINTS = 5000
"""Per request, as the service's messages state."""
_JOB = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")
_TENSORBOARD = re.compile(r"projects/[^/\s]+/locations/([a-z0-9-]+)/tensorboards/[0-9]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """Where a run is tracked; "" is nowhere."""

    tensorboard: str = ""
    """projects/PROJECT/locations/REGION/tensorboards/ID."""
    experiment: str = ""

    def __post_init__(self) -> None:
        if self.tensorboard and not _TENSORBOARD.fullmatch(self.tensorboard):
            raise InputError(
                f"--tensorboard {self.tensorboard}: give its full name, "
                "projects/PROJECT/locations/REGION/tensorboards/ID"
            )
        if self.experiment and not _NAME.fullmatch(self.experiment):
            raise InputError(f"--experiment {self.experiment}: give a name of at most 128 of a-z, 0-9 and -")

    @property
    def region(self) -> str:
        """TensorBoard's region; "" without one."""
        found = _TENSORBOARD.fullmatch(self.tensorboard)
        return found[1] if found else ""

    def text(self) -> str:
        """JSON, for a parameter; "" if there is nothing to do."""
        return json.dumps(asdict(self)) if self.tensorboard or self.experiment else ""


def track(history: Sequence[Mapping[str, Any]], tracking: str, job: str) -> str:
    """Sends the curves and adds the run to its experiment.

    Args:
      history: rows with "step"; the numbers of the other keys are curves.
      tracking: text of a `Tracking`.
      job: resource name of the pipeline job.

    Returns:
      What was done, in one sentence. A service that refuses doesn't fail the run, whose model is decided already: the
      sentence says so.
    """
    try:
        wanted = strict.read(Tracking, tracking, "tracking", "submit again")
        found = _JOB.fullmatch(job)
        if not found:
            raise InputError(f"job {job}: not a pipeline job of Vertex AI; leave --tensorboard and --experiment out")
        place = Place(project=found[1], region=found[2])
        done = []
        if wanted.tensorboard:
            points = _send_curves(history, wanted, place, found[3])
            done.append(f"{points} points sent to {wanted.tensorboard}")
        if wanted.experiment:
            _join(wanted.experiment, place, job)
            done.append(f"added to the experiment {wanted.experiment}")
        return "; ".join(done)
    except (InputError, CloudError) as error:
        return f"not tracked: {error}"


def _send_curves(history: Sequence[Mapping[str, Any]], wanted: Tracking, place: Place, run_id: str) -> int:
    from google.cloud.aiplatform_v1 import TensorboardServiceClient

    client: Any = google_cloud.make_client(TensorboardServiceClient, place)
    options: dict[str, Any] = {"retry": None, "timeout": google_cloud.CALL_SECONDS}
    experiment_id = wanted.experiment or EXPERIMENT
    experiment = f"{wanted.tensorboard}/experiments/{experiment_id}"
    run = f"{experiment}/runs/{run_id}"

    def asked(action: str, request: Callable[[], Any], permission: str) -> Any:
        return call(action, request, permission=f"aiplatform.{permission}", place=place)

    _create(
        lambda: asked(
            f"create TensorBoard's experiment {experiment_id}",
            lambda: client.create_tensorboard_experiment(
                parent=wanted.tensorboard,
                tensorboard_experiment={"display_name": experiment_id},
                tensorboard_experiment_id=experiment_id,
                **options,
            ),
            "tensorboardExperiments.create",
        )
    )
    _create(
        lambda: asked(
            f"create TensorBoard's run {run_id}",
            lambda: client.create_tensorboard_run(
                parent=experiment, tensorboard_run={"display_name": run_id}, tensorboard_run_id=run_id, **options
            ),
            "tensorboardRuns.create",
        )
    )
    listed = asked(
        "list TensorBoard's series",
        lambda: list(client.list_tensorboard_time_series(parent=run, **options)),
        "tensorboardTimeSeries.list",
    )
    known = {series.display_name: series.name for series in listed}
    curves = _curves(history)
    if missing := [name for name in curves if name not in known]:
        series = {"value_type": "SCALAR", "plugin_name": "scalars"}
        requests = [{"parent": run, "tensorboard_time_series": {**series, "display_name": name}} for name in missing]
        made = asked(
            "create TensorBoard's series",
            lambda: client.batch_create_tensorboard_time_series(parent=experiment, requests=requests, **options),
            "tensorboardTimeSeries.batchCreate",
        )
        known |= {one.display_name: one.name for one in made.tensorboard_time_series}
    points = 0
    for name, values in curves.items():
        series_id = known[name].rpartition("/")[2]
        for start in range(0, len(values), MAX_POINTS):
            part = values[start : start + MAX_POINTS]
            data = [{"tensorboard_time_series_id": series_id, "value_type": "SCALAR", "values": part}]
            write = partial(client.write_tensorboard_run_data, tensorboard_run=run, time_series_data=data, **options)
            asked(f"write TensorBoard's series {name}", write, "tensorboardRuns.write")
            points += len(part)
    return points


def _curves(history: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Points by curve. History has no times: TensorBoard shows them over the step."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in history:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                curves.setdefault(name, []).append({"step": int(row["step"]), "scalar": {"value": float(value)}})
    return curves


def _join(name: str, place: Place, job: str) -> None:
    from google.cloud.aiplatform_v1 import MetadataServiceClient, PipelineServiceClient

    options: dict[str, Any] = {"retry": None, "timeout": google_cloud.CALL_SECONDS}
    jobs: Any = google_cloud.make_client(PipelineServiceClient, place)
    metadata: Any = google_cloud.make_client(MetadataServiceClient, place)
    store = f"{place.parent}/metadataStores/default"
    read = call(
        f"read {job}",
        lambda: jobs.get_pipeline_job(name=job, **options),
        permission="aiplatform.pipelineJobs.get",
        place=place,
    )
    context = {
        "display_name": name,
        "schema_title": "system.Experiment",
        "schema_version": "0.0.1",
        "metadata": {"experiment_deleted": False},
    }
    _create(
        lambda: call(
            f"create the experiment {name}",
            lambda: metadata.create_context(parent=store, context=context, context_id=name, **options),
            permission="aiplatform.contexts.create",
            place=place,
        )
    )
    child = read.job_detail.pipeline_run_context.name
    if not child:
        raise CloudError(f"{job}: has no context in the metadata store yet, so it can't join {name}")
    call(
        f"add the run to the experiment {name}",
        lambda: metadata.add_context_children(context=f"{store}/contexts/{name}", child_contexts=[child], **options),
        permission="aiplatform.contexts.addContextChildren",
        place=place,
    )


def _create(request: Callable[[], Any]) -> None:
    """Creates something, unless it exists."""
    try:
        request()
    except CloudError as error:
        if error.status != 409:
            raise
