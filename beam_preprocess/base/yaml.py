"""YAML as every command reads and writes it: plain values only, and one line for whatever is wrong with a text."""

import copy
import functools
import re
from typing import Any

import yaml

from beam_preprocess.base.errors import InputError

MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Aliases count each time they are used, so that ten lines cannot stand for a billion values."""
MAX_INTEGER = 2**63 - 1
MAX_KEY = 200
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


class FileLoader(yaml.SafeLoader):
    """YAML with plain values. 1e-3 is a number, as in YAML 1.2 and in Model Garden's files."""

    last_wins = False
    """Whether the last of duplicate keys counts; otherwise they are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """See base class. Refuses explicit tags, which can name types that a configuration cannot hold."""
        event = self.peek_event()
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _problem(f"tag {tag!r}; remove it", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See base class. Refuses duplicate keys, unless `last_wins`, and keys that are not text."""
        known = set()
        for key, _ in node.value:
            if key.tag not in (TEXT, MERGE):
                raise _problem(f"key {_shown(key)} is not a text; put it in quotes", key)
            if len(key.value) > MAX_KEY:
                raise _problem(f"key {_shown(key)} has more than {MAX_KEY} characters", key)
            if key.value in known and not self.last_wins:
                raise _problem(f"duplicate key {key.value!r}; remove one", key)
            known.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `FileLoader` reads: no aliases, and quotes around the text 1e-3."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def load(text: str, where: str, *, last_wins: bool = False) -> Any:
    """Parses a YAML text into mappings with text keys, lists, texts, numbers, true, false and null.

    Args:
      text: one document.
      where: its origin, for messages.
      last_wins: whether the last of duplicate keys counts, as with flags; otherwise they are refused.

    Raises:
      InputError: not YAML, a duplicate key or a key that is not text, a tag, a date, a number of more than 64 bits, an
        alias to itself, too deep, or too large.
    """
    try:
        return copy.deepcopy(_parsed(text, last_wins))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"{where}: not YAML: {line}{_one_line(error.problem or error)}") from error
    except RecursionError as error:
        raise InputError(f"{where}: not YAML: nested deeper than {MAX_DEPTH} levels") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: not YAML: {_one_line(error)}") from error


def dump(values: Any) -> str:
    """The YAML text of plain values; keys keep their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


@functools.lru_cache(maxsize=32)
def _parsed(text: str, last_wins: bool) -> Any:
    """A command reads its configuration several times, which takes milliseconds each time."""
    loader = FileLoader(text)
    loader.last_wins = last_wins
    node = loader.get_single_node()
    if node is None:
        return None
    _count(node, frozenset(), {})
    return loader.construct_document(node)


def _count(node: yaml.Node, above: frozenset[int], counts: dict[int, int]) -> int:
    """Number of values in a node, with aliases expanded.

    Raises:
      ConstructorError: too many or too deep, or a node that contains itself.
    """
    if id(node) in above:
        raise _problem("an alias to the value that contains it; write the value out", node)
    if len(above) == MAX_DEPTH:
        raise _problem(f"nested deeper than {MAX_DEPTH} levels", node)
    if id(node) not in counts:
        below = above | {id(node)}
        parts = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        counts[id(node)] = 1 + sum(_count(part, below, counts) for part in parts)
    if counts[id(node)] > MAX_VALUES:
        raise _problem(f"more than {MAX_VALUES:,} values", node)
    return counts[id(node)]


def _text(loader: FileLoader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        raise _problem(f"{_shown(node)} contains half of a surrogate pair", node)
    return text


def _integer(loader: FileLoader, node: yaml.ScalarNode) -> int:
    # The limit on the text comes first: Python refuses to read thousands of digits.
    value = loader.construct_yaml_int(node) if len(node.value) < 100 else None
    if value is None or abs(value) > MAX_INTEGER:
        raise _problem(f"number {_shown(node)} has more than 64 bits", node)
    return int(value)


def _float(loader: FileLoader, node: yaml.ScalarNode) -> float:
    value = float(loader.construct_yaml_float(node))
    if value in (float("inf"), float("-inf")) and "inf" not in node.value.lower():
        raise _problem(f"number {_shown(node)} is too large", node)
    return value


def _date(loader: FileLoader, node: yaml.ScalarNode) -> None:
    raise _problem(f"{_shown(node)} is a date; put it in quotes", node)


def _problem(text: str, at: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, at.start_mark)


def _shown(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "in brackets"
    return ascii(node.value if len(node.value) <= 40 else f"{node.value[:37]}...")


def _one_line(error: Any) -> str:
    return " ".join(str(error).split())


for _tag, _constructor in (("str", _text), ("int", _integer), ("float", _float), ("timestamp", _date)):
    FileLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _constructor)
for _kind in (FileLoader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
