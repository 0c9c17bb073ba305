"""The committed table of keys and docs/configuration.md are those of the classes."""

from dataclasses import dataclass
from typing import Literal

import pytest

from beam_preprocess.base.config_keys import TABLE, KeyTable, known_keys
from trainer.config.key_page import page
from trainer.config.key_table import PAGE, build_table, docstrings, kind_of, table_text

STALE = "run: make configuration (python -m trainer.config.key_table)"


@pytest.fixture(scope="module")
def built() -> KeyTable:
    return build_table()


def test_the_table_is_current(built: KeyTable) -> None:
    assert TABLE.read_text(encoding="utf-8") == table_text(built), STALE
    assert known_keys() == built


def test_the_page_is_current(built: KeyTable) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(built), STALE


def test_every_key_has_a_meaning_of_its_own(built: KeyTable) -> None:
    names = [key.key for key in built.keys]
    assert len(names) == len(set(names))
    assert not set(names) & set(built.without_effect)
    unfinished = [key.key for key in built.keys if not key.meaning.endswith(".") or not key.meaning[0].isupper()]
    assert [name for name in unfinished if not name.endswith("score_threshold")] == []


@dataclass
class _Above:
    a: int = 1
    """One
    line."""


@dataclass
class _Below(_Above):
    b: int = 2
    c: int = 3
    """Of c."""


def test_docstrings_are_those_below_the_fields() -> None:
    assert docstrings(_Below) == {"a": "One line.", "c": "Of c."}


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (float | None, "number or null"),
        (tuple[int, int], "list of 2 whole numbers"),
        (tuple[float, ...], "list of numbers"),
        (list[str], "list of texts"),
        (Literal["a", "b"], "a or b"),
    ],
)
def test_types_are_written_in_words(hint: object, words: str) -> None:
    assert kind_of(hint) == words
