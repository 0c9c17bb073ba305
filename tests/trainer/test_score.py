from pathlib import Path

import pytest

from tests.trainer.command_checks import HEAVY, assert_help_is_light
from trainer.score import main, parser

pytestmark = pytest.mark.xdist_group("exported")  # a worker that has loaded TensorFlow


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.score")
    assert "numpy" in HEAVY
    flags, beam = parser().parse_known_args(["--images", "a", "--output", "b", "--on", "dataflow", "--project", "p"])
    assert (flags.model, flags.format, flags.threshold, beam) == ("champion", "coco", None, ["--project", "p"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-workers", "0"], "--num-workers 0: use 1 or more"),
        (["--on", "dataflow", "--runner=FnApiRunner"], "--runner: --on dataflow is the same as"),
        ([], "--registry registry: no such folder, so no champion"),
        (["--model", "./nowhere", "--batch-size", "0"], "--batch-size 0: use 1 or more"),
        (["--model", "./nowhere"], "./nowhere: not a SavedModel"),
        (["--model", "./nowhere", "--unknown"], "unknown arguments: --unknown"),
        (["--model", "./nowhere", "--on", "dataflow"], "also give --project"),
    ],
)
def test_bad_usage(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--images", "photos", "--output", "out", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dataflow_reaches_buckets_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = ["--on", "dataflow", "--project=p", "--region=us-central1", "--temp_location=gs://b/t"]
    job += ["--sdk_container_image=i", "--images", "gs://b/i", "--output", "gs://b/o", "--model", "./model"]
    assert main(job) == 2
    assert (
        "--model ./model: Dataflow's machines cannot reach a local path; give a gs:// folder" in capsys.readouterr().err
    )
