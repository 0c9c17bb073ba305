"""`centernet config`: check a configuration, or show every key of it."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command

VERBS = {
    "check": "validate every section of a configuration, Model Garden's included",
    "show": "print every key with its value, default, unit and meaning",
}


def parser() -> command.Parser:
    """The parser of the command."""
    top = command.parser(
        "config",
        "Check a run's configuration, or show every key of it.",
        examples=[
            "centernet config check custom-cpu",
            "centernet config check run.yaml --set trainer.train_steps=4000",
            "centernet config show custom-cpu --set gate.min_ap=0.6",
            "centernet config show run.yaml --yaml",
        ],
        notes="exit codes: 0 done, 2 bad input. Every key: docs/configuration.md",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, duty in VERBS.items():
        below = verbs.add_parser(verb, help=duty, description=f"{duty[0].upper()}{duty[1:]}.")
        below.add_argument("config", help="YAML file (path or URI), or the name of a shipped configuration")
        below.add_argument(
            "--set",
            dest="changes",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change one key, such as gate.min_ap=0.6; repeatable",
        )
        if verb == "show":
            below.add_argument("--yaml", action="store_true", help="print YAML that stands alone instead")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line on stderr."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base.config_text import resolve
    from trainer.config.sections import parse_config

    found = resolve(flags.config, flags.changes)
    config = parse_config(found.text, found.where)
    if flags.verb == "check":
        from trainer.config.checks import warnings
        from trainer.config.experiment import build_experiment  # imports TensorFlow

        for warning in warnings(build_experiment(config)):
            print(f"warning: {warning}")
        print(f"{found.where}: valid")
    elif flags.yaml:
        print(found.text, end="")
    else:
        from beam_preprocess.base import yaml
        from beam_preprocess.base.config_keys import known_keys
        from trainer.config.key_page import listing

        print(f"{found.where}: {listing(known_keys(), yaml.load(found.text, found.where))}")


if __name__ == "__main__":
    sys.exit(main())
