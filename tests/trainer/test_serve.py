from pathlib import Path

import pytest

from tests.trainer.command_checks import assert_help_is_light, parsed_examples
from tests.trainer.serving.test_choice import write_model
from trainer.serve import main, parser
from trainer.serving.environment import FOLDER
from trainer.serving.launch import bind


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.serve")
    plain, folder, open_to_all = parsed_examples(parser(), "serve")
    assert (plain.model, plain.registry, plain.host, plain.port) == ("champion", "registry", "127.0.0.1", 8080)
    assert plain.environment == FOLDER
    assert (folder.model, folder.port) == ("runs/latest/saved_model", 9000)
    assert open_to_all.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--registry", "none"], "error: --registry none: no such folder, so no champion"),
        (["--model", "some/folder"], "error: --model some/folder: not a SavedModel"),
        (["--name", "a/b"], "error: --name 'a/b': use letters"),
    ],
)
def test_bad_usage_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert error.startswith(says)
    assert error.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


def test_a_port_that_is_taken_is_one_line_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model")
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--model", "model", "--port", port]) == 2
    assert capsys.readouterr().err == (
        f"error: --port {port}: 127.0.0.1:{port} is not available (address already in use); give another --port\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
