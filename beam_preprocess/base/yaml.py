"""How the configuration's YAML is read, by every command alike."""

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """1e-3 is a number, as in YAML 1.2 and in Model Garden's files."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class FileLoader(Loader):
    """A duplicate key is an error: YAML's last one would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See base class."""
        keys = [key.value for key, _ in node.value]
        twice = next((key for number, (key, _) in enumerate(node.value) if key.value in keys[:number]), None)
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice.value!r} comes twice", twice.start_mark
            )
        return super().construct_mapping(node, deep)
