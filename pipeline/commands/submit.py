"""`centernet submit`: runs the pipeline on Vertex AI or on a Kubeflow Pipelines endpoint."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from pipeline.commands import flags as shared

PLACE = "--project my-project --region us-central1"
DATA = (
    "--coco-dir gs://my-bucket/coco --config coco-centernet-hourglass-gpu "
    "--set task.init_checkpoint=gs://my-bucket/weights/extremenet"
)
ROOT = "--pipeline-root gs://my-bucket/runs"
EXAMPLES = (
    "centernet submit --profile prod --dry-run",
    f"centernet submit --target vertex-gpu {PLACE} {ROOT} {DATA} --dry-run",
    f"centernet submit --target vertex-gpu {PLACE} {ROOT} {DATA} --set gate.min_ap=0.4 --wait",
    f"centernet submit --target vertex-multinode-gpu --capacity spot {PLACE} {ROOT} {DATA} --notify me@example.org "
    "--param preprocess_on=dataflow --param 'dataflow={\"max_workers\": 20}'",
    f"centernet submit --target vertex-gpu-h100 --capacity flex-start --max-wait 48 {PLACE} {ROOT} {DATA} --dry-run",
    f"centernet submit --target kubeflow-gpu --endpoint http://localhost:8080 {ROOT} {DATA} "
    "--image us-central1-docker.pkg.dev/my-project/centernet/python-gpu:VERSION "
    "--registry vertex://my-project/us-central1/centernet",
)
NOTES = (
    "exit codes: 0 submitted (with --wait: promoted, or nothing changed), 1 failed, 2 bad input or usage,\n"
    "3 held by the gate or pending approval (--wait), 130 interrupted"
)


def parser() -> Parser:
    """The flags of `centernet submit`."""
    made = command_parser(
        "submit",
        "Check everything, print the machines and their maximum hours, and start the run.",
        examples=EXAMPLES,
        notes=NOTES,
    )
    shared.add_place(made)
    shared.add_request(made)
    made.add_argument(
        "--wait", action="store_true", help="follow the run; exit code 0 promoted, 3 held or pending approval, 1 failed"
    )
    shared.add_poll(made)
    shared.add_dry_run(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet submit`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from pipeline.commands.plan import DRY_RUN, check_storage, located, prices_of, print_plan, split
    from pipeline.commands.request import options_of, place_of, request_of, runs_as_of
    from pipeline.commands.services import follow, runs_of
    from pipeline.service.submission import prepare

    # Cheap checks come before the compiler.
    place = place_of(flags)
    prices_of(flags)
    runs_as = runs_as_of(flags, place)
    request = split(located(request_of(flags), flags), flags)
    submission = prepare(request, options_of(flags), place=place, runs_as=runs_as)
    now = datetime.now(UTC)
    print_plan(submission, flags, runs_as)
    if flags.dry_run:
        print(DRY_RUN)
        return 0
    check_storage(submission, runs_as.pipeline_root)
    runs = runs_of(flags)
    view = runs.submit(submission, runs_as, now)
    print(f"submitted      {view.run_id}\nlink           {view.link}", flush=True)
    return follow(runs, view.run_id, poll=flags.poll) if flags.wait else 0
