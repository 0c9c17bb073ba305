"""Texts that kfp's local runner would change."""

from collections.abc import Mapping
from typing import Any

from beam_preprocess.base.errors import InputError


def check_texts(arguments: Mapping[str, Any]) -> None:
    """Refuses "python3" in arguments: kfp's local runner replaces it by the interpreter's path.

    Args:
      arguments: by the flag's name, with hyphens or underscores.

    Raises:
      InputError: an argument or a folder contains that text.
    """
    for name, value in arguments.items():
        if "python3" in str(value):
            shown = "its text" if name == "config" else value
            raise InputError(
                f"--{name.replace('_', '-')}: {shown} contains 'python3', which kfp's local runner rewrites; "
                "rename it, or use a link with another name"
            )
