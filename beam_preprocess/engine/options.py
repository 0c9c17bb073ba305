"""Beam's pipeline options. Every flag that this package does not know is one of Beam's."""

from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from beam_preprocess.base.errors import InputError
from beam_preprocess.engine import local_worker
from beam_preprocess.engine.dataflow import check_job_options, is_dataflow

RUNNER = "FnApiRunner"
"""Named, because Beam's default, DirectRunner, may download a binary and run another engine."""

_REFUSED = {
    "directrunner": "it may download another engine",
    "switchingdirectrunner": "it may download another engine",
    "prismrunner": "it downloads a binary",
    "daskrunner": "it loses side outputs and finish_bundle results without an error",
}


def beam_options(arguments: Sequence[str], num_workers: int, num_threads: int = 1) -> PipelineOptions:
    """Makes pipeline options from the flags that this package does not know.

    Args:
      arguments: Beam flags, such as ["--runner=DataflowRunner", "--project=…"].
      num_workers: number of local worker processes. More than one take 4 to 8 seconds to start; one runs in this
        process.
      num_threads: number of threads of this process, instead of processes. They start at once. Decoding, resizing and
        encoding release Python's lock, but these are only about four fifths of the work, so more than 4 gain little.

    Raises:
      InputError: a flag that Beam does not know, a runner that is refused or has no local processes, or a missing flag
        that Dataflow needs.
    """
    arguments = list(arguments)
    unknown = _unknown(arguments)
    if unknown:
        raise InputError(
            f"unknown arguments: {' '.join(unknown)}; see --help, and Beam's documentation for its pipeline options"
        )
    runner = PipelineOptions(arguments).get_all_options()["runner"] or RUNNER
    reason = _REFUSED.get(runner.rsplit(".", 1)[-1].lower())
    if reason:
        raise InputError(f"--runner {runner}: refused, because {reason}; use {RUNNER}, or omit --runner")
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
                f"{flag} {count}: only {RUNNER} has local processes and threads, not {runner}; use that runner's own "
                "option, such as --max_num_workers of DataflowRunner"
            )
        defaults += [f"--direct_running_mode={mode}", f"--direct_num_workers={count}"]
    if is_dataflow(runner):
        defaults.append("--sdk_location=container")  # the image contains Beam: nothing is downloaded or staged
    options = PipelineOptions([*defaults, *arguments])
    if is_dataflow(runner):
        check_job_options(options)
    return options


def local_runner(options: PipelineOptions) -> PipelineRunner | None:
    """The runner for local worker processes, which are `local_worker`s; None lets Beam create the one of the options.

    With its mode multi_processing, FnApiRunner would start Beam's own worker program.
    """
    given = options.view_as(DirectOptions)
    if not _is_local(options.get_all_options()["runner"]) or given.direct_running_mode != "multi_processing":
        return None
    given.direct_running_mode = "local_worker"  # a name that FnApiRunner does not know: it uses the given environment
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(local_worker.command_line()))


def _is_local(runner: str) -> bool:
    return runner.rsplit(".", 1)[-1].lower() == RUNNER.lower()


def _unknown(arguments: Sequence[str]) -> list[str]:
    """The arguments that no option class of Beam parses. Beam itself would only log them."""
    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)

    def refuse(message: str) -> None:  # instead of printing two screens of Beam's usage
        raise InputError(f"{message}; see Beam's documentation for its pipeline options")

    parsers[0].error = refuse
    return list(parsers[0].parse_known_args(list(arguments))[1])
