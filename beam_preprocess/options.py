"""Which runner, with which options. Everything that this package's flags don't name is Beam's."""

from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_preprocess.dataflow import check_job_options, is_dataflow
from beam_preprocess.errors import InputError

RUNNER = "FnApiRunner"
"""By name: Beam's default, DirectRunner, may download a binary and run another engine."""

_REFUSED = {
    "directrunner": "it may download another engine",
    "switchingdirectrunner": "it may download another engine",
    "prismrunner": "it downloads a binary",
    "daskrunner": "it loses side outputs and finish_bundle results without an error",
}


def beam_options(arguments: Sequence[str], num_workers: int) -> PipelineOptions:
    """Pipeline options from the flags that this package doesn't know.

    Args:
      arguments: Beam flags, such as ["--runner=DataflowRunner", "--project=…"].
      num_workers: local worker processes. More than 1 cost 4 to 8 seconds to start, so 1 stays in this process.

    Raises:
      InputError: a flag that Beam doesn't know, a runner that is refused or has no local processes, or a flag that
        Dataflow needs and lacks.
    """
    arguments = list(arguments)
    unknown = _unknown(arguments)
    if unknown:
        raise InputError(
            f"unknown arguments: {' '.join(unknown)}; see --help, and Beam's pipeline options for the others"
        )
    runner = PipelineOptions(arguments).get_all_options()["runner"] or RUNNER
    reason = _REFUSED.get(runner.rsplit(".", 1)[-1].lower())
    if reason:
        raise InputError(f"--runner {runner}: refused, because {reason}; use {RUNNER} or leave --runner out")
    defaults = [f"--runner={runner}"]
    if num_workers > 1 and not _is_local(runner):
        raise InputError(
            f"--num-workers {num_workers}: local processes are {RUNNER}'s, not {runner}'s; use that runner's own "
            "option, such as --max_num_workers of DataflowRunner"
        )
    if num_workers > 1:
        defaults += ["--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}"]
    if is_dataflow(runner):
        defaults.append("--sdk_location=container")  # the image has Beam: nothing is downloaded or staged
    options = PipelineOptions([*defaults, *arguments])
    if is_dataflow(runner):
        check_job_options(options)
    return options


def _is_local(runner: str) -> bool:
    return runner.rsplit(".", 1)[-1].lower() == RUNNER.lower()


def _unknown(arguments: Sequence[str]) -> list[str]:
    """What no option class of Beam parses: Beam itself would only log it."""
    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)

    def refuse(message: str) -> None:  # instead of two screens of Beam's usage
        raise InputError(f"{message}; see Beam's pipeline options")

    parsers[0].error = refuse
    return list(parsers[0].parse_known_args(list(arguments))[1])
