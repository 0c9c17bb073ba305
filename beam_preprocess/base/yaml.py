"""The YAML loaders for configurations, shared by every command."""

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and Model Garden's files do."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class FileLoader(Loader):
    """Refuses a duplicate key. PyYAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See base class."""
        keys = [key.value for key, _ in node.value]
        duplicate = next((key for number, (key, _) in enumerate(node.value) if key.value in keys[:number]), None)
        if duplicate:
            raise yaml.constructor.ConstructorError(
                None, None, f"duplicate key {duplicate.value!r}", duplicate.start_mark
            )
        return super().construct_mapping(node, deep)
