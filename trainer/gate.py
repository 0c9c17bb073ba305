"""The gate: reads evaluations, compares them by bootstrap, and decides by the rules of trainer.gate_rules.

    python -m trainer.gate --candidate new/evaluation.json --champion old/evaluation.json

Beside each evaluation.json stand the files that trainer.evaluate wrote with it; matches.npz is needed for the
bootstrap. What is missing or damaged holds the candidate, with the reason.
"""

import argparse
import hashlib
import sys
from dataclasses import replace

from beam_preprocess.errors import InputError
from trainer import bootstrap, match_table
from trainer.decision import Decision
from trainer.evaluation import MATCHES, PREDICTIONS, Evaluation, NoEvaluation, is_fraction, read_evaluation
from trainer.files import read_bytes, write_text
from trainer.gate_rules import SAME, Case, GateConfig, decide
from trainer.match_table import MatchTable

PROMOTE, BAD_INPUT, HELD = 0, 2, 3
"""Exit codes."""

FIX = "evaluate the model again"

__all__ = ["GateConfig", "judge", "main", "read_champion", "table"]


def judge(
    candidate: str,
    champion: str | None,
    config: GateConfig,
    champion_version: str = "",
    *,
    best: str | None = None,
    best_version: str = "",
) -> Decision:
    """Decides about a candidate.

    Args:
      candidate: URI of its evaluation.json.
      champion: URI of the champion's on the same images; None: there is none.
      config: the thresholds.
      champion_version: the registry's name of the champion, "" for none.
      best: URI of the evaluation of the registry's `best`; None: the best is the champion.
      best_version: its name.

    Raises:
      InputError: the candidate's evaluation cannot be read or is none.
    """
    scored = read_evaluation(candidate)
    if isinstance(scored, NoEvaluation):
        raise InputError(f"{candidate}: says {scored.status} ({scored.reason}); give a scored model's")
    none = NoEvaluation(status="none", reason="no champion was given")
    others = {
        "champion": none if champion is None else read_champion(champion),
        "best": SAME if best is None else read_champion(best),
    }
    case = Case(
        candidate=scored,
        champion=others["champion"],
        config=config,
        champion_version=champion_version,
        best=others["best"],
        best_version=best_version,
    )
    try:
        own = read_matches(candidate, scored)
        read_checked(candidate, scored, PREDICTIONS)
    except InputError as error:
        problem = str(error)
        return decide(replace(case, damage=problem, comparisons={"champion": problem, "best": problem}))
    weights = bootstrap.draw(len(own.image_ids), config.resamples)
    aps = bootstrap.resampled_ap(own, weights)
    comparisons: dict[str, bootstrap.Comparison | str] = {}
    for who, uri in (("champion", champion), ("best", best)):
        other = others[who]
        if uri is None or isinstance(other, NoEvaluation):
            continue
        try:
            matches = read_matches(uri, other)
            bootstrap.check_paired(own, matches)
        except InputError as error:
            comparisons[who] = str(error)
            continue
        new, old = scored.metrics.get("ap"), other.metrics.get("ap")
        delta = new - old if is_fraction(new) and is_fraction(old) else 0.0
        found = bootstrap.compare(delta, aps, bootstrap.resampled_ap(matches, weights))
        comparisons[who] = found or "no resample had any object"
    return decide(replace(case, comparisons=comparisons, ap_interval=bootstrap.interval(aps)))


def read_champion(uri: str) -> Evaluation | NoEvaluation:
    """The champion's evaluation; a file that is missing or broken counts as a champion that failed: held."""
    try:
        return read_evaluation(uri)
    except InputError as error:
        return NoEvaluation(status="failed", reason=str(error))


def read_matches(uri: str, evaluation: Evaluation) -> MatchTable:
    """The matches that stand beside an evaluation.json.

    Raises:
      InputError: missing, truncated, or not those of this evaluation.
    """
    return match_table.from_bytes(read_checked(uri, evaluation, MATCHES), MATCHES)


def read_checked(uri: str, evaluation: Evaluation, name: str) -> bytes:
    """A file beside an evaluation.json, if it is still the one that was written with it.

    Raises:
      InputError: it is missing, or its sha256 is another one.
    """
    path = uri.rpartition("/")[0] + "/" + name if "/" in uri else name
    content = read_bytes(path, FIX)
    if hashlib.sha256(content).hexdigest() != evaluation.files.get(name):
        raise InputError(f"{path}: is truncated or changed: its sha256 is not the evaluation's; {FIX}")
    return content


def table(decision: Decision) -> str:
    """The rules as text lines, for a terminal."""
    lines = [f"{'pass' if rule.passed else 'FAIL'}  {rule.name:<14} {rule.sentence}" for rule in decision.rules]
    return "\n".join([*lines, "decision: promote" if decision.promote else "decision: hold"])


def markdown(decision: Decision) -> str:
    """The decision as a Markdown page."""
    lines = [f"# {'Promote' if decision.promote else 'Hold'}", ""]
    if decision.ap_interval:
        lines += [f"AP, 95 % bootstrap interval: {decision.ap_interval.low:.4f} to {decision.ap_interval.high:.4f}", ""]
    lines += ["| rule | value | threshold | | |", "|---|---|---|---|---|"]
    for rule in decision.rules:
        value, threshold = (f"{v:.4f}" if isinstance(v, float) else f"{v}" for v in (rule.value, rule.threshold))
        verdict = "pass" if rule.passed else "**FAIL**"
        sentence = rule.sentence.replace("|", "/")
        lines.append(f"| {rule.name} | {value[:12]} | {threshold[:12]} | {verdict} | {sentence} |")
    return "\n".join(lines) + "\n"


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
    parser.add_argument("--best", metavar="URI", help="evaluation.json of the best version, if it is not the champion")
    parser.add_argument("--best-version", default="", help="its version in the registry")
    parser.add_argument("--config", metavar="YAML", help="a run's configuration; its gate: section is used")
    parser.add_argument("--min-ap", type=float, help="instead of the configuration's")
    parser.add_argument("--min-delta", type=float, help="instead of the configuration's")
    parser.add_argument("--output", metavar="URI", help="where to write decision.json")
    arguments = parser.parse_args(argv)
    try:
        config = _config(arguments.config, arguments.min_ap, arguments.min_delta)
        decision = judge(
            arguments.candidate,
            arguments.champion,
            config,
            arguments.champion_version,
            best=arguments.best,
            best_version=arguments.best_version,
        )
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
    if min_ap is not None:
        config = replace(config, min_ap=min_ap)
    return config if min_delta is None else replace(config, min_delta=min_delta)


if __name__ == "__main__":
    sys.exit(main())
