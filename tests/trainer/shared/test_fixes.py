"""What messages advise must exist."""

import re
from pathlib import Path

import pytest

import trainer
from trainer.shared import fixes

ADVICE = {name: text for name, text in vars(fixes).items() if name.endswith("_AGAIN")}


@pytest.mark.parametrize("name", ADVICE)
def test_each_names_a_command(name: str) -> None:
    verbs = re.findall(r"centernet (\w+)", ADVICE[name])
    assert len(verbs) == 1
    commands = {path.stem for path in Path(*trainer.__path__).glob("*.py")} | {"run"}
    assert set(verbs) <= commands


def test_all_are_seen() -> None:
    assert len(ADVICE) == 4
