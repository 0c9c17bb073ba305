"""The plan of a submission, printed before anything is sent."""

import argparse
import sys

from pipeline.preflight import checks as preflight
from pipeline.service import cost
from pipeline.service.submission import DEFAULT_CONFIG, Submission


def print_plan(submission: Submission, arguments: argparse.Namespace) -> None:
    """What will run, where, with which values, for how much at most."""
    prices = cost.read_prices(arguments.prices)
    where = arguments.endpoint or f"{arguments.project}, {arguments.region}"
    print(f"pipeline       {submission.pipeline} for {submission.target.name} on {where}")
    print(f"image          {submission.target.image}")
    for name in ("pipeline_root", "service_account", "network"):
        if getattr(arguments, name):
            print(f"{name.replace('_', ' '):<15}{getattr(arguments, name)}")
    for name, value in sorted(submission.parameters.items()):
        if name == "run_id" and not value:
            continue  # the name of the job, which is printed when there is one
        shown = f"{len(value)} characters of {arguments.config or DEFAULT_CONFIG}" if name == "config" else value
        print(f"  {name:<20} {shown}")
    print(f"\n{cost.table(submission.steps(prices), prices)}")
    if arguments.region != prices.region:
        there = f"machines of {arguments.region} have others" if arguments.region else "your cluster has its own"
        print(f"note: prices are those of {prices.region}; {there}")
    print(flush=True)


def look_at_data(submission: Submission, pipeline_root: str) -> None:
    """Refuses data and a pipeline root that aren't there; says what could not be looked at."""
    for note in preflight.check_buckets(submission.parameters, pipeline_root):
        print(f"note: {note}", file=sys.stderr)
