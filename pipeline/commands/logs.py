"""`centernet logs`: prints the logs of a run's tasks."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from pipeline.commands import flags as shared

EXAMPLES = (
    "centernet logs centernet-training-1a2b3c4d-20261124-030000 --project my-project --region us-central1",
    "centernet logs centernet-training-1a2b3c4d-20261124-030000 --project my-project --region us-central1 "
    "--task train --limit 200",
    "centernet logs 7c0c5a5e-0d43-4a25-a1a5-6d7c1e8a2b90 --endpoint http://localhost:8080",
)


def parser() -> Parser:
    """The flags of `centernet logs`."""
    made = command_parser(
        "logs",
        "Print each failed task's error, the newest lines that the tasks wrote to Cloud Logging, and the address of\n"
        "the whole log. On a Kubeflow Pipelines endpoint: the errors and the run's page.",
        examples=EXAMPLES,
        notes=shared.EXIT_CODES,
    )
    made.add_argument("run", type=shared.run_id, help="id of the run")
    made.add_argument("--task", default="", help="only the log of this task, named as status shows it")
    made.add_argument(
        "--limit",
        type=shared.count,
        default=100,
        metavar="N",
        help="maximum number of lines per task; default: %(default)s",
    )
    shared.add_place(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet logs`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from pipeline.commands.services import runs_of

    lines = 0
    for line in runs_of(flags).logs(flags.run, task=flags.task, limit=flags.limit):
        print(line)
        lines += 1
    if not lines:
        print(f"{flags.run}: no task has started yet")
