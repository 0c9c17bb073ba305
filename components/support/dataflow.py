"""Where Beam runs the preprocessing: on the step's own machine, or on Dataflow, with the options built here."""

import json
import os
import re
import shlex
import uuid
from dataclasses import dataclass, fields

from beam_preprocess.base.errors import InputError

STEP, DATAFLOW = PLACES = ("step", "dataflow")
JOB = "centernet-preprocess"

_FORMS = {
    "project": (r"[a-z][a-z0-9.:-]{4,}[a-z0-9]", "a Google Cloud project id"),
    "region": (r"[a-z]+-[a-z]+\d+", "a region, such as us-central1"),
    "sdk_container_image": (r"[^\s/]+/\S+", "the image of trainer/Dockerfile's target beam, with its registry"),
    "machine_type": (r"[a-z0-9]+-[a-z0-9-]+", "a machine type, such as n2-standard-8"),
    "service_account": (r"(\S+@\S+\.gserviceaccount\.com)?", "the e-mail address of a service account, or nothing"),
    "network": (r"(projects/[^/\s]+/global/networks/)?[a-z0-9-]*", "a network's name, short or full, or nothing"),
    "subnetwork": (
        r"((https://www\.googleapis\.com/compute/v1/projects/[^/\s]+/)?regions/[^/\s]+/subnetworks/[^/\s]+)?",
        "regions/REGION/subnetworks/NAME or its full address, or nothing",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataflow:
    """A Dataflow job's place and machines: the keys of the pipeline's parameter `dataflow`."""

    project: str
    region: str
    sdk_container_image: str
    """Contains this package: workers install nothing."""
    machine_type: str = "n2-standard-8"
    max_workers: int = 50
    disk_gb: int = 50
    service_account: str = ""
    """Service account that the workers run as; "" is Compute Engine's default account of the project."""
    network: str = ""
    subnetwork: str = ""
    """Workers in a subnetwork have no public address. It must reach Google's services (Private Google Access)."""
    flexrs: bool = False
    """Cheaper: preemptible workers, and the job starts within six hours."""

    def __post_init__(self) -> None:
        for name, (form, wanted) in _FORMS.items():
            value = getattr(self, name)
            if not isinstance(value, str) or not re.fullmatch(form, value):
                raise InputError(f"dataflow.{name}: {value!r}; give {wanted}")
        for name, least in (("max_workers", 1), ("disk_gb", 10)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"dataflow.{name}: {value!r}; give a whole number of {least} or more")
        if not isinstance(self.flexrs, bool):
            raise InputError(f"dataflow.flexrs: {self.flexrs!r}; give true or false")

    @classmethod
    def parse(cls, text: str) -> "Dataflow":
        """Reads the JSON of the pipeline's parameter `dataflow`.

        Raises:
          InputError: not a JSON object, an unknown or missing key, or a wrong value.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"dataflow: {text!r}: not JSON ({error}); give an object") from error
        if not isinstance(values, dict):
            raise InputError(f'dataflow: {text!r}: not a JSON object; give one, such as {{"region": "us-central1"}}')
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(f"dataflow.{unknown[0]}: unknown; known keys are {', '.join(sorted(known))}")
        missing = [name for name in ("project", "region", "sdk_container_image") if not values.get(name)]
        if missing:
            raise InputError(f"dataflow.{missing[0]}: not given; preprocessing on Dataflow needs {', '.join(missing)}")
        return cls(**values)

    def flags(self, *, job_name: str, temporary: str) -> list[str]:
        """Beam's options.

        Args:
          job_name: unique among the region's running jobs.
          temporary: gs:// folder for staged and temporary files.
        """
        optional = {
            "service_account_email": self.service_account,
            # Dataflow accepts one of the two; the subnetwork is more specific.
            "network": "" if self.subnetwork else self.network.rsplit("/", 1)[-1],
            "subnetwork": self.subnetwork,
            "flexrs_goal": "COST_OPTIMIZED" if self.flexrs else "",
        }
        return [
            "--runner=DataflowRunner",
            f"--project={self.project}",
            f"--region={self.region}",
            f"--job_name={job_name}",
            f"--temp_location={temporary}/temp",
            f"--staging_location={temporary}/staging",
            f"--sdk_container_image={self.sdk_container_image}",
            "--sdk_location=container",
            f"--machine_type={self.machine_type}",
            f"--max_num_workers={self.max_workers}",
            f"--disk_size_gb={self.disk_gb}",
            f"--labels=pipeline={JOB}",
            *(f"--labels={name}={value}" for name, value in _run_labels().items() if name != "pipeline"),
            *(f"--{name}={value}" for name, value in optional.items() if value),
            *(["--no_use_public_ips"] if self.subnetwork else []),
        ]


def _run_labels() -> dict[str, str]:
    """Labels of the run that this step belongs to, for the billing report; Vertex AI sets the variable."""
    found: dict[str, str] = json.loads(os.environ.get("VERTEX_AI_PIPELINES_RUN_LABELS") or "{}")
    return found


def beam_arguments(preprocess_on: str, dataflow: str, beam_args: str, *, output: str, split: str) -> list[str]:
    """Beam's options for one split.

    Args:
      preprocess_on: "step" or "dataflow".
      dataflow: JSON, see `Dataflow`; only read for "dataflow".
      beam_args: further options as one text; they override the others.
      output: where the pipeline backend puts the step's output; Beam's temporary files go next to it.
      split: part of the job's name.

    Raises:
      InputError: an unknown place, wrong options, a second runner, or an output outside a bucket.
    """
    try:
        more = shlex.split(beam_args)
    except ValueError as error:
        raise InputError(f"beam_args: {beam_args!r}: {error}; quote it as a shell would") from error
    if preprocess_on not in PLACES:
        raise InputError(f"preprocess_on: {preprocess_on!r}; choose one of {', '.join(PLACES)}")
    runner = next((word.partition("=")[2] for word in more if word.startswith("--runner=")), "")
    if preprocess_on == STEP:
        if runner.startswith("Dataflow"):
            raise InputError(
                f"beam_args: {beam_args!r} names {runner}; give preprocess_on=dataflow and its keys instead"
            )
        return more
    if runner or "--runner" in more:
        raise InputError("beam_args: names a --runner, and preprocess_on is 'dataflow'; give one of the two")
    if not output.startswith("gs://"):
        raise InputError(
            f"preprocess_on: 'dataflow' writes to a bucket, and the pipeline root is {output}; give gs://…"
        )
    name = f"{JOB}-{split}-{uuid.uuid4().hex[:8]}"
    return [*Dataflow.parse(dataflow).flags(job_name=name, temporary=f"{output.rstrip('/')}-beam"), *more]
