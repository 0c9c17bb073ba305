"""`python -m beam_preprocess`: its verbs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess import __main__


@pytest.mark.parametrize(
    ("arguments", "verb", "rest"),
    [
        (["check", "--split", "val"], "check", ["--split", "val"]),
        (["inspect", "records"], "inspect", ["records"]),
        (["preprocess", "--split", "val"], "preprocess", ["--split", "val"]),
        (["--split", "val"], "preprocess", ["--split", "val"]),
        ([], "preprocess", []),
    ],
)
def test_a_verb_gets_the_rest_of_the_arguments(
    arguments: list[str], verb: str, rest: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, list[str]]] = []
    for name in ("check", "inspect", "preprocess"):
        monkeypatch.setitem(__main__._VERBS, name, lambda given, name=name: calls.append((name, given)) or 7)
    monkeypatch.setattr(__main__.preprocess, "main", __main__._VERBS["preprocess"])
    assert __main__.main(arguments) == 7
    assert calls == [(verb, rest)]


def test_an_unknown_verb_is_bad_usage(capsys: Any) -> None:
    assert __main__.main(["chek", "--images", "x"]) == 2
    assert "chek: unknown verb; use preprocess, check, inspect" in capsys.readouterr().err


def test_bad_input_ends_a_process_with_2_and_one_line() -> None:
    arguments = ["check", "--images", "x", "--annotations", "nowhere.json", "--split", "val"]
    done = subprocess.run(
        [sys.executable, "-m", "beam_preprocess", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: nowhere.json: no such annotation file")
