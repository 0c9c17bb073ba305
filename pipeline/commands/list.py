"""`centernet list`: lists the newest runs."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from pipeline.commands import flags as shared
from pipeline.graph.request import PIPELINES, TRAINING

EXAMPLES = (
    "centernet list --project my-project --region us-central1",
    "centernet list --profile prod",
    "centernet list --profile prod --pipeline watch",
    "centernet list --endpoint http://localhost:8080 --limit 5",
)


def parser() -> Parser:
    """The flags of `centernet list`."""
    made = command_parser("list", "List the newest runs.", examples=EXAMPLES, notes=shared.EXIT_CODES)
    made.add_argument("--limit", type=shared.count, default=20, metavar="N", help="default: %(default)s")
    made.add_argument(
        "--pipeline", choices=tuple(PIPELINES), default=TRAINING, help="which pipeline's; default: %(default)s"
    )
    shared.add_place(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet list`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from pipeline.commands.services import runs_of

    views = runs_of(flags).list(limit=flags.limit, pipeline=PIPELINES[flags.pipeline])
    for view in views:
        print(f"{view.run_id}  {view.state:<10}  {view.created}  {view.name or view.labels.get('target', '')}".rstrip())
    if not views:
        print("no runs")
