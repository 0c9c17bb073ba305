"""`decision.json`: what the gate decided, rule by rule."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import parse_json, read_text
from trainer.coco.bootstrap import Comparison, Interval

SCHEMA_VERSION = 2
FIX = "write it with python -m trainer.gate"

RULE_NAMES = (
    "finite",
    "complete",
    "same_data",
    "min_ap",
    "min_delta",
    "min_delta_best",
    "max_class_drop",
    "max_size_drop",
    "parity",
    "max_latency_ms",
)
"""In the order in which they are reported; promotion asks for each of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """One rule's verdict."""

    name: str
    value: float | int | str | None
    """What was compared; None where there was nothing to compare."""
    threshold: float | int | str | None
    passed: bool
    sentence: str
    """The verdict in words, with its numbers."""

    @property
    def brief(self) -> str:
        """The verdict in one phrase, for a failed rule: `min_ap 0.4100 < 0.5000`, or its sentence."""
        if isinstance(self.value, float) and isinstance(self.threshold, float) and self.value < self.threshold:
            value, threshold = f"{self.value:.4f}", f"{self.threshold:.4f}"
            if value == threshold:
                value, threshold = repr(self.value), repr(self.threshold)
            return f"{self.name} {value} < {threshold}"
        return f"{self.name}: {self.sentence.rstrip('.')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Content of `decision.json`."""

    promote: bool
    champion_version: str
    """The champion that was compared with, "" for none: promotion swaps the alias only if it still is."""
    rules: tuple[RuleResult, ...]
    best_version: str = ""
    """The version with the alias `best` that was compared with, "" when it is the champion or none."""
    model_digest: str = ""
    """Of the SavedModel that was judged: promotion refuses another one."""
    ap_interval: Interval | None = None
    """Of the candidate's AP."""
    intervals: dict[str, Comparison | None] = field(default_factory=lambda: {"champion": None, "best": None})
    """Of the AP difference to "champion" and "best"; None: there was nothing to compare."""

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why this decision does not promote; empty only if it says so and every known rule stands in it once
        and passed. Promotion asks this, not `promote`, so an edited or truncated file promotes nothing."""
        names = [rule.name for rule in self.rules]
        reasons = [rule.brief for rule in self.rules if not rule.passed]
        reasons += [f"rule {name} occurs {names.count(name)} times" for name in RULE_NAMES if names.count(name) != 1]
        if not self.promote and not reasons:
            reasons.append("the decision says promote: false")
        return tuple(reasons)

    def to_json(self) -> str:
        """Text of `decision.json`: strict JSON, without NaN."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Decision":
        """Reads a decision.

        Raises:
          InputError: not JSON, another schema version, unknown or missing keys, a value of another type.
        """
        values = parse_json(text, where, FIX)
        version = values.pop("schema_version", None) if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(f"{where}: schema_version is {version!r}, this code reads {SCHEMA_VERSION}; {FIX}")
        types: dict[str, Any] = {"promote": bool, "champion_version": str, "rules": list, "best_version": str}
        types |= {"model_digest": str, "ap_interval": (dict, type(None)), "intervals": dict}
        _check_types(values, types, where)
        scalar = (int, float, str, type(None))
        types = {"name": str, "value": scalar, "threshold": scalar, "passed": bool, "sentence": str}
        for rule in values["rules"]:
            _check_types(rule, types, f"{where}: rules")
        _check_types(values["intervals"], dict.fromkeys(("champion", "best"), (dict, type(None))), where)
        return cls(
            **{
                **values,
                "rules": tuple(RuleResult(**rule) for rule in values["rules"]),
                "ap_interval": _numbers(Interval, values["ap_interval"], where),
                "intervals": {who: _numbers(Comparison, v, where) for who, v in values["intervals"].items()},
            }
        )


def read_decision(uri: str) -> Decision:
    """Reads `decision.json`.

    Raises:
      InputError: see `Decision.from_json`; or no such file.
    """
    return Decision.from_json(read_text(uri, FIX), uri)


def _numbers(kind: type, values: dict[str, Any] | None, where: str) -> Any:
    if values is None:
        return None
    _check_types(values, {f.name: (int, float) for f in fields(kind)}, f"{where}: {kind.__name__}")
    return kind(**values)


def _check_types(values: Any, types: dict[str, Any], where: str) -> None:
    if not isinstance(values, dict) or set(values) != set(types):
        found = sorted(values) if isinstance(values, dict) else values
        raise InputError(f"{where}: holds {found!r}, needs exactly {', '.join(types)}; {FIX}")
    for name, wanted in types.items():
        if not isinstance(values[name], wanted) or (isinstance(values[name], bool) and wanted is not bool):
            raise InputError(f"{where}: {name} is {values[name]!r}, of another type than written; {FIX}")
