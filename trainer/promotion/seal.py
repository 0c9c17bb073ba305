"""The digest that a file carries of its own content.

It finds accidents and an edit of one file. It cannot stop someone who writes the digest again as well.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from beam_preprocess.base.errors import InputError

DIGEST = "digest"
"""The key of the digest."""


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their digest under DIGEST."""
    return {**values, DIGEST: content_digest(values)}


def content_digest(values: Mapping[str, Any]) -> str:
    """Hex sha256 of JSON-able values in a canonical form, without the key DIGEST."""
    content = {key: value for key, value in values.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_seal(values: Mapping[str, Any], where: str, fix: str) -> None:
    """Checks that parsed values are those that were written.

    Raises:
      InputError: they are not.
    """
    if values.get(DIGEST) != content_digest(values):
        raise InputError(f"{where}: was changed after it was written: its digest does not match; {fix}")
