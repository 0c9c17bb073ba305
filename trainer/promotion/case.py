"""What the gate's rules look at, and what each of them answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trainer.coco.bootstrap import Comparison, Interval
from trainer.coco.recount import Recount
from trainer.config.gate_config import GateConfig
from trainer.promotion.evaluation import Evaluation, NoEvaluation

SAME = NoEvaluation(status="champion", reason="the best is the champion")

Other = Literal["champion", "best"]
Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A file that a decision rests on."""

    uri: str
    digest: str
    """The digest of its content; "" if it could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """Candidate and another model over the classes that both know, where these are not all classes of the data."""

    category_ids: tuple[int, ...]
    new: Recount
    old: Recount


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything that the rules look at."""

    candidate: Evaluation
    champion: Evaluation | NoEvaluation
    """The current champion on the same images, or why there is none."""
    config: GateConfig
    champion_version: str = ""
    """The registry's name of the champion, "" for none."""
    best: Evaluation | NoEvaluation = SAME
    best_version: str = ""
    expected_objects: int | None = None
    """Number of objects that the data check counted; None: no data check was given."""
    evidence: Mapping[str, Evidence | None] = field(default_factory=dict)
    """"candidate", "champion" and "best" to their evaluation.json; None: none was given."""
    damage: Mapping[str, str] = field(default_factory=dict)
    """The same names to what is wrong with the files of the evaluation."""
    shared: Mapping[str, Shared] = field(default_factory=dict)
    """"champion" and "best" to the scores over the common classes, where the classes differ."""
    comparisons: Mapping[str, Comparison | str] = field(default_factory=dict)
    """"champion" and "best" to the bootstrap comparison with them, or why there is none."""
    ap_interval: Interval | None = None

    def other(self, who: Other) -> Evaluation | NoEvaluation:
        """The evaluation of the other model."""
        return self.champion if who == "champion" else self.best

    def version(self, who: Other) -> str:
        """The other model's version, "" if it has none."""
        return self.champion_version if who == "champion" else self.best_version

    def named(self, who: Other) -> str:
        """The other model, for sentences."""
        return f"{who} {self.version(who) or '(unnamed)'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one rule found."""

    value: float | int | str | None
    """What was compared; None where there was nothing to compare."""
    threshold: float | int | str | None
    status: Status
    """"skipped": there was nothing to compare."""
    sentence: str
    """The verdict in words, with its numbers."""

    @property
    def passed(self) -> bool:
        """Whether the rule does not stop the candidate."""
        return self.status != "fail"

    @property
    def skipped(self) -> bool:
        """Whether the rule had nothing to judge."""
        return self.status == "skipped"


def status_of(passed: bool) -> Status:
    """The status of a rule that judged."""
    return "pass" if passed else "fail"


def one_line(text: str) -> str:
    """A reason as part of a sentence."""
    return " ".join(text.split()).rstrip(".")
