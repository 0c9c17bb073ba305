"""The dispatcher."""

import pytest

from pipeline.commands.cli import main


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["compile", "--help"]])
def test_help_has_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert "examples:" in capsys.readouterr().out
