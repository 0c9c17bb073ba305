"""The gate: may this candidate replace the champion? A pure function of two evaluations and five rules.

A number that is missing, NaN or no fraction never passes a rule that needs it. Numbers are compared with >=
as they are; only the difference to the champion is first rounded to 9 decimals, so that 0.395 - 0.400 is
-0.005 and not -0.0050000000000000044.

To add a rule: a function (candidate, champion, config, champion_version) -> RuleResult in RULES, its name in
decision.RULE_NAMES, its threshold in GateConfig, and its cases in the tests' table.

    python -m trainer.gate --candidate new/evaluation.json --champion old/evaluation.json
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from beam_preprocess.errors import InputError
from trainer.decision import Decision, RuleResult
from trainer.evaluation import Evaluation, NoEvaluation, is_fraction, read_evaluation
from trainer.files import write_text

DELTA_DECIMALS = 9
PROMOTE, BAD_INPUT, HELD = 0, 2, 3
"""Exit codes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """The `gate:` section of a run's configuration."""

    min_ap: float = 0.0
    """Smallest AP of the candidate, a fraction."""

    min_delta: float = -0.005
    """Smallest AP difference candidate - champion on the same images; negative tolerates the noise of training."""

    def __post_init__(self) -> None:
        for name, low in (("min_ap", 0.0), ("min_delta", -1.0)):
            value = getattr(self, name)
            # Also refuses NaN, with which every comparison is false.
            if not low <= value <= 1:
                raise InputError(f"gate.{name}: {value!r} is out of range; use a fraction from {low:g} to 1")


def decide(
    candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, champion_version: str
) -> Decision:
    """Judges all rules; every one is reported, also after one failed.

    Args:
      candidate: the new model's evaluation.
      champion: the current champion's on the same images, or why there is none.
      config: the thresholds.
      champion_version: the registry's name of the champion, "" for none.
    """
    rules = tuple(rule(candidate, champion, config, champion_version) for rule in RULES)
    return Decision(promote=all(rule.passed for rule in rules), champion_version=champion_version, rules=rules)


def _finite(candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str) -> RuleResult:
    numbers: dict[str, float | None] = {**candidate.metrics}
    for entry in candidate.per_class:
        name = f"class {entry.category_id} ({entry.name})"
        numbers |= {f"ap of {name}": entry.ap, f"ap50 of {name}": entry.ap50}
    broken = [f"{name} is {value}" for name, value in numbers.items() if value is not None and not is_fraction(value)]
    if "ap" not in numbers:
        broken.append("ap is missing")
    elif numbers["ap"] is None:
        broken.append("ap is null (the validation images have no objects)")
    shown = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
    return RuleResult(
        name="finite",
        value=len(broken),
        threshold=0,
        passed=not broken,
        sentence=f"Not a finite fraction: {shown}." if broken else "AP and every other metric is a finite fraction.",
    )


def _complete(
    candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str
) -> RuleResult:
    problem = candidate.incomplete
    return RuleResult(
        name="complete",
        value=candidate.images_scored,
        threshold=candidate.images_expected,
        passed=not problem,
        sentence=f"Not every validation image was scored exactly once: {problem}."
        if problem
        else f"All {candidate.images_expected} validation images were scored exactly once.",
    )


def _same_data(
    candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str
) -> RuleResult:
    digest: str | None = None
    passed = False
    if not candidate.data_digest:
        sentence = "The candidate's evaluation does not say on which data it was made."
    elif isinstance(champion, NoEvaluation):
        passed = champion.status == "none"
        sentence = (
            "There was no champion, so there are no other validation images to differ from."
            if passed
            else "The champion could not be scored, so it is unknown whether its images are the same."
        )
    else:
        digest = champion.data_digest
        passed = candidate.data_digest == digest and not champion.incomplete
        if candidate.data_digest != digest:
            sentence = "Candidate and champion were scored on different validation data."
        elif champion.incomplete:
            sentence = f"The champion was not scored on every validation image once: {champion.incomplete}."
        else:
            sentence = "Candidate and champion were scored on the same validation data."
    return RuleResult(name="same_data", value=candidate.data_digest, threshold=digest, passed=passed, sentence=sentence)


def _min_ap(candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str) -> RuleResult:
    ap = candidate.metrics.get("ap")
    passed = is_fraction(ap) and ap >= config.min_ap
    if not is_fraction(ap):
        sentence = f"The candidate has no AP to compare with the minimum {config.min_ap:.4f}."
    else:
        sentence = f"AP {ap:.4f} {'reaches' if passed else 'is below'} the minimum {config.min_ap:.4f}."
    return RuleResult(name="min_ap", value=_jsonable(ap), threshold=config.min_ap, passed=passed, sentence=sentence)


def _min_delta(
    candidate: Evaluation, champion: Evaluation | NoEvaluation, config: GateConfig, version: str
) -> RuleResult:
    delta: float | None = None
    passed = False
    if isinstance(champion, NoEvaluation):
        passed = champion.status == "none" and not version
        if passed:
            sentence = "There was no champion to compare with: a first model needs only the other rules."
        elif champion.status == "none":
            sentence = f"The registry names the champion {version}, but its evaluation says that there is none."
        else:
            sentence = f"The champion {version or '(unnamed)'} could not be scored: {_one_line(champion.reason)}."
    else:
        new, old = candidate.metrics.get("ap"), champion.metrics.get("ap")
        if is_fraction(new) and is_fraction(old):
            delta = round(new - old, DELTA_DECIMALS)
            passed = delta >= config.min_delta
            sentence = (
                f"AP {new:.4f} against {old:.4f} of the champion {version or '(unnamed)'} on the same images: "
                f"the difference is {delta:+.4f}, at least {config.min_delta:+.4f} is needed."
            )
        else:
            sentence = f"There is no difference to compare: the candidate's AP is {new}, the champion's {old}."
    return RuleResult(name="min_delta", value=delta, threshold=config.min_delta, passed=passed, sentence=sentence)


Rule = Callable[[Evaluation, Evaluation | NoEvaluation, GateConfig, str], RuleResult]

RULES: tuple[Rule, ...] = (_finite, _complete, _same_data, _min_ap, _min_delta)
"""In the order of decision.RULE_NAMES."""


def _jsonable(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def read_champion(uri: str) -> Evaluation | NoEvaluation:
    """The champion's evaluation; a file that is missing or broken counts as a champion that failed: held."""
    try:
        return read_evaluation(uri)
    except InputError as error:
        return NoEvaluation(status="failed", reason=str(error))


def table(decision: Decision) -> str:
    """The rules as text lines, for a terminal."""
    lines = [f"{'pass' if rule.passed else 'FAIL'}  {rule.name:<10} {rule.sentence}" for rule in decision.rules]
    return "\n".join([*lines, "decision: promote" if decision.promote else "decision: hold"])


def main(argv: list[str] | None = None) -> int:
    """`python -m trainer.gate`: 0 promote, 3 held, 2 bad input (one line on stderr)."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.gate",
        description="Judge a candidate's evaluation against the champion's. Exit code: 0 promote, 3 held, 2 bad input.",
        epilog="""examples:
  python -m trainer.gate --candidate new/evaluation.json --champion old/evaluation.json
  python -m trainer.gate --candidate new/evaluation.json --no-champion --config trainer/configs/custom-small.yaml
  python -m trainer.gate --candidate new/evaluation.json --champion old/evaluation.json \\
      --champion-version v0003 --min-ap 0.4 --output decision.json""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--candidate", required=True, metavar="URI", help="evaluation.json of the new model")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--champion", metavar="URI", help="evaluation.json of the champion on the same images")
    who.add_argument("--no-champion", action="store_true", help="there is none: say so, it is not guessed")
    parser.add_argument("--champion-version", default="", help="the champion's version in the registry")
    parser.add_argument("--config", metavar="YAML", help="a run's configuration; its gate: section is used")
    parser.add_argument("--min-ap", type=float, help="instead of the configuration's")
    parser.add_argument("--min-delta", type=float, help="instead of the configuration's")
    parser.add_argument("--output", metavar="URI", help="where to write decision.json")
    arguments = parser.parse_args(argv)
    try:
        config = _config(arguments.config, arguments.min_ap, arguments.min_delta)
        candidate = read_evaluation(arguments.candidate)
        if isinstance(candidate, NoEvaluation):
            raise InputError(
                f"{arguments.candidate}: says {candidate.status} ({candidate.reason}); give a scored model's"
            )
        champion = (
            NoEvaluation(status="none", reason="--no-champion")
            if arguments.no_champion
            else read_champion(arguments.champion)
        )
        decision = decide(candidate, champion, config, arguments.champion_version)
        if arguments.output:
            write_text(arguments.output, decision.to_json())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    print(table(decision))
    return PROMOTE if decision.promote else HELD


def _config(path: str | None, min_ap: float | None, min_delta: float | None) -> GateConfig:
    config = GateConfig()
    if path is not None:
        # trainer.config imports this module for GateConfig.
        from trainer.config import find_config, parse_config

        found = find_config(path)
        config = parse_config(found.read_text(), str(found)).gate
    given = {"min_ap": min_ap, "min_delta": min_delta}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
