"""`centernet compile`."""

from pathlib import Path

import pytest

from pipeline.commands.compile import main
from tests.pipeline.graph.golden import in_a_thread

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once


def test_a_stale_file_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "pipeline.yaml"
    assert in_a_thread(main, ["--output", str(output)]) == 0
    text = output.read_text()
    output.write_text(text.replace("sdkVersion: kfp-", "sdkVersion: kfp-9."))
    assert in_a_thread(main, ["--output", str(output), "--check"]) == 0
    output.write_text(text.replace("gate", "gait", 1))
    assert in_a_thread(main, ["--output", str(output), "--check"]) == 1
    assert "gait" in capsys.readouterr().out


def test_a_failed_write_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "folder"
    output.mkdir()
    assert in_a_thread(main, ["--output", str(output)]) == 2
    assert f"--output {output}: cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ("- 1\n", "not a compiled pipeline"), ("", "not a compiled pipeline")],
)
def test_a_file_that_is_not_a_pipeline_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pipeline.yaml"
    output.write_text(text)
    assert main(["--output", str(output), "--check"]) == 2
    assert main(["--output", "gs://my-bucket/pipeline.yaml", "--check"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[0]
    assert "--check compares a file of this machine" in errors[1]
