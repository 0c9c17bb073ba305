"""`centernet status`: shows a run and its tasks."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from pipeline.commands import flags as shared

EXAMPLES = (
    "centernet status centernet-training-1a2b3c4d-20261124-030000 --project my-project --region us-central1",
    "centernet status centernet-training-1a2b3c4d-20261124-030000 --project my-project --region us-central1 --wait",
    "centernet status 7c0c5a5e-0d43-4a25-a1a5-6d7c1e8a2b90 --endpoint http://localhost:8080",
)
NOTES = (
    "exit codes: 0 running or promoted, 1 failed, 2 bad input or usage, 3 held by the gate or pending approval,\n"
    "130 interrupted; with --wait only after the run has finished"
)


def parser() -> Parser:
    """The flags of `centernet status`."""
    made = command_parser("status", "Show a run and its tasks.", examples=EXAMPLES, notes=NOTES)
    made.add_argument("run", type=shared.run_id, help="id of the run, as submit printed it")
    made.add_argument("--wait", action="store_true", help="follow the run until it finishes")
    shared.add_poll(made)
    shared.add_place(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet status`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from pipeline.commands.services import follow, runs_of
    from pipeline.service.run_view import run_table

    runs = runs_of(flags)
    if flags.wait:
        return follow(runs, flags.run, poll=flags.poll)
    view = runs.get(flags.run)
    print(run_table(view))
    return view.outcome()[0] if view.finished else 0
