"""The plan of a submission, printed before anything is sent."""

import argparse
import sys
from dataclasses import replace

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.split import check_fraction, split_by_content
from pipeline.graph.request import DATA, RunRequest
from pipeline.preflight.data import check_buckets, exists_in_bucket
from pipeline.preflight.weights import check_exists
from pipeline.service import cost
from pipeline.service.prices import Prices, read_prices
from pipeline.service.serving_cost import serving_steps
from pipeline.service.submission import ActsAs, Submission, content_of
from trainer.deployment.plan import Plan

DRY_RUN = "dry run: nothing was sent, and the data was not checked"
SPLITS = "splits"
"""Folder below the pipeline root for the annotation files that `--val-fraction` writes."""


def prices_of(flags: argparse.Namespace) -> Prices | None:
    """The price list of --prices; None if there is none: no price is built in.

    Raises:
      InputError: it can't be read.
    """
    return read_prices(flags.prices) if flags.prices else None


def located(request: RunRequest, flags: argparse.Namespace) -> RunRequest:
    """The request with the layout that --coco-dir has in its bucket. A dry run, which asks nobody, takes COCO 2017's.

    Raises:
      InputError: the folder has no validation annotations.
    """
    if flags.dry_run or not request.coco_dir.startswith("gs://"):
        return request
    try:
        return request.located(exists_in_bucket)
    except InputError:
        raise
    except Exception as error:  # gcsfs and google-auth raise many kinds; the run's first step checks the data again
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        print(f"note: --coco-dir {request.coco_dir}: taken for COCO 2017's layout ({reason})", file=sys.stderr)
        return request


def split(request: RunRequest, flags: argparse.Namespace) -> RunRequest:
    """The request with the two annotation files that `--val-fraction` makes of one. A dry run only names them.

    Raises:
      InputError: a fraction out of range, no pipeline root to write to, or data that can't be read.
    """
    if not request.val_fraction:
        return request
    check_fraction(request.val_fraction)
    if not flags.pipeline_root:
        raise InputError("--val-fraction: needs --pipeline-root gs://BUCKET/FOLDER, where it writes the two splits")
    data, folder = request.data(), f"{flags.pipeline_root.rstrip('/')}/{SPLITS}"
    images = data["train_images"]
    if flags.dry_run:
        print(f"--val-fraction {request.val_fraction:g}: a real run reads {images} and writes both annotation files")
        train, val = f"{folder}/train-DIGEST.json", f"{folder}/val-DIGEST.json"
    else:
        try:
            made = split_by_content(images, data["train_annotations"], request.val_fraction, folder)
        except InputError:
            raise
        except Exception as error:  # gcsfs and google-auth raise many kinds
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise InputError(f"--val-fraction: {images} can't be read, or {folder} not written: {reason}") from error
        print(made.line(request.val_fraction), flush=True)
        train, val = made.train, made.val
    request = replace(request, coco_dir="", val_fraction=0.0)
    return replace(request, train_images=images, train_annotations=train, val_images=images, val_annotations=val)


def print_plan(submission: Submission, flags: argparse.Namespace, runs_as: ActsAs) -> None:
    """Prints what will run, where, with which values, and the machine-hours that it may use at most."""
    where = flags.endpoint or f"{flags.project}, {flags.region}"
    print(f"pipeline       {submission.pipeline} for {submission.target.name} on {where}")
    if flags.profile:
        print(f"profile        {flags.profile} of {flags.profiles}")
    print(f"image          {submission.target.image}")
    for name in ("pipeline_root", "service_account", "network", "network_attachment", "encryption_key", "capacity"):
        if getattr(flags, name):
            print(f"{name.replace('_', ' '):<14} {getattr(flags, name)}")
    if not flags.endpoint:  # runs of an endpoint have none
        labels = {**submission.labels, "content": content_of(submission, runs_as)}
        print(f"labels         {', '.join(f'{key}={value}' for key, value in labels.items())}")
    print(f"weights        {submission.weights}")
    for name, value in sorted(submission.parameters.items()):
        if name == "run_id" and not value:
            continue  # set later, to the name of the job
        shown = f"{submission.config_where} ({len(value)} characters)" if name == "config" else value
        print(f"  {name:<20} {shown}")
    if submission.target.deploy:
        print(f"deploy         {deployment_line(submission.target.deploy)}")
    for warning in submission.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    planned = submission.steps()
    print(f"\n{cost.hours_table(planned)}")
    prices = prices_of(flags)
    if prices is None:
        print("no price is built in: --prices FILE adds a cost ceiling (docs/vertex.md, section 6)")
    else:
        print(prices.sentence(planned))
        if flags.region != prices.region:
            others = f"prices in {flags.region} differ" if flags.region else "your cluster has its own costs"
            print(f"note: these are prices of {prices.region}; {others}")
    print(flush=True)


def deployment_line(text: str) -> str:
    """What the last stage does with a promoted version, and what that costs besides the run."""
    plan = Plan.parse(text)
    line = ", ".join(f"{hours:g} of {kind}" for kind, hours in cost.machine_hours(serving_steps(plan)[-1:]).items())
    return (
        f"a promoted version gets {plan.traffic} % of the endpoint {plan.endpoint or 'of its model'}; besides the run, "
        f"machine-hours a day at most: {line}"
    )


def check_storage(submission: Submission, pipeline_root: str) -> None:
    """Refuses data, initial weights and a pipeline root that do not exist; prints what could not be checked.

    Raises:
      InputError: one does not exist.
    """
    data = {name: submission.parameters.get(name, "") for name in DATA}
    for note in (*check_buckets(data, pipeline_root), *check_exists(submission.weights_uri)):
        print(f"note: {note}", file=sys.stderr)
