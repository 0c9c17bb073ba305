"""Pipeline options: the default runner, and what is refused."""

import re

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.engine.options import beam_options

DATAFLOW = ["--project=p", "--region=r", "--temp_location=gs://b/temp", "--sdk_container_image=image"]


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [
        (1, 1, ("FnApiRunner", "in_memory", 1)),
        (3, 1, ("FnApiRunner", "multi_processing", 3)),
        (1, 2, ("FnApiRunner", "multi_threading", 2)),
    ],
)
def test_the_default_runner_is_named_and_downloads_nothing(
    workers: int, threads: int, expected: tuple[str, str, int]
) -> None:
    options = beam_options([], workers, threads).get_all_options()
    assert (options["runner"], options["direct_running_mode"], options["direct_num_workers"]) == expected


@pytest.mark.parametrize(
    ("arguments", "workers", "threads", "message"),
    [
        (["--no-such-flag=1"], 1, 1, "unknown arguments: --no-such-flag=1; see --help, and Beam's documentation"),
        (["stray"], 1, 1, "unknown arguments: stray"),
        (["--max_num_workers=many"], 1, 1, "argument --max_num_workers: invalid int value: 'many'; see"),
        (["--runner"], 1, 1, "argument --runner: expected one argument; see"),
        (["--runner=DirectRunner"], 1, 1, "refused, because it may download another engine"),
        (["--runner=PrismRunner"], 1, 1, "refused, because it downloads a binary; use FnApiRunner, or omit --runner"),
        (
            ["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"],
            1,
            1,
            "refused, because it loses side outputs and finish_bundle results without an error",
        ),
        ([], 2, 2, "--num-workers 2 and --num-threads 2: choose one"),
        (
            ["--runner=BundleBasedDirectRunner"],
            2,
            1,
            "--num-workers 2: only FnApiRunner has local processes and threads, not BundleBasedDirectRunner",
        ),
        (["--runner=PortableRunner"], 1, 2, "--num-threads 2: only FnApiRunner has local processes and threads"),
        (["--runner=DataflowRunner", *DATAFLOW], 2, 1, "such as --max_num_workers of DataflowRunner"),
        (["--runner=DataflowRunner", *DATAFLOW[1:]], 1, 1, "also give --project (the project that runs the job)"),
    ],
)
def test_what_cannot_work_is_an_input_error_of_one_line(
    arguments: list[str], workers: int, threads: int, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as error:
        beam_options(arguments, workers, threads)
    assert "\n" not in str(error.value)


def test_dataflow_workers_use_the_image_as_it_is() -> None:
    options = beam_options(["--runner=DataflowRunner", *DATAFLOW], 1).get_all_options()
    assert (options["runner"], options["sdk_location"]) == ("DataflowRunner", "container")
