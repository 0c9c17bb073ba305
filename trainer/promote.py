"""Promotes the model of a decision: publishes it and makes it the champion, or says why not.

python -m trainer.promote --decision decision.json --model export --registry registry --key RUN
"""

import argparse
import sys

from beam_preprocess.base.errors import InputError
from trainer.promotion.decision import read_decision
from trainer.promotion.publish import PromotionRefused, hold, promote
from trainer.registry.base import ChampionMoved, RegistryError


def main(argv: list[str] | None = None) -> int:
    """`python -m trainer.promote`: 0 promoted, 3 held, 2 bad input, 1 the champion moved or the registry is damaged."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.promote",
        description="Publish a model and make it the champion, if its decision allows it. "
        "Exit code: 0 promoted, 3 held, 2 bad input, 1 the champion moved meanwhile or the registry is damaged.",
        epilog="""examples:
  python -m trainer.promote --decision runs/latest/decision.json --model runs/latest/model \\
      --registry registry --key my-run""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--decision", required=True, metavar="URI", help="decision.json of trainer.gate")
    parser.add_argument("--model", required=True, metavar="URI", help="folder of the SavedModel that was judged")
    parser.add_argument("--registry", required=True, metavar="URI", help="its folder, made when absent, or vertex://…")
    parser.add_argument("--key", required=True, help="names what is promoted; the same key is published only once")
    arguments = parser.parse_args(argv)
    try:
        judged = read_decision(arguments.decision)
        if judged.refusals:
            print(hold(judged))
            return 3
        print(
            promote(
                decision=arguments.decision,
                model=arguments.model,
                registry=arguments.registry,
                key=arguments.key,
                metadata={"run_id": arguments.key},
            )
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (ChampionMoved, PromotionRefused, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
