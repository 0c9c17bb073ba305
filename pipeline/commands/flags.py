"""Flags that the verbs of pipeline services share."""

import argparse
import json
import re
from typing import Any

from beam_preprocess.base.command import Parser
from pipeline.commands.profiles import add_profile
from pipeline.service.cron import UTC_NAME

SCRATCH = "scratch"
"""Value of --init: no start, whatever the configuration has."""
SPLITS = {"train": "training", "val": "validation"}
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted"


def add_place(parser: Parser) -> None:
    """Adds the flags that say which service is meant. There is no default: nothing reaches a wrong project."""
    add_profile(parser, _in_profiles)
    project = parser.add_argument_group("project (Vertex AI), or endpoint (Kubeflow Pipelines)")
    project.add_argument("--project", default="", metavar="ID", help="Google Cloud project")
    project.add_argument("--region", default="", metavar="NAME", help="such as us-central1")
    project.add_argument(
        "--endpoint", default="", metavar="URL", help="address of a Kubeflow Pipelines API, instead of the two"
    )
    project.add_argument(
        "--namespace", default="", metavar="NAME", help="of an endpoint with several users; default: none"
    )


def _in_profiles() -> Parser:
    """A parser with the flags that a profile may hold."""
    made = Parser()
    add_place(made)
    add_request(made)
    add_poll(made)
    return made


def add_request(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what to run and how."""
    data = parser.add_argument_group("data (COCO format)")
    for split, name in SPLITS.items():
        data.add_argument(f"--{split}-images", default="", metavar="URI", help=f"folder of the {name} images")
        data.add_argument(f"--{split}-annotations", default="", metavar="URI", help=f"COCO JSON of the {name} images")
    data.add_argument(
        "--coco-dir", default="", metavar="URI", help="folder laid out like COCO 2017, instead of the four"
    )
    data.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        metavar="F",
        help="split the training data, such as 0.2: by a hash of each image's content; submit writes both annotation "
        "files below --pipeline-root",
    )
    data.add_argument("--strict", action="store_true", help="make warnings about the data errors")

    run = parser.add_argument_group("run options")
    run.add_argument(
        "--target", required=True, metavar="NAME", help="machines, such as vertex-gpu; see docs/targets.md"
    )
    run.add_argument(
        "--config",
        default="",
        metavar="YAML",
        help="name of a shipped configuration, or a file, whose contents are sent with the job; default on CPUs: "
        "custom-cpu",
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="KEY=VALUE",
        help="change one key of the configuration, such as gate.min_ap=0.4; repeatable",
    )
    add_start(run)
    run.add_argument(
        "--param", action="append", default=[], metavar="K=V", help="set any parameter of the pipeline; repeatable"
    )
    run.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    run.add_argument(
        "--registry",
        default="",
        metavar="URI",
        help="registry of the model; default: vertex://PROJECT/REGION/centernet, created if it does not exist",
    )
    run.add_argument("--only-if-changed", action="store_true", help="skip training if nothing changed")
    run.add_argument("--notify", default="", metavar="ADDRESS", help="email the outcome (Vertex AI only)")
    run.add_argument(
        "--tensorboard",
        default="",
        metavar="NAME",
        help="send the training's curves to this Vertex AI TensorBoard, "
        "projects/PROJECT/locations/REGION/tensorboards/ID",
    )
    run.add_argument("--experiment", default="", metavar="NAME", help="add the run to this Vertex AI experiment")
    run.add_argument(
        "--webhook-secret",
        default="",
        metavar="NAME",
        help="post the outcome to the webhook whose address this secret holds: a secret of Secret Manager in the "
        "project, or SECRET/KEY of an endpoint's cluster",
    )
    run.add_argument("--no-cache", action="store_true", help="don't reuse results of earlier runs")
    run.add_argument(
        "--no-config-check",
        action="store_true",
        help="don't check the configuration's Model Garden sections before submission (saves 5 s)",
    )
    run.add_argument("--pipeline-root", default="", metavar="gs://…", help="folder for everything that runs write")
    run.add_argument(
        "--image",
        default="",
        metavar="URI",
        help="image of every step; default: the one in REGION-docker.pkg.dev/PROJECT/centernet, where docs/vertex.md "
        "pushes it",
    )
    run.add_argument("--service-account", default="", metavar="EMAIL", help="service account the steps run as")
    run.add_argument(
        "--network", default="", metavar="NAME", help="peered network, projects/NUMBER/global/networks/NAME"
    )
    run.add_argument("--replicas", type=count, metavar="N", help="machines that train; default: the target's")
    run.add_argument(
        "--reduction-servers",
        type=count,
        metavar="N",
        help="machines that sum the gradients of several GPU machines; the image must contain Google's NCCL plugin for "
        "them (docs/targets.md); default: none",
    )
    run.add_argument(
        "--pods",
        default="",
        metavar="FILE",
        help="Kubeflow endpoints: node selectors, tolerations, volumes, secrets, cpu and memory of the pods (YAML; "
        "docs/targets.md)",
    )
    run.add_argument(
        "--capacity",
        default="",
        metavar="KIND",
        help="how a custom job gets its machines: on-demand (default), spot (cheaper, can be preempted), flex-start "
        "(waits for GPUs), or reservation=projects/PROJECT/zones/ZONE/reservations/NAME",
    )
    run.add_argument("--spot", action="store_const", const="spot", dest="capacity", help="the same as --capacity spot")
    run.add_argument(
        "--max-wait",
        type=_hours,
        metavar="HOURS",
        help="how long --capacity flex-start waits for machines; 0: no limit; default: 24",
    )
    run.add_argument(
        "--machine-type", default="", metavar="NAME", help="GPU machine of a custom job; default: the target's"
    )
    run.add_argument(
        "--boot-disk-gb", type=count, metavar="N", help="boot disk of a custom job's machines; default: the target's"
    )
    run.add_argument(
        "--network-attachment",
        default="",
        metavar="NAME",
        help="Private Service Connect interface: projects/PROJECT/regions/REGION/networkAttachments/NAME",
    )
    run.add_argument(
        "--encryption-key",
        default="",
        metavar="NAME",
        help="your key in Cloud KMS: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY",
    )
    run.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="K=V",
        help="label of the run, and of its jobs in the billing report; repeatable",
    )
    run.add_argument(
        "--prices", default="", metavar="FILE", help="your price list, for a cost ceiling (docs/vertex.md)"
    )


def add_data(group: Any) -> None:
    """Adds the flags that name data on this machine; a flag that isn't given is None."""
    for split, name in SPLITS.items():
        group.add_argument(f"--{split}-images", metavar="DIR", help=f"folder of the {name} images")
        group.add_argument(f"--{split}-annotations", metavar="FILE", help=f"COCO JSON file of the {name} images")
    group.add_argument(
        "--coco-dir",
        metavar="DIR",
        help="instead of the four: a folder laid out as COCO 2017 (annotations/instances_{train,val}2017.json, "
        "train2017/, val2017/), by Roboflow (train/_annotations.coco.json, valid/), CVAT, Label Studio or FiftyOne",
    )
    group.add_argument(
        "--val-fraction",
        type=float,
        metavar="F",
        help="split the training data, such as 0.2: by a hash of each image's content, so an image stays in its split "
        "when others are added",
    )


def add_start(group: Any) -> None:
    """Adds the flags that say what the training starts from, and how long it is."""
    group.add_argument(
        "--init",
        metavar="NAME",
        help="weights to start from: a name that `centernet init-weights --list` prints, the folder of a run or a "
        "registry's version, a checkpoint, or scratch; short for --set task.init_checkpoint=NAME",
    )
    group.add_argument(
        "--train-steps",
        type=int,
        metavar="N",
        help="short for --set trainer.train_steps=N; 0 exports and judges the initial weights as they are",
    )


def start_changes(flags: argparse.Namespace) -> list[str]:
    """What the flags of `add_start` change in the configuration."""
    changes = []
    if flags.init is not None:
        changes.append(f"task.init_checkpoint={json.dumps('' if flags.init == SCRATCH else flags.init)}")
    if flags.train_steps is not None:
        changes.append(f"trainer.train_steps={flags.train_steps}")
    if flags.train_steps == 0:
        changes.append("task.init_checkpoint_modules=all")  # nothing else could be exported
    return changes


def add_cron(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Adds the flags that say when a schedule starts runs."""
    parser.add_argument(
        "--cron", required=required, default="", metavar="EXPR", help="minute hour day-of-month month day-of-week"
    )
    parser.add_argument(
        "--time-zone",
        default=UTC_NAME if required else "",
        metavar="NAME",
        help=f"time zone of --cron, such as Europe/Berlin; default: {UTC_NAME if required else 'unchanged'}",
    )


def add_poll(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that says how often to read the run."""
    parser.add_argument(
        "--poll",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="with --wait: time between checks; default: %(default)s",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of verbs that start something that costs money."""
    parser.add_argument("--dry-run", action="store_true", help="check and print the plan, without contacting a service")


def schedule_name(text: str) -> str:
    """A display name. The empty one would match any schedule."""
    if not text.strip() or len(text) > 128:
        raise argparse.ArgumentTypeError(f"{text!r}: give a name of 1 to 128 characters")
    return text


def run_id(text: str) -> str:
    """The id of a run, without its resource path."""
    if not re.fullmatch(r"[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give only the run's id, as submit and list print it")
    return text


def count(text: str) -> int:
    """A number of 1 or more."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return int(text)


def _hours(text: str) -> float:
    if not 0 <= float(text) <= 8760:  # also refuses NaN
        raise argparse.ArgumentTypeError(f"{text}: give hours, 0 or more")
    return float(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < 86400:  # also refuses NaN
        raise argparse.ArgumentTypeError(f"{text}: give more than 0 and less than a day")
    return float(text)
