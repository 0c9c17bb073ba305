"""The gate: judges a candidate's evaluation against the champion's.

    python -m trainer.gate --candidate new/evaluation.json --champion old/evaluation.json

Next to each evaluation.json are the files that trainer.evaluate wrote with it; matches.npz is needed for the bootstrap.
"""

import argparse
import sys
from dataclasses import replace

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.config.sections import GateConfig
from trainer.promotion.judge import judge, table

PROMOTE, BAD_INPUT, HELD = 0, 2, 3
"""Exit codes."""


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
        # trainer.config.sections imports this module for GateConfig.
        from trainer.config.sections import find_config, parse_config

        found = find_config(path)
        config = parse_config(found.read_text(), str(found)).gate
    if min_ap is not None:
        config = replace(config, min_ap=min_ap)
    return config if min_delta is None else replace(config, min_delta=min_delta)


if __name__ == "__main__":
    sys.exit(main())
