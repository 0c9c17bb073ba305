"""Which runner, with which options. Everything that this package's flags don't name is Beam's."""

from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_preprocess.base.errors import InputError
from beam_preprocess.engine.dataflow import check_job_options, is_dataflow

RUNNER = "FnApiRunner"
"""By name: Beam's default, DirectRunner, may download a binary and run another engine."""

_REFUSED = {
    "directrunner": "it may download another engine",
    "switchingdirectrunner": "it may download another engine",
    "prismrunner": "it downloads a binary",
    "daskrunner": "it loses side outputs and finish_bundle results without an error",
}


def beam_options(arguments: Sequence[str], num_workers: int, num_threads: int = 1) -> PipelineOptions:
    """Pipeline options from the flags that this package doesn't know.

    Args:
      arguments: Beam flags, such as ["--runner=DataflowRunner", "--project=…"].
      num_workers: local worker processes. More than 1 cost 4 to 8 seconds to start, so 1 stays in this process.
      num_threads: or threads of this process, which cost nothing to start. Decoding, resizing and encoding let go of
        Python's lock, about four fifths of the work; so more than 4 gain little.

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
    if num_workers > 1 and num_threads > 1:
        raise InputError(f"--num-workers {num_workers} and --num-threads {num_threads}: choose one of the two")
    for flag, count, mode in (
        ("--num-workers", num_workers, "multi_processing"),
        ("--num-threads", num_threads, "multi_threading"),
    ):
        if count == 1:
            continue
        if not _is_local(runner):
            raise InputError(
                f"{flag} {count}: local processes and threads are {RUNNER}'s, not {runner}'s; use that runner's own "
                "option, such as --max_num_workers of DataflowRunner"
            )
        defaults += [f"--direct_running_mode={mode}", f"--direct_num_workers={count}"]
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
