from pathlib import Path

import pytest

from tests.trainer.command_checks import assert_help_is_light, parsed_examples
from trainer.aot.__main__ import main, parser


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.aot.__main__")
    several, search, carry = parsed_examples(parser(), "aot")
    assert several.batch == [8, 16, 32]
    assert search.search
    assert (carry.verb, carry.precision) == ("carry", "float16")


def test_flags_answer_to_the_older_spellings() -> None:
    flags = parser().parse_args(["compile", "--config_file=mine.yaml", "--num_classes=3"])
    assert (flags.config, flags.num_classes) == ("mine.yaml", 3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config", "nothing.yaml"], "nothing.yaml: no such file"),
        (["--batch", "0"], "--batch 0: set 1 or more"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("compile", "carry"):
        assert main([verb, *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line
    assert not (tmp_path / "runs").exists()
