"""The run's options: written by the first stage, found by the others, wherever a backend puts outputs."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from components.support.run_options import RunOptions, read_options, write_options

OPTIONS = RunOptions(work_dir="gs://b/work/1", preprocess_on="dataflow", dataflow='{"region": "x"}', beam_args="--a=b")


@pytest.mark.parametrize(
    ("written_by", "read_by"),
    [
        ("root/123/run-7/data-check_1/report", "root/123/run-7/train_2/checkpoint"),  # Vertex AI
        ("root/run-7/data-check/report", "root/run-7/train/checkpoint"),  # this machine, Kubeflow Pipelines
        ("root/run-7/data-check/u-1/report", "root/run-7/train/u-2/checkpoint"),  # Kubeflow Pipelines, newer
    ],
)
def test_a_stage_finds_its_own_runs_options(tmp_path: Path, written_by: str, read_by: str) -> None:
    other = written_by.replace("run-7", "run-8")
    write_options(RunOptions(work_dir="another run's"), f"{tmp_path}/{other}", "run-8")
    with pytest.raises(InputError, match=r"run-7.*missing; the stage 'check the data' writes it"):
        read_options(f"{tmp_path}/{read_by}")
    write_options(OPTIONS, f"{tmp_path}/{written_by}", "run-7")
    assert read_options(f"{tmp_path}/{read_by}") == OPTIONS


@pytest.mark.parametrize("run_id", ["4711", ""])
def test_an_id_that_is_not_in_the_address_names_no_folder(tmp_path: Path, run_id: str) -> None:
    """Vertex AI's own id of a run is a number; its folder has the job's name."""
    write_options(OPTIONS, f"{tmp_path}/run-7/data-check_1/report", run_id)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")] == ["run-7/run-options.json"]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run-options.json").write_text('{"work_dir": 1}')
    with pytest.raises(InputError, match="lacks preprocess_on, dataflow, beam_args, strict; start the run again"):
        read_options(f"{tmp_path}/train/checkpoint")
