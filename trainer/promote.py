"""Promotes the model of a decision: publishes it and makes it the champion, or rejects it and says why.

With gate.approval: required, the model becomes challenger, and centernet approve makes it the champion.

centernet promote --decision decision.json --model saved_model --registry registry --key RUN
"""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command

PROMOTED, HELD = 0, 3
"""Exit codes."""


def parser() -> command.Parser:
    """The parser of `centernet promote`."""
    made = command.parser(
        "promote",
        "Publish a model and make it the champion, if its decision allows it.",
        examples=(
            "centernet promote --decision decision.json --model runs/latest/saved_model --registry registry "
            "--key by-hand",
            "centernet promote --decision runs/latest/stages/gate/decision.json --model runs/latest/saved_model "
            "--registry another-registry --key my-run",
        ),
        notes="exit codes: 0 promoted, 3 held or pending approval, 2 bad input or a changed file, 1 another promotion "
        "came\nfirst, the decision is not about this model, its evidence is gone, or the registry is damaged "
        "or\ncannot be reached.\n"
        "It judges again from the evaluations that the decision names, which must be where the gate read them. The\n"
        "examples work as they are after make demo and the examples of centernet gate.",
    )
    made.add_argument("--decision", required=True, metavar="URI", help="decision.json of centernet gate")
    made.add_argument("--model", required=True, metavar="URI", help="folder of the SavedModel that was judged")
    made.add_argument(
        "--registry",
        required=True,
        metavar="URI",
        help="local folder (created if it does not exist) or vertex://PROJECT/REGION/MODEL_ID",
    )
    made.add_argument(
        "--evaluation",
        default="",
        metavar="URI",
        help="evaluation.json of the model, for the score thresholds in serving.json (default: the one that the "
        "decision names)",
    )
    made.add_argument("--key", required=True, help="identifies the promotion; a key is published only once")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet promote`: 0 promoted, 3 held or pending approval, 2 bad input, 1 refused or failed."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from trainer.promotion.decision import read_decision
    from trainer.promotion.publish import hold, promote

    judged = read_decision(flags.decision)
    if judged.refusals:
        print(hold(judged))
        return HELD
    outcome = promote(
        decision=flags.decision,
        model=flags.model,
        registry=flags.registry,
        key=flags.key,
        metadata={"run_id": flags.key},
        evaluation=flags.evaluation,
    )
    print(outcome)
    return PROMOTED if outcome.startswith("promoted") else HELD


if __name__ == "__main__":
    sys.exit(main())
