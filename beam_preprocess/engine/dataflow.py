"""A job on Dataflow: checks of its options before any work, its link and its counters."""

from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from beam_preprocess.base.errors import InputError

_NEEDED = {
    "project": "the project that runs the job",
    "region": "the region that it runs in",
    "temp_location": "a gs:// folder for temporary files",
    "sdk_container_image": "the image with this package, see docs/vertex.md",
}
_CONSOLE = "https://console.cloud.google.com/dataflow/jobs/{region}/{job}?project={project}"


def is_dataflow(runner: str) -> bool:
    """Whether a runner, given by name or by the path of its class, is Dataflow."""
    return runner.rsplit(".", 1)[-1].lower() == "dataflowrunner"


def check_job_options(options: PipelineOptions) -> None:
    """Refuses options that Dataflow would refuse only after minutes.

    Raises:
      InputError: an option is missing.
    """
    given = options.get_all_options()
    missing = [f"--{name} ({why})" for name, why in _NEEDED.items() if not given.get(name)]
    if missing:
        raise InputError(f"--runner {given['runner']}: also give {', '.join(missing)}")


def check_reachable(**folders: str) -> None:
    """Refuses local paths, which Dataflow's machines cannot reach.

    Args:
      folders: path or URI by flag name.

    Raises:
      InputError: one of them is a local path.
    """
    for name, path in folders.items():
        if path.startswith("file:") or "://" not in path:
            raise InputError(f"--{name} {path}: Dataflow's machines cannot reach a local path; give a gs:// folder")


def job_link(result: PipelineResult, options: PipelineOptions) -> str | None:
    """The job's page in the console; None if the result is not a Dataflow job, or only a template."""
    if not getattr(result, "has_job", False):
        return None
    place = options.view_as(GoogleCloudOptions)
    return _CONSOLE.format(region=place.region, job=result.job_id(), project=place.project)


def counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """A job's current counters by name, as its service reports them."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]
    return {counter.key.metric.name: counter.result or 0 for counter in sorted(found, key=lambda c: c.key.metric.name)}
