"""The gate: judges a candidate's evaluation against the champion's.

    centernet gate --candidate evaluation/evaluation.json --champion champion/evaluation.json

It needs the files that trainer.evaluate wrote next to each evaluation.json.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError

if TYPE_CHECKING:
    from trainer.config.sections import GateConfig

PROMOTE, HELD = 0, 3
"""Exit codes."""


def parser() -> command.Parser:
    """The parser of `centernet gate`."""
    made = command.parser(
        "gate",
        "Judge a candidate's evaluation against the champion's, rule by rule.",
        examples=(
            "centernet gate --candidate evaluation/evaluation.json --no-champion --config demo --set gate.min_ap=0.3",
            "centernet gate --candidate evaluation/evaluation.json --champion champion/evaluation.json "
            "--champion-version v0001 --config demo --objects 253 --output decision.json",
            "centernet gate --candidate runs/latest/stages/evaluate-candidate/evaluation.json --no-champion",
        ),
        notes="exit codes: 0 promote, 3 hold, 2 bad input.\nThe examples work as they are after make demo and the "
        "examples of centernet evaluate.",
    )
    made.add_argument("--candidate", required=True, metavar="URI", help="evaluation.json of the new model")
    champion = made.add_mutually_exclusive_group(required=True)
    champion.add_argument("--champion", metavar="URI", help="evaluation.json of the champion on the same images")
    champion.add_argument(
        "--no-champion", action="store_true", help="declare that there is no champion (required for a first model)"
    )
    made.add_argument("--champion-version", default="", metavar="NAME", help="the champion's version in the registry")
    made.add_argument(
        "--best", metavar="URI", help="evaluation.json of the best version (default: the champion is the best)"
    )
    made.add_argument("--best-version", default="", metavar="NAME", help="the best version's name in the registry")
    made.add_argument(
        "--objects", type=int, metavar="N", help="number of validation objects that `centernet check` printed"
    )
    made.add_argument(
        "--config", metavar="NAME|YAML", help="configuration of the run, by name or path; its gate: section is used"
    )
    made.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of --config, such as gate.min_ap=0.4; repeatable",
    )
    made.add_argument("--min-ap", type=float, metavar="AP", help="override gate.min_ap")
    made.add_argument("--min-delta", type=float, metavar="AP", help="override gate.min_delta")
    made.add_argument("--output", metavar="URI", help="where to write decision.json")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet gate`: 0 promote, 3 hold, 2 bad input."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from beam_preprocess.base.files import write_text
    from trainer.promotion.judge import judge

    decision = judge(
        flags.candidate,
        flags.champion,
        _thresholds(flags),
        flags.champion_version,
        best=flags.best,
        best_version=flags.best_version,
        expected_objects=flags.objects,
    )
    if flags.output:
        write_text(flags.output, decision.to_json())
    print(decision.to_text())
    return PROMOTE if decision.promote else HELD


def _thresholds(flags: argparse.Namespace) -> "GateConfig":
    from dataclasses import replace

    from beam_preprocess.base.config_text import resolve
    from trainer.config.sections import GateConfig, parse_config

    thresholds = GateConfig()
    if flags.config:
        found = resolve(flags.config, flags.changes)
        thresholds = parse_config(found.text, found.where).gate
    elif flags.changes:
        raise InputError(f"--set {flags.changes[0]}: given without --config; give the configuration that it changes")
    overrides = {"min_ap": flags.min_ap, "min_delta": flags.min_delta}
    return replace(thresholds, **{name: value for name, value in overrides.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
