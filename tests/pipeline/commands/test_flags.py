"""Flags that the verbs of pipeline services share."""

import pytest

from pipeline.commands.cli import main


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("list", ["--limit", "0"]),
        ("logs x", ["--limit", "-1"]),
        ("status x", ["--poll", "0"]),
        ("status x", ["--poll", "nan"]),
        ("schedule update weekly", ["--max-concurrent-runs", "0"]),
        ("schedule create", ["--max-concurrent-runs", "many"]),
    ],
)
def test_numbers_out_of_range(verb: str, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*verb.split(), *flags])
    assert stopped.value.code == 2
    assert f"argument {flags[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["submit", "schedule create"])
def test_help_has_the_groups(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    text = capsys.readouterr().out
    places = [text.index(f"\n{group}") for group in ("project (", "data (", "run options:")]
    assert places == sorted(places)
