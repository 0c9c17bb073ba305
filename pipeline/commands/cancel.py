"""`centernet cancel`: cancels a run."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from pipeline.commands import flags as shared

EXAMPLES = (
    "centernet cancel centernet-training-1a2b3c4d-20261124-030000 --project my-project --region us-central1",
    "centernet cancel 7c0c5a5e-0d43-4a25-a1a5-6d7c1e8a2b90 --endpoint http://localhost:8080",
)


def parser() -> Parser:
    """The flags of `centernet cancel`."""
    made = command_parser(
        "cancel", "Cancel a run. Its tasks may take minutes to stop.", examples=EXAMPLES, notes=shared.EXIT_CODES
    )
    made.add_argument("run", type=shared.run_id, help="id of the run")
    shared.add_place(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet cancel`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from pipeline.commands.services import runs_of

    runs_of(flags).cancel(flags.run)
    print(f"{flags.run}: cancelling; its tasks take up to minutes to stop (centernet status shows them)")
