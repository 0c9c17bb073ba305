"""A version's note about approval: what it was compared with, and who approved it.

A version that passed a gate with `approval: required` gets the note when it is published. It waits for a person until
it is approved, or until the champion that it was compared with is replaced.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import build
from trainer.registry.base import RegistryError, Version

NOTE = "approval"
"""Name of the note."""
PENDING = "pending approval"
JUDGE_AGAIN = "judge the model again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """Content of the note."""

    champion: str
    """The champion that the candidate was compared with; "" for none."""
    compared_with: str
    """The best version that it was compared with; "" for none."""
    ap: float
    data_digest: str
    delta: float | None
    """AP of the candidate minus AP of that version on the same images; None: they were not compared."""
    decision: str
    """URI of decision.json, which passed."""
    decision_digest: str
    since: str
    """UTC, ISO 8601."""
    by: str = ""
    """Who approved it; "" while it waits."""
    account: str = ""
    """Account of the service or of the machine that the approval was given with."""
    at: str = ""
    """When: UTC, ISO 8601."""

    def to_note(self) -> dict[str, Any]:
        """The note's value."""
        return asdict(self)


def approval_of(version: Version) -> Approval | None:
    """The note of a version; None if it never asked for approval.

    Raises:
      RegistryError: the note is damaged.
    """
    if NOTE not in version.notes:
        return None
    try:
        return build(Approval, version.notes[NOTE], f"version {version.version}: note {NOTE}", JUDGE_AGAIN)
    except InputError as error:
        raise RegistryError(str(error)) from error


def is_pending(notes: Mapping[str, Any], champion: str | None) -> bool:
    """Whether a version waits for approval.

    Args:
      notes: the version's.
      champion: the current champion.
    """
    found = notes.get(NOTE)
    return isinstance(found, Mapping) and not found.get("by") and found.get("champion") == (champion or "")
