"""What the command decides and the server does, as one JSON text between their two environments. Standard library."""

import json
from dataclasses import asdict, dataclass

from beam_preprocess.base.json import read

PLAN_FIX = "start it with `centernet serve`"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedClass:
    """One class of the model."""

    category_id: int
    name: str
    score_threshold: float
    """Detections below it are left out of answers, unless the request gives a threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to serve, and where."""

    model: str
    """SavedModel folder."""
    version: str
    """The registry's name of it; "" for a folder."""
    name: str
    """The model's name in request paths."""
    classes: tuple[ServedClass, ...]
    threshold_source: str
    """Where the thresholds come from, for people."""
    socket: int
    """File descriptor of the bound socket, which the server inherits."""
    address: str
    """The server's URL, for people."""

    def to_json(self) -> str:
        """The plan as text."""
        return json.dumps(asdict(self))


def read_plan(text: str) -> Plan:
    """The plan in a text.

    Raises:
      InputError: it isn't one.
    """
    return read(Plan, text, "standard input", PLAN_FIX)
