"""`decision.json`: what the gate decided, rule by rule."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_text
from beam_preprocess.base.json import build, checked_version, parse
from trainer.coco.bootstrap import Comparison, Interval
from trainer.config.gate_config import GateConfig
from trainer.promotion.case import Case, Evidence, Verdict
from trainer.promotion.rules import RULE_NAMES, RULES, judge_rule
from trainer.promotion.seal import DIGEST, check_seal, sealed
from trainer.shared.fixes import GATE_AGAIN

DECISION_SCHEMA = 5
OTHERS = ("champion", "best")
"""The models that the candidate is compared with."""
EVIDENCE = ("candidate", *OTHERS)
"""The models whose evaluations a decision rests on."""
SAME_NUMBER = 1e-6
"""Numbers of the same evidence may differ by this much: processors sum in different orders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult(Verdict):
    """One rule's verdict, with the rule's name."""

    name: str

    @property
    def verdict(self) -> str:
        """The verdict in one word, for tables."""
        return "FAIL" if self.status == "fail" else self.status

    @property
    def brief(self) -> str:
        """The verdict of a failed rule in one phrase: `min_ap 0.4100 < 0.5000`, or its sentence."""
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
    """The champion that was compared with, "" for none: promotion swaps the alias only if it still is the champion."""
    rules: tuple[RuleResult, ...]
    best_version: str = ""
    """The version with the alias `best` that was compared with, "" when it is the champion or there is none."""
    model_digest: str = ""
    """Digest of the SavedModel that was judged: promotion refuses another one."""
    ap_interval: Interval | None = None
    """Interval of the candidate's AP."""
    intervals: dict[str, Comparison | None] = field(default_factory=lambda: dict.fromkeys(OTHERS))
    """OTHERS to the difference in AP; None: there was nothing to compare."""
    gate: GateConfig = field(default_factory=GateConfig)
    """The thresholds."""
    expected_objects: int | None = None
    """Number of objects that the data check counted; None: no data check was given."""
    evidence: dict[str, Evidence | None] = field(default_factory=lambda: dict.fromkeys(EVIDENCE))
    """EVIDENCE to the evaluation.json that was judged; None: there was none."""
    digest: str = field(default="", compare=False)
    """The digest of the file's content, filled when it is read."""

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why this decision does not promote. Empty only if it says `promote`, and each known rule occurs once and did
        not fail. Promotion asks this, not `promote`."""
        names = [rule.name for rule in self.rules]
        reasons = [rule.brief for rule in self.rules if not rule.passed]
        reasons += [f"rule {name} occurs {names.count(name)} times" for name in RULE_NAMES if names.count(name) != 1]
        if not self.promote and not reasons:
            reasons.append("the decision says promote: false")
        return tuple(reasons)

    @property
    def verdict(self) -> str:
        """The decision in words."""
        if not self.promote:
            return "hold"
        return "promote, once somebody approves it" if self.gate.asks else "promote"

    def to_json(self) -> str:
        """Text of `decision.json`: strict JSON, without NaN."""
        content = sealed({"schema_version": DECISION_SCHEMA, **asdict(self)})
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """The rules as text lines, for a terminal."""
        lines = [f"{rule.verdict:<7}  {rule.name:<14}  {rule.sentence}" for rule in self.rules]
        return "\n".join([*lines, f"decision: {self.verdict}"])

    def to_markdown(self) -> str:
        """The decision as a Markdown page."""
        lines = [f"# {self.verdict.capitalize()}", ""]
        if self.ap_interval:
            lines += [f"AP, 95 % bootstrap interval: {self.ap_interval.low:.4f} to {self.ap_interval.high:.4f}", ""]
        lines += ["| rule | value | threshold | | |", "|---|---|---|---|---|"]
        for rule in self.rules:
            value, threshold = (f"{v:.4f}" if isinstance(v, float) else f"{v}" for v in (rule.value, rule.threshold))
            verdict = rule.verdict if rule.passed else f"**{rule.verdict}**"
            sentence = rule.sentence.replace("|", "/")
            lines.append(f"| {rule.name} | {value[:12]} | {threshold[:12]} | {verdict} | {sentence} |")
        return "\n".join(lines) + "\n"


def decide(case: Case) -> Decision:
    """Judges all rules. Every verdict is reported, also after a rule failed."""
    rules = tuple(RuleResult(name=rule.name, **asdict(judge_rule(rule, case))) for rule in RULES)
    return Decision(
        promote=all(rule.passed for rule in rules),
        champion_version=case.champion_version,
        best_version=case.best_version,
        model_digest=case.candidate.model_digest,
        ap_interval=case.ap_interval,
        intervals={name: _finite(case.comparisons.get(name)) for name in OTHERS},
        rules=rules,
        gate=case.config,
        expected_objects=case.expected_objects,
        evidence={name: case.evidence.get(name) for name in EVIDENCE},
    )


def parse_decision(text: str, where: str) -> Decision:
    """Reads the text of `decision.json`.

    Raises:
      InputError: not JSON, another schema version, an unknown or missing key, a value of another type or out of range,
        a comparison whose numbers are not finite, or a file that was changed after it was written.
    """
    content = parse(text, where, GATE_AGAIN)
    values = checked_version(content, DECISION_SCHEMA, where, GATE_AGAIN)
    try:
        decision = build(Decision, values, where, GATE_AGAIN)
    except InputError as error:  # a threshold that is out of range names its key, but not the file
        raise error if str(error).startswith(where) else InputError(f"{where}: {error}") from error
    for key, found_names, wanted in (
        ("intervals", decision.intervals, OTHERS),
        ("evidence", decision.evidence, EVIDENCE),
    ):
        if set(found_names) != set(wanted):
            names = ", ".join(found_names) or "nothing"
            raise InputError(
                f"{where}: {key} holds {names}; {', '.join(wanted[:-1])} and {wanted[-1]} are needed; {GATE_AGAIN}"
            )
    for name, found in decision.intervals.items():
        if found is not None and _finite(found) is None:
            raise InputError(f"{where}: intervals.{name}: {found} has a number that is not finite; {GATE_AGAIN}")
    check_seal(content, where, GATE_AGAIN)
    return decision


def read_decision(uri: str) -> Decision:
    """Reads `decision.json`.

    Raises:
      InputError: there is no such file, or see `parse_decision`.
    """
    return parse_decision(read_text(uri, GATE_AGAIN), uri)


def difference(first: Decision, second: Decision) -> str:
    """Where two decisions differ, such as `rules[3].status: 'pass' or 'fail'`; "" if they agree.

    Numbers may differ by SAME_NUMBER. Sentences are not compared: they repeat the numbers in words.
    """
    return _differing(asdict(first), asdict(second), "")


def _differing(first: Any, second: Any, where: str) -> str:
    if isinstance(first, Mapping) and isinstance(second, Mapping) and set(first) == set(second):
        keys = [key for key in first if not (key == "sentence" or (not where and key == DIGEST))]
        pairs = [(first[key], second[key], f"{where}.{key}".lstrip(".")) for key in keys]
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(first, second, strict=True))]
    elif isinstance(first, float) and isinstance(second, float):
        same = math.isclose(first, second, rel_tol=0, abs_tol=SAME_NUMBER)
        return "" if same else f"{where}: {first!r} or {second!r}"
    else:
        return "" if type(first) is type(second) and first == second else f"{where}: {first!r} or {second!r}"
    return next(filter(None, (_differing(*pair) for pair in pairs)), "")


def _finite(found: Comparison | str | None) -> Comparison | None:
    """The comparison if it was made and gave numbers."""
    if isinstance(found, Comparison) and all(map(math.isfinite, (found.delta, found.low, found.high))):
        return found
    return None
