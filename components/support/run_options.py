"""How a run works, as opposed to what it computes: options that the stages need and that must not redo their work.

A parameter of a cached task is part of its cache key. So the data check, which always runs, writes these options into
the run's own folder at the backend, and the other stages read them there: a stage knows that folder from the place that
the backend gave its output.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from beam_preprocess.base import json as checked_json
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_text, write_text
from beam_preprocess.base.storage import file_system
from components.support.dataflow import beam_arguments

NAME = "run-options.json"
OPTIONS_FIX = "start the run again"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Content of the file."""

    work_dir: str = ""
    """Folder of the whole run. A run that is started again with the same folder finds what its stages wrote, and the
    libraries reuse it. "" leaves every artifact where the backend put it."""
    preprocess_on: str = "step"
    """Where Beam runs, see `dataflow.beam_arguments`."""
    dataflow: str = "{}"
    beam_args: str = ""
    strict: bool = False
    """Warnings about the data end the run."""

    def beam(self, *, output: str, split: str) -> list[str]:
        """Beam's options, see `dataflow.beam_arguments`."""
        return beam_arguments(self.preprocess_on, self.dataflow, self.beam_args, output=output, split=split)


def write_options(options: RunOptions, artifact_uri: str, run_id: str = "") -> None:
    """Writes the options of a run.

    Args:
      options: of this run.
      artifact_uri: where the backend put an output of a stage.
      run_id: the backend's id of the run. Where it is part of the URI, it names the run's folder; elsewhere that is two
        levels up (…/RUN/STAGE/OUTPUT, on Vertex AI and on this machine).
    """
    folder = artifact_uri.split("/")[:-2]
    if run_id and run_id in folder:
        folder = folder[: folder.index(run_id) + 1]
    write_text("/".join([*folder, NAME]), json.dumps(asdict(options), indent=1) + "\n")


def read_options(artifact_uri: str) -> RunOptions:
    """The options of the run that an output belongs to.

    Args:
      artifact_uri: where the backend put the output.

    Raises:
      InputError: there are none.
    """
    tried = list(_places(artifact_uri))
    for uri in tried:
        filesystem, path = file_system(uri)
        if filesystem.exists(path):
            return checked_json.read(RunOptions, read_text(uri, OPTIONS_FIX), uri, OPTIONS_FIX)
    raise InputError(f"{' and '.join(tried)}: missing; the stage 'check the data' writes it; {OPTIONS_FIX}")


def _places(artifact_uri: str) -> Iterator[str]:
    """Kubeflow Pipelines may add a level for the attempt: …/RUN/STAGE/ATTEMPT/OUTPUT."""
    parts = artifact_uri.split("/")
    for depth in (2, 3):
        yield "/".join([*parts[:-depth], NAME])
